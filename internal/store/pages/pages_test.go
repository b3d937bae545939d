package pages_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"croft/internal/store/pages"

	"go.etcd.io/bbolt"
)

var ctx = context.Background()

const page = 4096

// made makes a file and returns its bytes.
func made(t testing.TB, o bbolt.Options, fill ...func(*bbolt.Tx) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bolt")
	o.PageSize, o.NoSync = page, true
	db, err := bbolt.Open(path, 0o600, &o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fill {
		if err := db.Update(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// put writes n entries from one on, some of them large, to a bucket.
func put(bucket string, from, n int) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		for i := from; i < from+n && err == nil; i++ {
			length := 40 + i%500
			if i%97 == 0 {
				length = 3*page + i%page
			}
			if i%1009 == 0 {
				length = 300_000
			}
			value := bytes.Repeat([]byte{byte(i)}, length)
			if err = b.Put(name(i), value); err == nil {
				err = b.SetSequence(uint64(i))
			}
		}
		return err
	}
}

func remove(bucket string, from, n int) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) (err error) {
		for i := from; i < from+n && err == nil; i++ {
			err = tx.Bucket([]byte(bucket)).Delete(name(i))
		}
		return err
	}
}

func name(i int) []byte { return fmt.Appendf(nil, "%07d", i*7919%1_000_000) }

// seen is what a walk told.
type seen struct {
	entries []string // bucket, key, digest of the value
	faults  []pages.Fault
	reached *pages.Reached
	err     error
}

// lost reports whether a fault said that something is out of reach.
func (s seen) lost() bool {
	return slices.ContainsFunc(s.faults, func(f pages.Fault) bool { return f.Lost })
}

func walk(r io.ReaderAt, size int64) (s seen) {
	f, err := pages.Open(r, size)
	if err != nil {
		return seen{err: err}
	}
	s.reached, s.err = f.Walk(ctx, f.Metas()[0], pages.Visitor{
		Entry: func(b *pages.Bucket, k, v []byte) (bool, error) {
			path := ""
			for ; b.Parent != nil; b = b.Parent {
				path = string(b.Name) + "/" + path
			}
			s.entries = append(s.entries, fmt.Sprintf("%s%q %d %x", path, k, len(v), v[:min(len(v), 8)]))
			return true, nil
		},
		Fault: func(f pages.Fault) error {
			f.From, f.To = bytes.Clone(f.From), bytes.Clone(f.To)
			s.faults = append(s.faults, f)
			return nil
		},
	})
	return s
}

func walkBytes(content []byte) seen { return walk(bytes.NewReader(content), int64(len(content))) }

// entriesOf reads a file with bbolt.
func entriesOf(t *testing.T, content []byte) (all []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bolt")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var into func(path string, b *bbolt.Bucket) error
	into = func(path string, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return into(path+string(k)+"/", b.Bucket(k))
			}
			all = append(all, fmt.Sprintf("%s%q %d %x", path, k, len(v), v[:min(len(v), 8)]))
			return nil
		})
	}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error { return into(string(name)+"/", b) })
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Of sound files the walk sees what bbolt sees, and no fault.
func TestSound(t *testing.T) {
	nested := func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("outer"))
		for i := range 300 {
			if err == nil {
				err = b.Put(name(i), []byte("beside"))
			}
		}
		for _, n := range []int{0, 1, 4, 1000} {
			inner, innerErr := b.CreateBucketIfNotExists(fmt.Appendf(nil, "%05d-", n))
			err = errors.Join(err, innerErr)
			for i := range n {
				if err == nil {
					err = inner.Put(name(i), []byte("v"))
				}
			}
		}
		return err
	}
	tests := map[string][]func(*bbolt.Tx) error{
		"new":      nil,
		"empty":    {put("a", 0, 0)},
		"inline":   {put("a", 1, 3)},
		"one page": {put("a", 1, 20)},
		"large":    {put("a", 0, 6000)},
		"deleted":  {put("a", 0, 6000), remove("a", 0, 3000), put("b", 0, 100), remove("a", 3000, 2900), remove("b", 0, 100)},
		"emptied":  {put("a", 0, 3000), remove("a", 0, 3000)},
		"nested":   {nested, put("x", 0, 500), remove("x", 0, 400)},
		"long keys": {func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte("a"))
			for i := range 200 {
				if err == nil {
					err = b.Put(append(name(i), bytes.Repeat([]byte("k"), 200*i%32000)...), nil)
				}
			}
			return err
		}},
	}
	for _, noFreelist := range []bool{false, true} {
		for test, fill := range tests {
			t.Run(fmt.Sprintf("%s,%v", test, noFreelist), func(t *testing.T) {
				content := made(t, bbolt.Options{NoFreelistSync: noFreelist}, fill...)
				got := walkBytes(content)
				if got.err != nil || len(got.faults) > 0 {
					t.Fatalf("%v %+v", got.err, got.faults)
				}
				if want := entriesOf(t, content); !slices.Equal(got.entries, want) {
					t.Errorf("%d entries of %d", len(got.entries), len(want))
				}
				if got.reached.HasFreelist() == noFreelist && fill != nil {
					t.Errorf("a freelist: %v", !noFreelist)
				}
			})
		}
	}
}

