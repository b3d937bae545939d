package store_test

import (
	"bytes"
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

	"croft/internal/store"
	"croft/internal/store/storetest"
)

// salvaged salvages a file and verifies what holds for each: the new file is sound and its own, the old one as it was, whatever is in the
// new one was written at some time, and what still stands in the old one is in the new one, but for at most hidden entries: those
// whose place in their page is what was damaged. It returns the entries of the new one.
func salvaged(t *testing.T, path string, l writings, hidden int, o store.SalvageOptions) (*store.SalvageReport, map[string]string) {
	t.Helper()
	damaged := readFile(t, path)
	out := filepath.Join(t.TempDir(), "out.db")
	var done, total int64
	o.Progress = func(d, of int64) {
		if d < done || d > of {
			t.Errorf("progress: %d, and then %d of %d", done, d, of)
		}
		done, total = d, of
	}
	r, err := store.Salvage(ctx, path, out, o)
	if err != nil {
		t.Fatal(err)
	}
	if done != total || done == 0 {
		t.Errorf("progress ends at %d of %d", done, total)
	}
	if !bytes.Equal(damaged, readFile(t, path)) {
		t.Error("the damaged file was changed")
	}
	if entries, err := os.ReadDir(filepath.Dir(out)); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	check, got := checkedEntries(t, out)
	if check.FaultsTotal > 0 || check.FileID != r.FileID || check.Seq != r.Seq || check.Entries != r.Saved {
		t.Errorf("the new file: %+v of %+v", check, r)
	}
	for k, v := range got {
		if !slices.Contains(l[k], v) {
			t.Errorf("%q never had that value", k)
		}
	}
	// What is left of a large page whose beginning is gone can't be known for what it is, nor what a page that is another one's seems
	// to continue in.
	page := os.Getpagesize()
	begun := make([]bool, len(damaged)/page+1)
	for id, next, foreign := 2, 2, 2; (id+1)*page <= len(damaged); id++ {
		head := damaged[id*page:]
		end := id + 1 + int(min(binary.NativeEndian.Uint32(head[12:]), 8))
		if binary.NativeEndian.Uint64(head) == uint64(id) {
			next = max(next, end)
		} else if kind := binary.NativeEndian.Uint16(head[8:]); kind == 1 || kind == 2 {
			foreign = max(foreign, end)
		}
		begun[id] = id < next && id >= foreign
	}
	at := map[string][]int{}
	for i := 8; i+8 <= len(damaged); i++ {
		if bytes.HasPrefix(damaged[i:], []byte("key")) && begun[i/page] {
			name := string(damaged[i : i+8])
			at[name] = append(at[name], i-8)
		}
	}
	stands := func(k, v string) bool {
		return v != "" && slices.ContainsFunc(at[k[1:]], func(i int) bool { return bytes.HasPrefix(damaged[i:], []byte(v)) })
	}
	var missed []string
	for k, v := range l.now() {
		w, ok := got[k]
		switch {
		case ok && v == w || o.Skip != nil && o.Skip([]byte(k)) || o.Stray != nil && !o.Stray([]byte(k)):
		case seqOf([]byte(k), []byte(v)) == 0 && r.Older > 0:
			// As of an older commit: what doesn't tell its time is not mixed with it.
		case stands(k, v), !ok && slices.ContainsFunc(l[k], func(v string) bool { return stands(k, v) }):
			missed = append(missed, k)
		}
	}
	if len(missed) > hidden {
		t.Errorf("%q are in the damaged file, and not in the new one", missed)
	}
	return r, got
}

