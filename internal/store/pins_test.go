package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fillFile makes a file of many pages.
func fillFile(t testing.TB, entries int) *DB {
	t.Helper()
	db, err := Open(filepath.Join(t.TempDir(), "croft.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(db.Check(), db.Close()); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	for done := 0; done < entries; {
		mustUpdate(t, db, func(tx *Tx) error {
			for range 500 {
				if err := tx.Put(entryKey(done), bytes.Repeat([]byte{'-'}, 300)); err != nil {
					return err
				}
				done++
			}
			return nil
		})
	}
	return db
}

func entryKey(i int) []byte { return Records.Key(fmt.Appendf(nil, "%08d", i)) }

func mustUpdate(t testing.TB, db *DB, fn func(*Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// slowCopy copies the file as tools do, with commits between its reads: each writes the same number to many entries, and
// says in another key which it was.
func slowCopy(t testing.TB, db *DB, entries, commits int, sizeFirst bool, r *rand.Rand) (copied string, acknowledged int) {
	t.Helper()
	number := 0
	commit := func() {
		number++
		value := fmt.Appendf(bytes.Repeat([]byte{'-'}, 300), "%d", number)
		mustUpdate(t, db, func(tx *Tx) error {
			for range 20 {
				if err := tx.Put(entryKey(r.IntN(entries)), value); err != nil {
					return err
				}
			}
			tx.NextSeq()
			return tx.Put(Settings.Key([]byte("number")), value[300:])
		})
	}
	for range 50 {
		commit()
	}
	acknowledged = number
	from, err := os.Open(db.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	copied = filepath.Join(t.TempDir(), "copy.db")
	to, err := os.Create(copied)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	size := int64(1) << 62
	if sizeFirst {
		info, err := from.Stat()
		if err != nil {
			t.Fatal(err)
		}
		size = info.Size()
		for range 3 {
			commit() // the tool was interrupted
		}
	}
	chunk := int64(64 << 10)
	for at := int64(0); at < size; at += chunk {
		n, err := io.CopyN(to, from, min(chunk, size-at))
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		if number < acknowledged+commits {
			commit()
		}
	}
	return copied, acknowledged
}

// whole opens a copy and returns the number that it holds, or what is wrong with it.
func whole(path string) (number int, err error) {
	db, err := Open(path, Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Check(); err != nil {
		return 0, err
	}
	err = db.View(func(tx *Tx) error {
		value, err := tx.Get(Settings.Key([]byte("number")))
		if err != nil {
			return err
		}
		_, err = fmt.Sscan(string(value), &number)
		return err
	})
	return number, err
}

// A copy that is slow while the file changes is whole, and holds all that was acknowledged before it began.
func TestSlowCopy(t *testing.T) {
	const entries = 5_000
	for seed := range uint64(4) {
		db := fillFile(t, entries)
		copied, acknowledged := slowCopy(t, db, entries, 400, seed%2 == 0, rand.New(rand.NewPCG(seed, 0)))
		number, err := whole(copied)
		if err != nil || number < acknowledged {
			t.Errorf("seed %d: the copy holds %d of %d: %v", seed, number, acknowledged, err)
		}
		if s := db.Stats(); s.Pins < 100 || s.PinnedBytes == 0 || s.EarlyReleases != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// The control: without pins the same copies are torn, and it is told.
func TestSlowCopyWithoutPins(t *testing.T) {
	const entries = 5_000
	copyWindow = "off"
	defer func() { copyWindow = "" }()
	torn := 0
	for seed := range uint64(3) {
		db := fillFile(t, entries)
		copied, _ := slowCopy(t, db, entries, 400, false, rand.New(rand.NewPCG(seed, 0)))
		if _, err := whole(copied); err != nil {
			torn++
		}
	}
	if torn == 0 {
		t.Error("no copy is torn: the test for whole ones proves nothing")
	}
}

// What trim keeps, second by second.
func TestTrim(t *testing.T) {
	start := time.Now()
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	pinned := func(from, to float64) pin { return pin{since: at(from), replaced: at(to)} }
	held := func(open float64) hold {
		return hold{heads: []span{{at(open), at(open).Add(headTime)}}, until: at(open).Add(holdTime)}
	}
	for _, test := range []struct {
		name    string
		now     float64
		pending int64
		tight   bool
		hold    *hold // nil: nobody tells
		want    []int // which of the pins are kept
		lost    bool
	}{
		{"no watch, little", 45, 1 << 20, false, nil, []int{2, 3, 4}, false},
		{"no watch, much", 45, 100 << 20, false, nil, []int{2, 3, 4}, false},
		{"no watch, too much", 45, 4 << 30, false, nil, []int{4}, false},
		{"no watch, no room", 45, 1 << 20, true, nil, nil, false},
		{"watched, little", 45, 1 << 20, false, &hold{}, []int{2, 3, 4}, false},
		{"watched, much", 45, 300 << 20, false, &hold{}, []int{4}, false},
		{"held, little", 90, 1 << 20, false, new(held(5)), []int{1, 2, 3, 4}, false},
		{"held, much", 90, 500 << 20, false, new(held(5)), []int{1, 2}, false},
		{"held, too much", 90, 8 << 30, false, new(held(5)), nil, true},
		{"held, no room", 90, 1 << 20, true, new(held(5)), nil, true},
		{"held for too long", 6 + 15*60, 1 << 20, false, new(held(5)), nil, false},
	} {
		p := pins{opened: start, held: []pin{pinned(0, 1), pinned(1, 12), pinned(12, 20), pinned(30, 39), pinned(39, 44.9)}}
		number := map[*snapshot]int{}
		for i := range p.held {
			p.held[i].s = &snapshot{}
			number[p.held[i].s] = i
		}
		_, lost, _ := p.sift(at(test.now), test.pending, 1<<20, test.tight, test.hold)
		var got []int
		for _, pin := range p.held {
			got = append(got, number[pin.s])
		}
		if !slices.Equal(got, test.want) || lost != test.lost {
			t.Errorf("%s: keeps %v, want %v; lost %v", test.name, got, test.want, lost)
		}
	}
}

// On a disk that is nearly full nothing is kept for copies. That is said, but not with each commit.
func TestTightIsToldOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	var log strings.Builder
	db, err := Open(path, Options{Reserve: 1 << 60, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	copied, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	for range 20 {
		err := db.Reclaim(context.Background(), func(tx *Tx) error { return tx.Put(Settings.Key([]byte("a")), []byte("a")) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if s := db.Stats(); s.Holds == 0 {
		t.Skip("it can't be told here who has the file open")
	} else if s.EarlyReleases == 0 {
		t.Error("commits that a copy may need were let go of, and none is counted")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "the copy may not be whole"); n != 1 {
		t.Errorf("it is told %d times", n)
	}
}