// Random writes: whatever shape bbolt gives its trees, nothing in them is a fault.
func TestSoundRandom(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var fill []func(*bbolt.Tx) error
		for range 1 + r.IntN(30) {
			from, n := r.IntN(2000), 1+r.IntN(400)
			if r.IntN(2) == 0 {
				fill = append(fill, put("a", from, n))
			} else {
				fill = append(fill, put("a", 0, 1), remove("a", from, n))
			}
		}
		content := made(t, bbolt.Options{}, fill...)
		got := walkBytes(content)
		if got.err != nil || len(got.faults) > 0 || !slices.Equal(got.entries, entriesOf(t, content)) {
			t.Fatalf("seed %d: %v %+v", seed, got.err, got.faults)
		}
	}
}

var sample = []func(*bbolt.Tx) error{put("a", 0, 4000), put("b", 0, 5), remove("a", 0, 500), put("a", 4000, 100)}

func pgid(content []byte, at int) uint64 { return binary.NativeEndian.Uint64(content[at:]) }

// pagesOf returns the reachable pages of one kind.
func pagesOf(t *testing.T, content []byte, flags uint16) (ids []uint64) {
	t.Helper()
	reached := walkBytes(content).reached
	for id := uint64(2); id < uint64(len(content)/page); id++ {
		if reached.Used(id) && !reached.Inner(id) && binary.NativeEndian.Uint16(content[id*page+8:]) == flags {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		t.Fatal("there are none")
	}
	return ids
}

// Each way to damage a tree is told, and what can be reached still is.
func TestFaults(t *testing.T) {
	content := made(t, bbolt.Options{}, sample...)
	all := walkBytes(content).entries
	leaf := int(pagesOf(t, content, 2)[9]) * page
	branches := pagesOf(t, content, 1)
	branch := int(slices.MaxFunc(branches, func(a, b uint64) int { return int(content[a*page+10]) - int(content[b*page+10]) })) * page
	free := pagesOf(t, content, 0x10)[0] * page
	native := binary.NativeEndian
	tests := []struct {
		name   string
		damage func(b []byte)
		what   string // of one of the faults
		least  int    // entries that are seen, in percent
	}{
		{"another number", func(b []byte) { b[leaf] ^= 1 }, "it says that it is page", 99},
		{"another kind", func(b []byte) { b[leaf+8] = 4 }, "not a page of the tree", 95},
		{"a leaf as a branch", func(b []byte) { b[leaf+8] = 1 }, "", 95},
		{"fewer elements", func(b []byte) { b[leaf+10]-- }, "elements are damaged", 99},
		{"very many elements", func(b []byte) { native.PutUint16(b[leaf+10:], 0xffff) }, "fewer elements than it says", 95},
		{"continues", func(b []byte) { b[leaf+12]++ }, "continues in other pages", 99},
		{"continues for ever", func(b []byte) { native.PutUint32(b[leaf+12:], 1<<32-1) }, "continues in other pages", 99},
		{"a position", func(b []byte) { native.PutUint32(b[leaf+16+4:], 1<<32-1) }, "an entry in it", 99},
		{"a key's length", func(b []byte) { b[leaf+16+9] = 0x70 }, "an entry in it", 95},
		{"no key", func(b []byte) { native.PutUint32(b[leaf+16+8:], 0) }, "an entry in it", 99},
		{"flags", func(b []byte) { b[leaf+16] = 8 }, "an entry in it", 99},
		{"a bucket", func(b []byte) { b[leaf+16] = 1 }, "", 99},
		{"a key", func(b []byte) { k := leaf + 16 + int(native.Uint32(b[leaf+20:])); b[k] = '~' }, "out of order", 99},
		{"a branch's first key", func(b []byte) { k := branch + 16 + int(native.Uint32(b[branch+16:])); b[k] = '~' }, "out of order", 98},
		{"a branch's key", func(b []byte) { k := branch + 64 + int(native.Uint32(b[branch+64:])); b[k] = '~' }, "out of order", 98},
		{"a branch's key's length", func(b []byte) { native.PutUint32(b[branch+68:], 1<<31) }, "out of order", 98},
		{"a loop", func(b []byte) { native.PutUint64(b[branch+24:], uint64(branch/page)) }, "twice", 95},
		{"two ways", func(b []byte) { copy(b[branch+24:branch+32], b[branch+40:branch+48]) }, "twice", 90},
		{"a way out", func(b []byte) { native.PutUint64(b[branch+24:], 1<<60) }, "not in the file", 95},
		{"a way to the first page", func(b []byte) { native.PutUint64(b[branch+24:], 1) }, "not in the file", 95},
		{"an empty branch", func(b []byte) { native.PutUint16(b[branch+10:], 0) }, "", 0},
		{"swapped", func(b []byte) { l := pagesOf(t, content, 2); swap(b, int(l[4])*page, int(l[8])*page) }, "out of order", 95},
		{"zeros", func(b []byte) { clear(b[leaf : leaf+page]) }, "not a page of the tree", 95},
		{"free and used", func(b []byte) { native.PutUint64(b[free+16:], uint64(leaf/page)) }, "", 100},
		{"a free page twice", func(b []byte) { copy(b[free+16:free+24], b[free+24:]) }, "out of order, or twice", 100},
		{"a free page outside", func(b []byte) { native.PutUint64(b[free+16:], 1<<50) }, "not in the file", 100},
		{"too many free pages", func(b []byte) { native.PutUint16(b[free+10:], 0xfffe) }, "longer than its pages", 100},
		{"very many free pages", func(b []byte) { native.PutUint16(b[free+10:], 0xffff) }, "list of free pages", 100},
		{"no list of free pages", func(b []byte) { b[free+8] = 2 }, "of another kind", 100},
		{"a free page forgotten", func(b []byte) { b[free+10]-- }, "neither used nor", 100},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := bytes.Clone(content)
			test.damage(b)
			got := walkBytes(b)
			told := slices.ContainsFunc(got.faults, func(f pages.Fault) bool { return bytes.Contains([]byte(f.What), []byte(test.what)) })
			if got.err != nil || !told {
				t.Errorf("%v, %+v", got.err, got.faults)
			}
			if n := len(got.entries) * 100 / len(all); n < test.least {
				t.Errorf("%d %% of the entries are seen: %+v", n, got.faults)
			}
		})
	}
}