// missing counts what is not in the new file as it was, and verifies that the report tells of it.
func missing(t *testing.T, r *store.SalvageReport, want, got map[string]string) (n int) {
	t.Helper()
	between := func(k string) bool {
		return slices.ContainsFunc(r.Losses, func(l store.Loss) bool {
			return (l.From == nil || k > string(l.From)) && (l.To == nil || k < string(l.To))
		})
	}
	for k, v := range want {
		if got[k] != v {
			n++
			if !between(k) {
				t.Errorf("%q is not as it was, and no loss tells of it: %q", k, got[k])
			}
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok && !between(k) {
			t.Errorf("%q was deleted, and is here again where nothing is damaged", k)
		}
	}
	return n
}

// newestMeta is where the meta page of the newest commit begins.
func newestMeta(content []byte) int {
	page := os.Getpagesize()
	if binary.NativeEndian.Uint64(content[page+store.MetaTxid:]) > binary.NativeEndian.Uint64(content[store.MetaTxid:]) {
		return page
	}
	return 0
}

// rootOf is where the root page is that a meta page leads to.
func rootOf(content []byte, meta int) int {
	return int(binary.NativeEndian.Uint64(content[meta+32:])) * os.Getpagesize()
}

func TestSalvage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	l := written(t, path)
	want := l.now()
	content := readFile(t, path)
	page := os.Getpagesize()
	branches, leaves := usedPages(t, content, 1), usedPages(t, content, 2)
	newest := newestMeta(content)
	ruin := func(at ...int) func([]byte) []byte {
		return func(b []byte) []byte {
			for _, at := range at {
				clear(b[at : at+page])
			}
			return b
		}
	}
	top := slices.MaxFunc(branches, func(a, b int) int { // with the most children: not the root
		return int(binary.NativeEndian.Uint16(content[a+10:])) - int(binary.NativeEndian.Uint16(content[b+10:]))
	})
	tests := []struct {
		name   string
		damage func(b []byte) []byte
		least  int // how many percent are as they were
		commit int
		gone   int // how many losses are for good, at least
	}{
		{"nothing", func(b []byte) []byte { return b }, 100, 0, 0},
		{"a leaf", ruin(leaves[len(leaves)/2]), 98, 0, 1},
		{"five leaves", ruin(leaves[3], leaves[9], leaves[10], leaves[30], leaves[len(leaves)-2]), 90, 0, 1},
		{"a leaf's number", func(b []byte) []byte { b[leaves[5]]++; return b }, 99, 0, 0},
		{"a leaf's kind", func(b []byte) []byte { b[leaves[5]+8] = 0x40; return b }, 99, 0, 0},
		{"a leaf's count", func(b []byte) []byte { b[leaves[5]+10]++; return b }, 99, 0, 0},
		{"a leaf's last entry", func(b []byte) []byte { b[leaves[5]+10]--; return b }, 99, 0, 0},
		{"a leaf's entries", func(b []byte) []byte { b[leaves[5]+10] = 0; return b }, 99, 0, 0},
		{"what a leaf continues in", func(b []byte) []byte { b[leaves[5]+14]++; return b }, 99, 0, 0},
		{"a leaf of another place", func(b []byte) []byte { copy(b[leaves[5]:][:page], b[leaves[6]:]); return b }, 99, 0, 0},
		{"a value", func(b []byte) []byte { b[bytes.Index(b, []byte(want["\x40key01004"]))]++; return b }, 99, 0, 1},
		{"a branch", ruin(top), 99, 0, 0},
		{"all branches", ruin(branches...), 97, 0, 0},
		{"a separator", func(b []byte) []byte { b[top+64+int(binary.NativeEndian.Uint32(b[top+64:]))+1] ^= 0xff; return b }, 99, 0, 0},
		{"the root's number", func(b []byte) []byte { b[rootOf(b, newest)]++; return b }, 100, -1, 0},
		{"the root", ruin(rootOf(content, newest)), 100, -1, 0},
		{"the newest meta page", ruin(newest), 97, 0, 0},
		{"both meta pages", ruin(0, page), 97, -1, 0},
		{"both meta pages, and all branches", ruin(append([]int{0, page}, branches...)...), 90, -1, 0},
		{"the middle", func(b []byte) []byte { clear(b[len(b)/3 : len(b)/2]); return b }, 20, 0, 1},
		{"the tail", func(b []byte) []byte { return b[:len(b)/2/page*page+17] }, 20, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "croft.db")
			writeFile(t, path, test.damage(bytes.Clone(content)))
			r, got := salvaged(t, path, l, 0, store.SalvageOptions{Newer: newer, SeqOf: seqOf})
			n := missing(t, r, want, got)
			t.Logf("%d of %d are not as they were; %d saved, %d as before, %d found, %d losses, %d for good", n, len(want),
				r.Saved, r.Older, r.Recovered, r.LossesTotal, r.GoneTotal)
			if percent := (len(want) - n) * 100 / len(want); percent < test.least {
				t.Errorf("%d %% were saved, and %d can be", percent, test.least)
			}
			if test.name != "the tail" && r.Commit != test.commit || r.GoneTotal < uint64(test.gone) || test.gone == 0 && test.commit == 0 && test.least == 100 && r.LossesTotal > 0 {
				t.Errorf("%+v", r)
			}
			for _, l := range r.Losses {
				if l.What == "" || strings.Contains(l.What, "key0") {
					t.Errorf("a loss says %q", l.What)
				}
			}
		})
	}
}

