//go:build linux && (amd64 || arm64)

package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"croft/internal/needs"
	"croft/internal/store"
	"croft/internal/store/faultfs"

	"golang.org/x/sys/unix"
)

// A disk that can only be read from some moment on, as after an error of its own: writing ends with an error that says so, all
// that was acknowledged can be read, and when the disk is well again, Croft goes on.
func TestReadOnlyDisk(t *testing.T) {
	disk := faultfs.Mount(t)
	path := filepath.Join(disk.Path, "croft.db")
	const seed = 6
	ledger := newLedger(seed)
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var acked uint64
	for range 20 {
		if acked, err = workload(seed).update(db); err != nil {
			t.Fatal(err)
		}
	}
	disk.Break(1, syscall.EROFS)
	_, err = workload(seed).update(db)
	if !errors.Is(err, store.ErrFatal) || !errors.Is(err, syscall.EROFS) {
		t.Errorf("update: %v", err)
	}
	if err := errors.Join(dead(db), db.Close()); err != nil {
		t.Error(err)
	}
	if _, err := store.Open(path, store.Options{}); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "can only be read") {
		t.Errorf("open: %v", err)
	}
	if _, err := store.Open(path+"2", store.Options{}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("make: %v", err)
	}
	db, err = store.Open(path, store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	seq, sum, err := state(db)
	if err != nil || seq != acked || sum != ledger.sum(acked) {
		t.Errorf("of %d updates %d are read, %v", acked, seq, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	disk.Steps()
	db = openIn(t, disk.Path)
	if _, err := ledger.verify(db, acked); err != nil {
		t.Error(err)
	}
	if _, err := workload(seed).update(db); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// A real disk that is mounted to be read only, as far as the kernel lets it: not while the file is open to be written.
func TestReadOnlyMount(t *testing.T) {
	dir := needs.Disk(t, 16)
	remount := func(flags uintptr) error { return unix.Mount("croft", dir, "tmpfs", unix.MS_REMOUNT|flags, "") }
	db := openIn(t, dir)
	update(t, db, put("before"))
	if err := remount(unix.MS_RDONLY); err != unix.EBUSY {
		t.Errorf("mounted read only under an open file: %v", err)
	}
	if err := errors.Join(db.Update(ctx, put("after")), db.Close(), remount(unix.MS_RDONLY)); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(db.Path(), store.Options{})
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "can only be read") {
		t.Errorf("open: %v", err)
	}
	db, err = store.Open(db.Path(), store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if !has(t, db, "before") || !has(t, db, "after") {
		t.Error("what was acknowledged is not there")
	}
	if err := errors.Join(db.Close(), remount(0)); err != nil {
		t.Fatal(err)
	}
	db = openIn(t, dir)
	update(t, db, put("again"))
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		t.Error(err)
	}
}

// A process that has no descriptors left goes on with its file, and one that has too few doesn't open it, says why, and
// leaves nothing behind.
func TestNoDescriptors(t *testing.T) {
	dir := t.TempDir()
	cmd := child(t, "run out of descriptors", dir)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, cmd.Stderr)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 2 {
		t.Errorf("%q, %v", names, err)
	}
}

func init() {
	roles["run out of descriptors"] = func(args []string) error {
		const seed = 7
		w, ledger := workload(seed), newLedger(seed)
		path := filepath.Join(args[0], "croft.db")
		db, err := store.Open(path, store.Options{})
		if err != nil {
			return err
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 50, Max: 50}); err != nil {
			return err
		}
		var taken []int
		take := func() error {
			for {
				fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err == unix.EMFILE {
					return nil
				}
				if err != nil {
					return err
				}
				taken = append(taken, fd)
			}
		}
		free := func() error {
			last := len(taken) - 1
			fd := taken[last]
			taken = taken[:last]
			return unix.Close(fd)
		}

		if err := take(); err != nil {
			return err
		}
		var acked uint64
		for range 100 {
			if acked, err = w.update(db); err != nil {
				return fmt.Errorf("update: %w", err)
			}
		}
		if _, err := ledger.verify(db, acked); err != nil {
			return err
		}
		if err := db.Close(); err != nil {
			return err
		}

		// One more is free each time, until there are enough: for a file that is there, and for a new one.
		for _, name := range []string{path, filepath.Join(args[0], "new.db")} {
			for tries := 0; ; tries++ {
				if err := take(); err != nil {
					return err
				}
				for range tries {
					if err := free(); err != nil {
						return err
					}
				}
				db, err = store.Open(name, store.Options{})
				if err == nil {
					break
				}
				if !errors.Is(err, unix.EMFILE) || tries > 20 {
					return fmt.Errorf("open %s with %d descriptors: %w", name, tries, err)
				}
			}
			if name == path {
				if _, err := ledger.verify(db, acked); err != nil {
					return err
				}
			}
			if err := errors.Join(db.Update(ctx, put("more")), db.Check(), db.Close()); err != nil {
				return err
			}
		}
		return nil
	}
}