func swap(b []byte, i, j int) {
	saved := bytes.Clone(b[i : i+page])
	copy(b[i:i+page], b[j:])
	copy(b[j:], saved)
	// As a disk that confuses them would not, but a program might.
	copy(b[i:i+8], saved[:8])
	binary.NativeEndian.PutUint64(b[j:], uint64(j/page))
}

func TestOpen(t *testing.T) {
	content := made(t, bbolt.Options{}, sample...)
	newest := 0
	if pgid(content, page+64) > pgid(content, 64) {
		newest = page
	}
	both := walkBytes(content)
	tests := []struct {
		name   string
		damage func(b []byte) []byte
		want   error
	}{
		{"the older one", func(b []byte) []byte { b[page-newest+40] ^= 1; return b }, nil},
		{"both", func(b []byte) []byte { b[40] ^= 1; b[page+40] ^= 1; return b }, pages.ErrTorn},
		{"both zero", func(b []byte) []byte { clear(b[:2*page]); return b }, pages.ErrTorn},
		{"empty", func([]byte) []byte { return nil }, pages.ErrForeign},
		{"text", func([]byte) []byte { return bytes.Repeat([]byte("text "), 10_000) }, pages.ErrForeign},
		{"the other byte order", func(b []byte) []byte { slices.Reverse(b[16:20]); return b }, pages.ErrByteOrder},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := test.damage(bytes.Clone(content))
			f, err := pages.Open(bytes.NewReader(b), int64(len(b)))
			if !errors.Is(err, test.want) {
				t.Fatal(err)
			}
			if err == nil && (!f.Torn() || !slices.Equal(walkBytes(b).entries, both.entries)) {
				t.Error("the newest is not what is seen")
			}
			if errors.Is(err, pages.ErrTorn) && f.PageSize() != page {
				t.Errorf("pages of %d", f.PageSize())
			}
		})
	}
	// Without the newest, it is as of the commit before: here of the removal.
	b := bytes.Clone(content)
	b[newest+40] ^= 1
	if got := walkBytes(b); got.err != nil || got.lost() || len(got.entries) != 3505 {
		t.Errorf("%v %+v: %d entries", got.err, got.faults, len(got.entries))
	}
	// A file that was cut short: the beginning is seen.
	b = content[:len(content)/2/page*page+100]
	if got := walkBytes(b); got.err != nil || !got.lost() || len(got.entries) < 100 {
		t.Errorf("%v: %d entries, %d faults", got.err, len(got.entries), len(got.faults))
	}
}

