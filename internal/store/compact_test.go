package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"croft/internal/store"
	"croft/internal/store/storetest"
)

// fat makes a data file most of which is free, and returns what it holds.
func fat(t *testing.T, db *store.DB, entries int) map[string]string {
	t.Helper()
	for i := 0; i < entries; i += 500 {
		update(t, db, func(tx *store.Tx) error {
			for j := i; j < i+500; j++ {
				if err := tx.Put(key(fmt.Sprint(j)), bytes.Repeat([]byte{'x'}, 300)); err != nil {
					return err
				}
			}
			_, err := tx.NextSeq()
			return err
		})
	}
	for i := 0; i < entries; i += 500 {
		update(t, db, func(tx *store.Tx) error {
			for j := i; j < i+500; j++ {
				if j%10 == 0 {
					continue
				}
				if err := tx.Delete(key(fmt.Sprint(j))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return contents(t, db)
}

// contents are all entries.
func contents(t *testing.T, db *store.DB) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := db.View(func(tx *store.Tx) error {
		c := tx.Scan(store.Prefix(store.Records.Key()))
		for c.Next() {
			all[string(c.Key())] = string(c.Value())
		}
		return c.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func seq(t *testing.T, db *store.DB) (n uint64) {
	t.Helper()
	err := db.View(func(tx *store.Tx) (err error) { n, err = tx.Seq(); return err })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCompact(t *testing.T) {
	db := storetest.New(t)
	want, last := fat(t, db, 5_000), seq(t, db)
	before, err := os.Stat(db.Path())
	if err != nil {
		t.Fatal(err)
	}
	im, err := db.Image()
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	result, err := db.Compact(t.Context(), func(done, total int64) { steps++ })
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(db.Path())
	if err != nil {
		t.Fatal(err)
	}
	if result.After*5 > result.Before || after.Size()*3 > before.Size() || steps == 0 {
		t.Errorf("%+v, %d of %d bytes, %d steps", result, after.Size(), before.Size(), steps)
	}
	// The image is of the old file.
	n, err := io.Copy(io.Discard, io.NewSectionReader(im, 0, im.Size()))
	if err != nil || n != result.Before {
		t.Errorf("the image has %d bytes: %v", n, err)
	}
	im.Close()
	for range 2 {
		if got := contents(t, db); !maps.Equal(got, want) || seq(t, db) != last {
			t.Errorf("%d entries of %d, number %d of %d", len(got), len(want), seq(t, db), last)
		}
		update(t, db, put("more"))
		want[string(key("more"))] = contents(t, db)[string(key("more"))]
		db = storetest.Reopen(t, db)
	}
}

// Others write, read and make copies meanwhile.
func TestCompactUnderLoad(t *testing.T) {
	db := storetest.New(t)
	want := fat(t, db, 5_000)
	const writers = 4
	var stop atomic.Bool
	var wg sync.WaitGroup
	mine := make([]map[string]string, writers)
	var writes atomic.Int64
	for w := range writers {
		mine[w] = map[string]string{}
		r := rand.New(rand.NewPCG(uint64(w), 7))
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				k := key(fmt.Sprintf("%d/%d", r.IntN(500), w)) // amid the others
				if r.IntN(3) == 0 {
					if err := db.Update(ctx, func(tx *store.Tx) error { return tx.Delete(k) }); err != nil {
						t.Error(err)
						return
					}
					delete(mine[w], string(k))
				} else {
					v := fmt.Sprint(i, w)
					if err := db.Update(ctx, func(tx *store.Tx) error { return tx.Put(k, []byte(v)) }); err != nil {
						t.Error(err)
						return
					}
					mine[w][string(k)] = v
				}
				writes.Add(1)
			}
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			if all := contents(t, db); len(all) < len(want) {
				t.Errorf("a reader sees %d entries of %d", len(all), len(want))
				return
			}
		}
	})
	var copies []string
	wg.Go(func() {
		for i := 0; !stop.Load() && i < 20; i++ {
			content, err := os.ReadFile(db.Path())
			if err != nil {
				t.Error(err)
				return
			}
			path := filepath.Join(t.TempDir(), "copy.db")
			writeFile(t, path, content)
			copies = append(copies, path)
		}
	})
	for range 5 {
		if _, err := db.Compact(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	wg.Wait()
	for _, m := range mine {
		maps.Copy(want, m)
	}
	for range 2 {
		if got := contents(t, db); !maps.Equal(got, want) {
			t.Errorf("%d entries, want %d", len(got), len(want))
		}
		db = storetest.Reopen(t, db)
	}
	for _, path := range copies {
		storetest.Open(t, path)
	}
	t.Logf("%d writes, %d copies", writes.Load(), len(copies))
}

// What can't be compacted stays as it is, and nothing is left beside it.
func TestCompactFails(t *testing.T) {
	db := storetest.New(t)
	want := fat(t, db, 5_000)
	alone := func(err, as error) {
		t.Helper()
		if !errors.Is(err, as) {
			t.Errorf("%v, want %v", err, as)
		}
		if entries, err := os.ReadDir(filepath.Dir(db.Path())); err != nil || len(entries) != 1 {
			t.Errorf("the folder holds %v, %v", entries, err)
		}
		if got := contents(t, db); !maps.Equal(got, want) {
			t.Errorf("%d entries of %d", len(got), len(want))
		}
		update(t, db, put("more"))
		want = contents(t, db)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	_, err := db.Compact(cancelled, func(int64, int64) {
		_, err := db.Compact(ctx, nil)
		if !errors.Is(err, store.ErrCompacting) {
			t.Errorf("two at once: %v", err)
		}
		cancel()
	})
	alone(err, context.Canceled)

	// One that was killed left its file.
	writeFile(t, db.Path()+".compact", []byte("half"))
	db = storetest.Reopen(t, db)
	alone(nil, nil)
	writeFile(t, db.Path()+".compact", []byte("half"))
	_, err = db.Compact(t.Context(), nil)
	alone(err, nil)

	// A folder stands in the way.
	if err := os.MkdirAll(filepath.Join(db.Path()+".compact", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err = db.Compact(t.Context(), nil); err == nil {
		t.Error("it made a file where a folder is")
	}
	if err := os.RemoveAll(db.Path() + ".compact"); err != nil {
		t.Fatal(err)
	}

	path := db.Path()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Compact(t.Context(), nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	db, err = store.Open(path, store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Compact(t.Context(), nil); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("read only: %v", err)
	}
}

// Stats can be asked for while a compaction goes on to another file.
func TestStatsWhileCompacting(t *testing.T) {
	db, err := store.Open(filepath.Join(t.TempDir(), "croft.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				db.Stats()
			}
		}
	}()
	for range 20 {
		if _, err := db.Compact(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-done
}
