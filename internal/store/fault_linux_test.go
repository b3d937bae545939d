//go:build linux && (amd64 || arm64)

package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"croft/internal/store"
	"croft/internal/store/faultfs"
	"croft/internal/store/storetest"

	"golang.org/x/sys/unix"
)

// large makes the file grow.
var large = bytes.Repeat([]byte("x"), 300_000)

// putLarge writes two keys, which must be there both or not at all.
func putLarge(tx *store.Tx) error {
	return errors.Join(tx.Put(key("large"), large), put("with large")(tx))
}

func dead(t *testing.T, db *store.DB) {
	t.Helper()
	select {
	case <-db.Failed():
	default:
		t.Error("Failed is not closed")
	}
	if err := db.View(func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrFatal) {
		t.Errorf("view after a fatal error: %v", err)
	}
	if err := db.Update(ctx, put("never")); !errors.Is(err, store.ErrFatal) || err != db.Err() {
		t.Errorf("update after a fatal error: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("close after a fatal error: %v", err)
	}
}

// both reports whether what putLarge writes is there, and fails if only a part of it is.
func both(t *testing.T, db *store.DB) bool {
	t.Helper()
	there := has(t, db, "with large")
	err := db.View(func(tx *store.Tx) error {
		v, err := tx.Get(key("large"))
		if err == nil && there != bytes.Equal(v, large) {
			t.Error("an update is there in part")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return there
}

// Every write and flush of a commit fails once, as a broken disk and as a full one. What the caller is told agrees with
// what is there, at once and after a power cut.
func TestFaultAtEveryStep(t *testing.T) {
	disk := faultfs.Mount(t)
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		kinds := map[string]int{}
		for step := 1; ; step++ {
			name := fmt.Sprintf("%d-%d.db", errno, step)
			db, err := store.Open(filepath.Join(disk.Path, name), store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			update(t, db, put("before"))
			disk.Fail(step, errno)
			err = db.Update(ctx, putLarge)
			steps := disk.Steps()
			failed := slices.IndexFunc(steps, func(s string) bool { return strings.HasSuffix(s, "!") })
			if failed < 0 {
				if err != nil {
					t.Errorf("no step failed, and the update did: %v", err)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
				break
			}
			kind := steps[failed]
			kinds[kind]++
			where := fmt.Sprintf("step %d, %s, %v", step, kind, errno)
			path := filepath.Join(disk.Folder, name)
			if err == nil && kind == "write!" {
				// The kernel splits a large write; of one that fails in the middle, the rest was tried again.
				if err := db.Close(); err != nil {
					t.Error(err)
				}
				disk.Cut(uint64(step))
				if db := storetest.Open(t, path); !both(t, db) {
					t.Errorf("%s: what was acknowledged is lost", where)
				}
				continue
			}
			if errno == syscall.ENOSPC && kind == "write!" {
				if !errors.Is(err, store.ErrDiskFull) || errors.Is(err, store.ErrFatal) {
					t.Errorf("%s: %v", where, err)
				}
				if both(t, db) || !has(t, db, "before") {
					t.Errorf("%s: a failed update is seen", where)
				}
				update(t, db, putLarge)
				if !both(t, db) {
					t.Errorf("%s: the next update is not seen", where)
				}
				if err := errors.Join(db.Check(), db.Close()); err != nil {
					t.Errorf("%s: %v", where, err)
				}
				continue
			}
			if !errors.Is(err, store.ErrFatal) || !errors.Is(err, errno) && kind != "grow!" && !strings.Contains(err.Error(), errno.Error()) {
				t.Errorf("%s: %v", where, err)
			}
			dead(t, db)
			before := readFile(t, path)
			disk.Cut(uint64(step))
			after := readFile(t, path)
			for _, content := range [][]byte{before, after} {
				writeFile(t, path, content)
				db := storetest.Open(t, path)
				if !has(t, db, "before") {
					t.Errorf("%s: what was acknowledged before is lost", where)
				}
				both(t, db)
				if err := errors.Join(db.Check(), db.Close()); err != nil {
					t.Errorf("%s: %v", where, err)
				}
			}
		}
		t.Logf("%v: %v", errno, kinds)
		if kinds["grow!"] != 1 || kinds["write!"] < 3 || kinds["flush!"] != 3 {
			t.Errorf("the steps of a commit are not what they were thought to be: %v", kinds)
		}
	}
}

// At a random step of many writers' commits the disk fails and the power is cut.
func TestPowerCut(t *testing.T) {
	disk := faultfs.Mount(t)
	r := rand.New(rand.NewPCG(2, 2))
	for round := range 40 {
		name := fmt.Sprintf("%d.db", round)
		db, err := store.Open(filepath.Join(disk.Path, name), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		disk.Fail(1+r.IntN(100), syscall.EIO)
		var mu sync.Mutex
		var acknowledged []string
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("%d/%d", w, i)
					err := db.Update(ctx, func(tx *store.Tx) error {
						old := key(fmt.Sprintf("%d/%d+", w, i-1))
						return errors.Join(put(name)(tx), put(name+"+")(tx), tx.Delete(old))
					})
					if err != nil {
						if !errors.Is(err, store.ErrFatal) {
							t.Error(err)
						}
						return
					}
					mu.Lock()
					acknowledged = append(acknowledged, name)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		dead(t, db)
		disk.Cut(r.Uint64())
		db = storetest.Open(t, filepath.Join(disk.Folder, name))
		for _, name := range acknowledged {
			if !has(t, db, name) {
				t.Errorf("round %d: %s was acknowledged and is lost", round, name)
			}
		}
		if err := errors.Join(db.Check(), db.Close()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

// fillDisk writes until the disk is full, and checks that nothing else is harmed. It returns how many keys are there.
func fillDisk(db *store.DB) (n int, err error) {
	value := make([]byte, 100_000)
	for ; n < 1000; n++ {
		err := db.Update(ctx, func(tx *store.Tx) error { return tx.Put(key(fmt.Sprint(n)), value) })
		if errors.Is(err, store.ErrDiskFull) && !errors.Is(err, store.ErrFatal) {
			break
		}
		if err != nil {
			return n, err
		}
	}
	if n == 1000 {
		return n, errors.New("the disk doesn't get full")
	}
	// Again, to be refused again; then reads, and what needs no room.
	err = db.Update(ctx, func(tx *store.Tx) error { return tx.Put(key("more"), make([]byte, 2<<20)) })
	if !errors.Is(err, store.ErrDiskFull) {
		return n, fmt.Errorf("again: %w", err)
	}
	return n, errors.Join(db.Err(), holds(db, n), db.Check())
}

func holds(db *store.DB, n int) error {
	return db.View(func(tx *store.Tx) error {
		c := tx.Scan(store.Prefix(store.Records.Key()))
		for c.Next() {
			n--
		}
		if n != 0 {
			return fmt.Errorf("%d keys too few", n)
		}
		return c.Err()
	})
}

// roomAgain deletes and writes on a disk that was full.
func roomAgain(db *store.DB, n int) error {
	for i := range n {
		if err := db.Update(ctx, func(tx *store.Tx) error { return tx.Delete(key(fmt.Sprint(i))) }); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	for i := range n {
		if err := db.Update(ctx, put(fmt.Sprint(i))); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return errors.Join(holds(db, n), db.Check())
}

func TestFullDisk(t *testing.T) {
	t.Run("faults", func(t *testing.T) {
		disk := faultfs.Mount(t)
		db := openIn(t, disk.Path)
		disk.Room(2 << 20) // the file's growth counts too
		n, err := fillDisk(db)
		if err != nil {
			t.Fatal(err)
		}
		disk.Room(-1)
		if err := errors.Join(roomAgain(db, n), db.Close()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("tmpfs", func(t *testing.T) {
		dir := t.TempDir()
		if err := unix.Mount("croft", dir, "tmpfs", 0, "size=4m"); err != nil {
			t.Skipf("a small tmpfs can't be mounted here: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		filler := filepath.Join(dir, "filler")
		writeFile(t, filler, make([]byte, 1<<20))
		db := openIn(t, dir)
		n, err := fillDisk(db)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(filler), roomAgain(db, n), db.Close()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("limit", func(t *testing.T) {
		cmd := child(t, "fill to the limit", filepath.Join(t.TempDir(), "croft.db"))
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, cmd.Stderr)
		}
	})
	t.Run("new file", func(t *testing.T) {
		disk := faultfs.Mount(t)
		disk.Room(5000)
		_, err := store.Open(filepath.Join(disk.Path, "croft.db"), store.Options{})
		if !errors.Is(err, store.ErrDiskFull) {
			t.Error(err)
		}
		if left, err := os.ReadDir(disk.Folder); err != nil || len(left) > 0 {
			t.Errorf("%v is left, %v", left, err)
		}
	})
}

// openIn opens a file in a folder that goes away with the test: the test closes it.
func openIn(t *testing.T, dir string) *store.DB {
	t.Helper()
	db, err := store.Open(filepath.Join(dir, "croft.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func init() {
	serveFaults = faultfs.ServeIfChild
	// Without root there is a limit on the size of files; it fails as a full disk does, when the file grows.
	roles["fill to the limit"] = func(args []string) error {
		const limit = 4 << 20
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: unix.RLIM_INFINITY}); err != nil {
			return err
		}
		db, err := store.Open(args[0], store.Options{})
		if err != nil {
			return err
		}
		n, err := fillDisk(db)
		if err != nil {
			return err
		}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}); err != nil {
			return err
		}
		return errors.Join(roomAgain(db, n), db.Close())
	}
}