// What doesn't fit into memory at once comes out all the same.
func TestSalvageLittleMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	l := written(t, path)
	b := readFile(t, path)
	for _, at := range usedPages(t, b, 1) {
		clear(b[at : at+os.Getpagesize()])
	}
	writeFile(t, path, b)
	o := store.SalvageOptions{Newer: newer, SeqOf: seqOf}
	r, got := salvaged(t, path, l, 0, o.WithStrayMemory(100<<10))
	if n := missing(t, r, l.now(), got); n > 0 || r.Recovered == 0 {
		t.Errorf("%d are not as they were: %+v", n, r)
	}
	again, _ := salvaged(t, path, l, 0, o)
	if again.Saved != r.Saved || again.Recovered != r.Recovered {
		t.Errorf("with much memory: %+v, with little: %+v", again, r)
	}
}

// Damage of any kind, many times, to a file as it is after its process was killed: without a list of free pages.
func TestSalvageRandom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	l := written(t, path)
	db := storetest.Open(t, path)
	update(t, db, func(tx *store.Tx) error {
		for i := range 50 {
			seq, err := tx.NextSeq()
			k := string(key(fmt.Sprintf("key%05d", i*60+1)))
			v := value(seq, k[1:], 50)
			if err := errors.Join(err, tx.Put([]byte(k), []byte(v))); err != nil {
				return err
			}
			l[k] = append(l[k], v)
		}
		return nil
	})
	want := l.now()
	content := readFile(t, path)
	page := os.Getpagesize()
	used := usedPages(t, content, 2)
	leading := append(usedPages(t, content, 1), rootOf(content, newestMeta(content))) // to other pages
	used = append(used, usedPages(t, content, 1)...)
	r := rand.New(rand.NewPCG(3, 3))
	for range 15 {
		b := bytes.Clone(content)
		flips, misled := 0, false
		for range 1 + r.IntN(8) {
			at := used[r.IntN(len(used))]
			switch r.IntN(4) {
			case 0:
				clear(b[at : at+page])
			case 1:
				copy(b[at:at+page], content[r.IntN(len(content)/page)*page:])
			case 2:
				b[at+r.IntN(page)] ^= 1 << r.IntN(8)
				flips, misled = flips+1, misled || slices.Contains(leading, at)
			case 3:
				b[at+r.IntN(16+32)] ^= 1 << r.IntN(8)
				flips, misled = flips+1, misled || slices.Contains(leading, at)
			}
		}
		if misled {
			flips = len(want) // an older page of the same place may be what is found
		}
		path := filepath.Join(t.TempDir(), "croft.db")
		writeFile(t, path, b)
		report, got := salvaged(t, path, l, flips, store.SalvageOptions{Newer: newer, SeqOf: seqOf})
		if !report.Mixed && (!misled || report.LossesTotal == 0) {
			missing(t, report, want, got)
		}
	}
}

