package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"croft/internal/store"
	"croft/internal/store/pages"
	"croft/internal/store/storetest"
)

// A writings is all that was ever written to a file: of each key its values, the newest last; "" is a deletion.
type writings map[string][]string

func (l writings) now() map[string]string {
	now := map[string]string{}
	for k, values := range l {
		if v := values[len(values)-1]; v != "" {
			now[k] = v
		}
	}
	return now
}

// value is what is written under a key by a change: its number stands in front, and no two are alike.
func value(seq uint64, k string, length int) string {
	v := string(binary.BigEndian.AppendUint64(nil, seq)) + k
	return v + strings.Repeat(fmt.Sprintf(" %s/%d", k, seq), length/(len(k)+4))
}

func seqOf(key, value []byte) uint64 {
	if store.Space(key[0]) != store.Records || len(value) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

func newer(key, a, b []byte) bool { return seqOf(key, a) > seqOf(key, b) }

// written makes a closed file of several thousand entries in three spaces, some large, some of them changed or deleted again.
func written(t testing.TB, path string) writings {
	t.Helper()
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := writings{}
	r := rand.New(rand.NewPCG(1, 2))
	write := func(names ...string) {
		err := db.Update(ctx, func(tx *store.Tx) error {
			for _, name := range names {
				seq, err := tx.NextSeq()
				if err != nil {
					return err
				}
				v := ""
				switch {
				case r.IntN(8) == 0:
					err = tx.Delete([]byte(name))
				case r.IntN(200) == 0:
					v = value(seq, name[1:], 20_000)
				default:
					v = value(seq, name[1:], r.IntN(400))
				}
				if v != "" {
					err = tx.Put([]byte(name), []byte(v))
				}
				if err != nil {
					return err
				}
				l[name] = append(l[name], v)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	for i := range 3000 {
		space := store.Records
		switch {
		case i%50 == 0:
			space = store.Auth
		case i%3 == 0:
			space = store.Indexes
		}
		all = append(all, string(space.Key(fmt.Appendf(nil, "key%05d", i))))
	}
	for part := range slices.Chunk(all, 1000) {
		write(part...)
	}
	for range 12 {
		var some []string
		for range 20 {
			some = append(some, all[r.IntN(len(all))])
		}
		slices.Sort(some)
		write(slices.Compact(some)...)
	}
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		t.Fatal(err)
	}
	return l
}

// checkedEntries checks a file, and returns what it has of Croft's users.
func checkedEntries(t testing.TB, path string) (*store.CheckResult, map[string]string) {
	t.Helper()
	got := map[string]string{}
	r, err := store.CheckFile(ctx, path, store.CheckOptions{Entry: func(k, v []byte) {
		if k[0] != 0 { // what the store keeps of its own
			got[string(k)] = string(v)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return r, got
}

func same(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

func TestCheckFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	want := written(t, path).now()
	content := readFile(t, path)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	var done, total int64
	r, err := store.CheckFile(ctx, path, store.CheckOptions{
		Entry: func(k, v []byte) {
			if k[0] != 0 {
				got[string(k)] = string(v)
			}
		},
		Progress: func(d, of int64) {
			if d < done || d > of {
				t.Errorf("%d, and then %d of %d", done, d, of)
			}
			done, total = d, of
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.FaultsTotal > 0 || r.Err() != nil || !r.TreeSound {
		t.Errorf("%+v", r)
	}
	if !same(got, want) || r.Entries < uint64(len(want)) {
		t.Errorf("%d entries of %d", len(got), len(want))
	}
	if done != total || total != r.Bytes || r.Bytes == 0 || r.Bytes > int64(len(content)) {
		t.Errorf("%d bytes of %d, of which the file uses %d", done, total, r.Bytes)
	}
	if r.Format != store.Format || r.Seq == 0 {
		t.Errorf("format %d, seq %d", r.Format, r.Seq)
	}
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content, readFile(t, path)) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("the file is not as it was")
	}
	db := storetest.Open(t, path)
	if db.FileID() != r.FileID {
		t.Error("the file's id")
	}
}

func TestCheckBadInput(t *testing.T) {
	sound := filepath.Join(t.TempDir(), "croft.db")
	sample(t, sound, 3000)
	content := readFile(t, sound)
	page := os.Getpagesize()
	tests := []struct {
		name    string
		content []byte
		is      error  // that it can't be looked at
		text    string // of the error or the first fault
	}{
		{"text", []byte(strings.Repeat("hello", 1e5)), store.ErrNotCroft, "no page of bbolt's"},
		{"short text", []byte("hello"), store.ErrNotCroft, "no page"},
		{"zeros", make([]byte, 1<<20), store.ErrNotCroft, "no page"},
		{"empty", []byte{}, nil, "it is empty"},
		{"cut short", content[:20*page], nil, "cut short"},
		{"both of the first pages", append(make([]byte, 2*page), content[2*page:]...), nil, "both"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "croft.db")
			writeFile(t, path, test.content)
			r, err := store.CheckFile(ctx, path, store.CheckOptions{})
			if test.is != nil {
				if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), path) {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !errors.Is(r.Err(), store.ErrDamaged) || r.TreeSound || !strings.Contains(r.Faults[0].What, test.text) {
				t.Errorf("%+v", r)
			}
			if now := readFile(t, path); !bytes.Equal(now, test.content) {
				t.Error("it is not as it was")
			}
		})
	}
	if _, err := store.CheckFile(ctx, t.TempDir(), store.CheckOptions{}); !errors.Is(err, store.ErrNotCroft) || !strings.Contains(err.Error(), "a folder") {
		t.Errorf("a folder: %v", err)
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	if _, err := store.CheckFile(ctx, nowhere, store.CheckOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("the check makes a file")
	}
	store.SetFormat(t, sound, 9)
	if _, err := store.CheckFile(ctx, sound, store.CheckOptions{}); !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), "its format is 9") {
		t.Errorf("newer: %v", err)
	}
}

// A file that somebody may write to is not checked; one that others read is.
func TestCheckLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	sample(t, path, 100)
	o := store.CheckOptions{LockTimeout: time.Millisecond}
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.CheckFile(ctx, path, o)
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "is open in") {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	reader, err := store.Open(path, store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	second, err := store.CheckFile(ctx, path, store.CheckOptions{LockTimeout: time.Millisecond, Entry: func([]byte, []byte) {
		_, err = store.CheckFile(ctx, path, o) // two at once
		if err != nil {
			t.Error(err)
		}
	}})
	if err != nil || second.Err() != nil {
		t.Error(err)
	}
	if err := errors.Join(reader.Check(), reader.Close()); err != nil {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := store.CheckFile(canceled, path, o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// An image is checked while others write.
func TestCheckImage(t *testing.T) {
	db := storetest.New(t)
	for i := range 100 {
		update(t, db, put(fmt.Sprintf("%05d", i%30)))
		if i%20 > 0 {
			continue
		}
		im, err := db.Image()
		if err != nil {
			t.Fatal(err)
		}
		update(t, db, put("while the image is there"))
		r, err := db.CheckImage(ctx, im, store.CheckOptions{})
		im.Close()
		if err != nil || r.FaultsTotal > 0 || r.Seq != im.Seq() || r.FileID != db.FileID() {
			t.Fatalf("%v %+v", err, r)
		}
		if _, err := db.CheckImage(ctx, im, store.CheckOptions{}); !errors.Is(err, store.ErrImageLost) {
			t.Fatalf("an image that is closed: %v", err)
		}
	}
}

// Of a thousand flipped bits each is told, or it lies where nothing is: then all is read as it was.
func TestFlippedBits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	want := written(t, path).now()
	content := readFile(t, path)
	r, _ := checkedEntries(t, path)
	used := int(r.Bytes)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	random := rand.New(rand.NewPCG(7, 7))
	told := 0
	for i := range 1000 {
		at := random.IntN(used)
		if i%5 == 0 { // where pages begin, much matters
			at = at/os.Getpagesize()*os.Getpagesize() + random.IntN(64)
		}
		if _, err := f.WriteAt([]byte{content[at] ^ 1<<random.IntN(8)}, int64(at)); err != nil {
			t.Fatal(err)
		}
		seen := 0
		r, err := store.CheckFile(ctx, path, store.CheckOptions{Entry: func(k, v []byte) {
			if k[0] == 0 {
				return // what the store keeps of its own
			}
			seen++
			if want[string(k)] != string(v) {
				t.Errorf("byte %d: a wrong value is taken for a whole one", at)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case r.FaultsTotal > 0:
			told++
			for _, f := range r.Faults {
				if text := f.String(); strings.Contains(text, "key0") || strings.Contains(text, "6b6579") {
					t.Errorf("a fault's text has a key: %s", text)
				}
			}
		case seen != len(want):
			t.Errorf("byte %d (page %d, %d): it is not told, and %d entries of %d are read", at, at/os.Getpagesize(), at%os.Getpagesize(), seen, len(want))
		}
		if _, err := f.WriteAt(content[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d were told", told)
	if told < 100 {
		t.Error("too few to prove something")
	}
}

// usedPages are the pages of one kind that the newest commit uses: 1 is a branch, 2 a leaf.
func usedPages(t testing.TB, content []byte, kind uint16) (at []int) {
	t.Helper()
	f, err := pages.Open(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	reached, err := f.Walk(ctx, f.Metas()[0], pages.Visitor{})
	if err != nil {
		t.Fatal(err)
	}
	for id := uint64(2); id < uint64(len(content)/f.PageSize()); id++ {
		if reached.Used(id) && !reached.Inner(id) && binary.NativeEndian.Uint16(content[int(id)*f.PageSize()+8:]) == kind {
			at = append(at, int(id)*f.PageSize())
		}
	}
	return at
}

// Pages that exchanged their places, whole as they are and with the right number, are told.
func TestSwappedPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	written(t, path)
	content := readFile(t, path)
	page := os.Getpagesize()
	for _, kind := range []uint16{1, 2} {
		at := usedPages(t, content, kind)
		for i := 0; i+1 < len(at); i += 1 + len(at)/10 {
			torn := bytes.Clone(content)
			copy(torn[at[i]+8:at[i]+page], content[at[i+1]+8:])
			copy(torn[at[i+1]+8:at[i+1]+page], content[at[i]+8:])
			writeFile(t, path, torn)
			if r, _ := checkedEntries(t, path); r.Err() == nil {
				t.Errorf("pages %d and %d: %+v", at[i]/page, at[i+1]/page, r)
			}
		}
	}
}

// BenchmarkCheckFile is a check of 300,000 entries of 300 bytes, from the system's cache.
func BenchmarkCheckFile(b *testing.B) {
	db := storetest.New(b)
	fill(b, db, 300_000)
	path := db.Path()
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		r, err := store.CheckFile(ctx, path, store.CheckOptions{})
		if err != nil || r.FaultsTotal > 0 {
			b.Fatal(err, r)
		}
		b.SetBytes(r.Bytes)
	}
}

// Values of the largest size are no damage to the check, however many of them bbolt puts into one page.
func TestLargeValuesAreWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := make([]byte, store.MaxValue)
	for i := range 6 {
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.Put(store.Records.Key([]byte{byte(i)}), v) }); err != nil {
			t.Fatal(err)
		}
		if err := db.Check(); err != nil {
			t.Fatalf("after %d: %v", i+1, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
