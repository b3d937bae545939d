package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"croft/internal/store"
	"croft/internal/store/storetest"
)

var ctx = context.Background()

func key(name string) []byte { return store.Records.Key([]byte(name)) }

// put returns a function that writes one key, with its own name as the value.
func put(name string) func(*store.Tx) error {
	return func(tx *store.Tx) error { return tx.Put(key(name), []byte(name)) }
}

func update(t *testing.T, db *store.DB, fn func(*store.Tx) error) {
	t.Helper()
	if err := db.Update(ctx, fn); err != nil {
		t.Fatal(err)
	}
}

// has returns whether a key that put wrote is there.
func has(t *testing.T, db *store.DB, name string) bool {
	t.Helper()
	var value []byte
	err := db.View(func(tx *store.Tx) error {
		v, err := tx.Get(key(name))
		value = bytes.Clone(v)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if value != nil && string(value) != name {
		t.Fatalf("%s is %q", name, value)
	}
	return value != nil
}

// together runs functions in one commit, in their order, and returns what Update returned or raised.
func together(t *testing.T, db *store.DB, fns ...func(*store.Tx) error) []error {
	t.Helper()
	results := make([]error, len(fns))
	var wg sync.WaitGroup
	release := hold(db)
	for i, fn := range fns {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					results[i] = p.(*store.Panic)
				}
			}()
			results[i] = db.Update(ctx, fn)
		})
		awaitQueue(db, i+1)
	}
	before := db.Stats().Commits
	release()
	wg.Wait()
	if n := db.Stats().Commits - before; n > 1 {
		t.Errorf("%d commits", n)
	}
	return results
}

// hold keeps the writer busy until release is called.
func hold(db *store.DB) (release func()) {
	started, end := make(chan struct{}), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = db.Update(ctx, func(*store.Tx) error {
			close(started)
			<-end
			return nil
		})
	}()
	<-started
	return func() { close(end); <-done }
}

func awaitQueue(db *store.DB, n int) {
	for db.Stats().Queued < n {
		runtime.Gosched()
	}
}

func TestFailureAmongOthers(t *testing.T) {
	db := storetest.New(t)
	update(t, db, put("old"))
	results := together(t, db,
		put("a"),
		func(tx *store.Tx) error {
			err := errors.Join(put("b")(tx), tx.Put(key("a"), []byte("spoilt")), tx.Delete(key("old")), put("b")(tx))
			return errors.Join(err, errOnPurpose)
		},
		func(tx *store.Tx) error {
			for _, name := range []string{"a", "old"} {
				if v, err := tx.Get(key(name)); err != nil || string(v) != name {
					return fmt.Errorf("%s is %q: %v", name, v, err)
				}
			}
			return put("c")(tx)
		},
		func(tx *store.Tx) error { put("d")(tx); panic("on purpose") },
		func(tx *store.Tx) error { put("e")(tx); none := []error{}; return none[len(none)] },
		put("f"),
	)
	for i, want := range []bool{true, false, true, false, false, true} {
		if got := results[i] == nil; got != want {
			t.Errorf("update %d: %v", i, results[i])
		}
	}
	if !errors.Is(results[1], errOnPurpose) {
		t.Errorf("the failure is %v", results[1])
	}
	var p *store.Panic
	if !errors.As(results[3], &p) || p.Value != "on purpose" || !bytes.Contains(p.Stack, []byte("TestFailureAmongOthers")) {
		t.Errorf("the panic is %v", results[3])
	}
	db = storetest.Reopen(t, db)
	for name, want := range map[string]bool{"old": true, "a": true, "b": false, "c": true, "d": false, "e": false, "f": true} {
		if has(t, db, name) != want {
			t.Errorf("%s is there: %v", name, !want)
		}
	}
}