// What the caller says is heeded.
func TestSalvageOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	l := written(t, path)
	b := readFile(t, path)
	for i, at := range usedPages(t, b, 2) {
		if i%3 == 0 && at != rootOf(b, newestMeta(b)) {
			clear(b[at:][:os.Getpagesize()*(1+int(binary.NativeEndian.Uint32(b[at+12:])))]) // and what it continues in
		}
	}
	writeFile(t, path, b)
	r, got := salvaged(t, path, l, 0, store.SalvageOptions{
		Skip:  func(key []byte) bool { return store.Space(key[0]) == store.Indexes },
		Stray: func(key []byte) bool { return store.Space(key[0]) != store.Auth },
		Newer: newer, SeqOf: seqOf,
	})
	for k := range got {
		if store.Space(k[0]) == store.Indexes {
			t.Fatal("what was to be skipped is saved")
		}
		if store.Space(k[0]) == store.Auth && l.now()[k] == "" {
			t.Error("what was deleted, as a session that was ended, is there again")
		}
	}
	if r.Skipped == 0 || r.LossesTotal == 0 {
		t.Errorf("%+v", r)
	}
	for _, loss := range r.Losses {
		if loss.Space == store.Indexes {
			t.Errorf("a loss of what was skipped: %+v", loss)
		}
	}

	// Finish runs on the new file before it has its name; if it fails, there is none.
	out := filepath.Join(t.TempDir(), "out.db")
	finish := func(err error) store.SalvageOptions {
		return store.SalvageOptions{Finish: func(tx *store.Tx) error {
			if _, statErr := os.Stat(out); !errors.Is(statErr, fs.ErrNotExist) {
				t.Error("it has its name already")
			}
			return errors.Join(err, tx.Put(key("finished"), []byte("yes")))
		}}
	}
	failed := errors.New("no")
	if _, err := store.Salvage(ctx, path, out, finish(failed)); !errors.Is(err, failed) {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(out)); err != nil || len(entries) > 0 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if _, err := store.Salvage(ctx, path, out, finish(nil)); err != nil {
		t.Fatal(err)
	}
	if _, got := checkedEntries(t, out); got[string(key("finished"))] != "yes" {
		t.Error("it is not finished")
	}
}

func TestSalvageErrors(t *testing.T) {
	dir := t.TempDir()
	path, out := filepath.Join(dir, "croft.db"), filepath.Join(dir, "out.db")
	sample(t, path, 100)
	text := filepath.Join(dir, "text")
	writeFile(t, text, []byte(strings.Repeat("text", 10_000)))
	empty := filepath.Join(dir, "empty")
	writeFile(t, empty, nil)
	tests := []struct {
		from, to string
		is       error
		text     string
	}{
		{path, path, fs.ErrExist, "a name that is free"},
		{path, dir, fs.ErrExist, "a name that is free"},
		{path, filepath.Join(dir, "no", "out.db"), fs.ErrNotExist, "make that folder first"},
		{filepath.Join(dir, "nothing"), out, fs.ErrNotExist, "nothing"},
		{dir, out, store.ErrNotCroft, "a folder"},
		{text, out, store.ErrNotCroft, text},
		{empty, out, store.ErrDamaged, "nothing to be saved"},
	}
	for _, test := range tests {
		_, err := store.Salvage(ctx, test.from, test.to, store.SalvageOptions{})
		if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s to %s: %v", test.from, test.to, err)
		}
	}
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Salvage(ctx, path, out, store.SalvageOptions{LockTimeout: 1}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a file that is in use: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	store.SetFormat(t, path, 9)
	if _, err := store.Salvage(ctx, path, out, store.SalvageOptions{}); !errors.Is(err, store.ErrNewer) {
		t.Errorf("a newer file: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

// BenchmarkSalvage is of 300,000 entries of 300 bytes, whole and without the branches of their tree.
func BenchmarkSalvage(b *testing.B) {
	db := storetest.New(b)
	fill(b, db, 300_000)
	path := db.Path()
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	for _, without := range []string{"nothing", "branches"} {
		b.Run(without, func(b *testing.B) {
			if without == "branches" {
				content := readFile(b, path)
				for _, at := range usedPages(b, content, 1) {
					clear(content[at : at+os.Getpagesize()])
				}
				writeFile(b, path, content)
			}
			b.ResetTimer()
			for range b.N {
				r, err := store.Salvage(ctx, path, filepath.Join(b.TempDir(), "out.db"), store.SalvageOptions{})
				if err != nil || r.Saved < 300_000 {
					b.Fatal(err, r)
				}
			}
		})
	}
}