// badDisk can't read some of its pages.
type badDisk struct {
	io.ReaderAt
	bad map[int64]bool
}

var errBad = errors.New("a bad sector")

func (d badDisk) ReadAt(b []byte, offset int64) (int, error) {
	for id := offset / page; id*page < offset+int64(len(b)); id++ {
		if d.bad[id] {
			return 0, errBad
		}
	}
	return d.ReaderAt.ReadAt(b, offset)
}

// A page that can't be read loses what is in it, and no more.
func TestUnreadable(t *testing.T) {
	content := made(t, bbolt.Options{}, sample...)
	all := len(walkBytes(content).entries)
	for i, id := range pagesOf(t, content, 2) {
		if i%7 > 0 {
			continue
		}
		got := walk(badDisk{bytes.NewReader(content), map[int64]bool{int64(id): true}}, int64(len(content)))
		there := int(binary.NativeEndian.Uint16(content[id*page+10:]))
		if i == 0 || len(got.faults) > 0 && got.faults[0].Bucket.Parent == nil {
			continue // the root's
		}
		if len(got.faults) != 1 || !errors.Is(got.faults[0].Err, errBad) || all-len(got.entries) != there {
			t.Errorf("page %d: %d of %d entries are missing, of which it has %d: %+v", id, all-len(got.entries), all, there, got.faults)
		}
	}
}

func TestCanceled(t *testing.T) {
	content := made(t, bbolt.Options{}, sample...)
	f, err := pages.Open(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.Walk(canceled, f.Metas()[0], pages.Visitor{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := f.Leaves(canceled, nil, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Leaves sees each entry of the tree, and older ones, but not what is stored in large values.
func TestLeaves(t *testing.T) {
	inside := made(t, bbolt.Options{}, put("inside", 0, 300))
	content := made(t, bbolt.Options{}, put("a", 0, 2000), remove("a", 0, 100), func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("a")).Put([]byte("a file"), inside)
	})
	f, err := pages.Open(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	err = f.Leaves(ctx, nil, func(l pages.Leaf) (bool, error) {
		keys[string(l.Key)] = true
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entriesOf(t, content) {
		var k string
		if _, err := fmt.Sscanf(e, "a/%q", &k); err != nil {
			t.Fatal(err)
		}
		if !keys[k] {
			t.Errorf("%q is not seen", k)
		}
	}
	if keys["inside"] {
		t.Error("a file within a file is taken for pages")
	}
}