func TestAllFail(t *testing.T) {
	db := storetest.New(t)
	fail := func(tx *store.Tx) error {
		tx.OnCommit(func() { t.Error("a hook of a failed update ran") })
		if _, err := tx.NextSeq(); err != nil {
			return err
		}
		return errors.Join(put("a")(tx), errOnPurpose)
	}
	before := db.Stats()
	for i, err := range together(t, db, fail, fail, fail) {
		if !errors.Is(err, errOnPurpose) {
			t.Errorf("update %d: %v", i, err)
		}
	}
	after := db.Stats()
	if after.Commits != before.Commits || after.Refused != 3 {
		t.Errorf("stats: %+v", after)
	}
	update(t, db, func(tx *store.Tx) error {
		if n, err := tx.NextSeq(); n != 1 || err != nil {
			t.Errorf("the first change is %d, %v", n, err)
		}
		return nil
	})
	if has(t, db, "a") {
		t.Error("a failed update left a key")
	}
	db = storetest.Reopen(t, db)
	db.View(func(tx *store.Tx) error {
		if n, err := tx.Seq(); n != 1 || err != nil {
			t.Errorf("the last change is %d, %v", n, err)
		}
		return nil
	})
}

func TestOnCommit(t *testing.T) {
	db := storetest.New(t)
	var order []string
	note := func(name string) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			for _, part := range []string{"1", "2"} {
				tx.OnCommit(func() {
					if !has(t, db, "written") {
						t.Error("a hook ran before the commit could be seen")
					}
					order = append(order, name+part)
				})
			}
			return nil
		}
	}
	results := together(t, db, note("a"), put("written"), note("b"), func(tx *store.Tx) error {
		tx.OnCommit(func() { panic("in a hook") })
		return put("stands")(tx)
	}, note("c"))
	var p *store.Panic
	if !errors.As(results[3], &p) || p.Value != "in a hook" {
		t.Errorf("the hook's panic is %v", results[3])
	}
	if got := fmt.Sprint(order); got != "[a1 a2 b1 b2 c1 c2]" {
		t.Errorf("hooks ran as %s", got)
	}
	if !has(t, db, "stands") {
		t.Error("what was committed before the hook's panic is gone")
	}
	// Alone, a function that writes nothing costs no commit, and its hook runs all the same.
	before := db.Stats().Commits
	update(t, db, note("d"))
	if len(order) != 8 || db.Stats().Commits != before {
		t.Errorf("hooks %q, %d commits", order, db.Stats().Commits-before)
	}
}

func TestContext(t *testing.T) {
	db := storetest.New(t)
	cancelled, cancel := context.WithCancelCause(ctx)
	cancel(nil)
	never := func(*store.Tx) error { t.Error("it ran"); return nil }
	if err := db.Update(cancelled, never); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}

	release := hold(db)
	queued, cancel2 := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- db.Update(queued, never) }()
	awaitQueue(db, 1)
	cancel2()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled in the queue: %v", err)
	}
	release()

	running, cancel3 := context.WithCancel(ctx)
	err := db.Update(running, func(tx *store.Tx) error {
		cancel3()
		return put("ran")(tx)
	})
	if err != nil || !has(t, db, "ran") {
		t.Errorf("cancelled after it began: %v", err)
	}
}

func TestManyWriters(t *testing.T) {
	const writers, each = 32, 40
	db := storetest.New(t)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				err := db.Update(ctx, func(tx *store.Tx) error {
					v, err := tx.Get(key("count"))
					if err != nil {
						return err
					}
					n := uint64(0)
					if v != nil {
						n = binary.BigEndian.Uint64(v)
					}
					seq, err := tx.NextSeq()
					if err != nil || seq != n+1 {
						return fmt.Errorf("change %d after %d: %v", seq, n, err)
					}
					name := fmt.Sprintf("%d/%d", w, i)
					return errors.Join(put(name)(tx), tx.Put(key("count"), binary.BigEndian.AppendUint64(nil, seq)))
				})
				if err != nil {
					t.Error(err)
				}
				if name := fmt.Sprintf("%d/%d", w, i); !has(t, db, name) {
					t.Errorf("%s was answered and is not seen", name)
				}
			}
		})
	}
	wg.Wait()
	s := db.Stats()
	if s.Updates != writers*each || s.Commits > s.Updates/2 {
		t.Errorf("%d updates in %d commits", s.Updates, s.Commits)
	}
	db = storetest.Reopen(t, db)
	db.View(func(tx *store.Tx) error {
		v, err := tx.Get(key("count"))
		if err != nil || binary.BigEndian.Uint64(v) != writers*each {
			t.Errorf("count is %x, %v", v, err)
		}
		return nil
	})
}

