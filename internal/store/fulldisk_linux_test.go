//go:build linux && (amd64 || arm64)

package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"croft/internal/needs"
	"croft/internal/store"
	"croft/internal/store/faultfs"

	"golang.org/x/sys/unix"
)

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
		dir := needs.Disk(t, 4)
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