func TestCloseUnderLoad(t *testing.T) {
	db := storetest.New(t)
	var acknowledged sync.Map
	var wg sync.WaitGroup
	var started atomic.Int32
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d/%d", w, i)
				err := db.Update(ctx, put(name))
				if errors.Is(err, store.ErrClosed) {
					if err := db.View(func(*store.Tx) error { return nil }); err != nil && !errors.Is(err, store.ErrClosed) {
						t.Errorf("view: %v", err)
					}
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				acknowledged.Store(name, true)
				started.Add(1)
			}
		})
		wg.Go(func() {
			for {
				err := db.View(func(tx *store.Tx) error {
					_, err := tx.Get(key("0/0"))
					return err
				})
				if errors.Is(err, store.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for started.Load() < 100 {
		runtime.Gosched()
	}
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := db.Check(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("check of a closed file: %v", err)
	}
	db = storetest.Open(t, db.Path())
	want := 0
	acknowledged.Range(func(name, _ any) bool {
		want++
		if !has(t, db, name.(string)) {
			t.Errorf("%s is lost", name)
		}
		return true
	})
	got := 0
	db.View(func(tx *store.Tx) error {
		c := tx.Scan(store.Prefix(store.Records.Key()))
		for c.Next() {
			got++
		}
		return c.Err()
	})
	if got != want {
		t.Errorf("%d keys are there, %d were acknowledged", got, want)
	}
}

func TestViewIsOneMoment(t *testing.T) {
	db := storetest.New(t)
	update(t, db, put("a"))
	inside, written := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := db.View(func(tx *store.Tx) error {
			close(inside)
			<-written
			for name, want := range map[string]bool{"a": true, "b": false} {
				v, err := tx.Get(key(name))
				if err != nil || (v != nil) != want {
					t.Errorf("%s is %q, %v", name, v, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-inside
	// Several commits, which would use the pages again that the view sees.
	for range 5 {
		update(t, db, func(tx *store.Tx) error { return errors.Join(put("b")(tx), tx.Delete(key("a"))) })
	}
	close(written)
	wg.Wait()
	if has(t, db, "a") || !has(t, db, "b") {
		t.Error("a later view does not see the later state")
	}
}

// A mapping that the file outgrows: readers have transactions of their own, and the file is mapped anew under them.
func TestSmallMapping(t *testing.T) {
	for _, mapping := range []int64{1, 256 << 10} {
		t.Run(fmt.Sprint(mapping), func(t *testing.T) {
			db, err := store.Open(t.TempDir()+"/croft.db", store.WithMapping(mapping))
			if err != nil {
				t.Fatal(err)
			}
			const writers, each = 8, 10
			value := bytes.Repeat([]byte("v"), 50_000)
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := range each {
						k := key(fmt.Sprintf("%d/%d", w, i))
						if err := db.Update(ctx, func(tx *store.Tx) error { return tx.Put(k, value) }); err != nil {
							t.Error(err)
						}
						err := db.View(func(tx *store.Tx) error {
							n := 0
							c := tx.Scan(store.Prefix(store.Records.Key()))
							for c.Next() {
								n++
								if !bytes.Equal(c.Value(), value) {
									t.Error("a wrong value")
								}
							}
							if n <= i {
								t.Errorf("%d keys after %d", n, i)
							}
							return c.Err()
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if err := errors.Join(db.Check(), db.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The file outgrows its mapping by what stands beside what is written, of which nobody can know before.
func TestSmallMappingLargeLeaves(t *testing.T) {
	db, err := store.Open(t.TempDir()+"/croft.db", store.WithMapping(4<<20))
	if err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("v"), 100_000)
	const n = 28
	for _, small := range []bool{false, true} {
		update(t, db, func(tx *store.Tx) error {
			var err error
			for i := range n {
				if small {
					err = errors.Join(err, tx.Put(key(fmt.Sprintf("%02d/small", i)), []byte("v")))
				} else {
					err = errors.Join(err, tx.Put(key(fmt.Sprintf("%02d", i)), large))
				}
			}
			return err
		})
	}
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		t.Error(err)
	}
}

// Large values are spread over several commits, to bound the memory of each.
func TestLargeBatch(t *testing.T) {
	const n = 24
	db := storetest.New(t)
	value := make([]byte, 1<<20)
	release := hold(db)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := db.Update(ctx, func(tx *store.Tx) error { return tx.Put(key(fmt.Sprint(i)), value) }); err != nil {
				t.Error(err)
			}
		})
	}
	awaitQueue(db, n)
	release()
	wg.Wait()
	if s := db.Stats(); s.Commits < n/5 || s.Updates != n+1 || s.Bytes < n<<20 {
		t.Errorf("stats: %+v", s)
	}
	update(t, db, func(tx *store.Tx) error {
		for i := range n {
			if err := tx.Delete(key(fmt.Sprint(i))); err != nil {
				return err
			}
		}
		return nil
	})
	if s := db.Stats(); s.FreeBytes < n<<20 {
		t.Errorf("stats: %+v", s)
	}
}

// What ends the writer's goroutine ends the use of the file, and nobody waits for ever.
func TestGoexit(t *testing.T) {
	db := storetest.New(t)
	update(t, db, put("before"))
	results := together(t, db, put("a"), func(*store.Tx) error { runtime.Goexit(); return nil }, put("b"))
	for i, err := range results {
		if !errors.Is(err, store.ErrFatal) {
			t.Errorf("update %d: %v", i, err)
		}
	}
	<-db.Failed()
	if err := db.Update(ctx, put("c")); !errors.Is(err, store.ErrFatal) {
		t.Error(err)
	}
	if err := db.View(func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrFatal) {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	db = storetest.Open(t, db.Path())
	if !has(t, db, "before") || has(t, db, "a") || has(t, db, "b") {
		t.Error("not the last commit's state")
	}
}

func TestMisuse(t *testing.T) {
	db := storetest.New(t)
	err := db.View(func(tx *store.Tx) error {
		if tx.Put(key("a"), nil) == nil || tx.Delete(key("a")) == nil {
			t.Error("a view writes")
		}
		if _, err := tx.NextSeq(); err == nil {
			t.Error("a view changes")
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a view has hooks")
				}
			}()
			tx.OnCommit(func() {})
		}()
		return errOnPurpose
	})
	if err != errOnPurpose {
		t.Error(err)
	}
	func() {
		defer func() {
			if p := recover(); p != "on purpose" {
				t.Errorf("the panic of a view is %v", p)
			}
		}()
		db.View(func(*store.Tx) error { panic("on purpose") })
	}()
	update(t, db, func(tx *store.Tx) error {
		long := make([]byte, store.MaxKey+1)
		if tx.Put(nil, nil) == nil || tx.Put(long, nil) == nil || tx.Delete(nil) == nil {
			t.Error("bad keys are taken")
		}
		// The longest key, and an empty value.
		return tx.Put(long[:store.MaxKey], nil)
	})
	db.View(func(tx *store.Tx) error {
		v, err := tx.Get(make([]byte, store.MaxKey))
		if v == nil || len(v) != 0 || err != nil {
			t.Errorf("an empty value is %v, %v", v, err)
		}
		return nil
	})
}
