package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"croft/internal/store"
	"croft/internal/store/storetest"

	"golang.org/x/sys/unix"
)

// asNobody runs fn in a thread that may not override permissions, also when the test runs as root.
func asNobody(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if os.Getuid() == 0 {
			const nobody = 65534
			unix.SetfsuidRetUid(nobody)
			if now, _ := unix.SetfsuidRetUid(-1); now != nobody {
				done <- errors.New("can't become another user")
				return
			}
		}
		fn()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Skip(err)
	}
}

func TestNoPermission(t *testing.T) {
	// A folder of its own: those above t.TempDir's may be closed to others.
	dir, err := os.MkdirTemp("", "croft")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "croft.db")
	check := func(what string) {
		asNobody(t, func() {
			_, err := store.Open(path, short)
			if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "run Croft as the owner") {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	check("a folder that can only be read")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	sample(t, path, 1)
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	check("a file that can only be read")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	check("a file that can't be read")
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	check("a folder that can't be entered")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

func init() {
	roles["fill with few addresses"] = func(args []string) error {
		limit := uint64(16 << 30)
		if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
		return roleFill(args)
	}
}

// Where a process may not have many addresses, the file is mapped as it grows.
func TestFewAddresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	cmd := child(t, "fill with few addresses", path, "few", "2000")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, cmd.Stderr)
	}
	db := storetest.Open(t, path)
	if !has(t, db, "few/0/0") || db.Stats().Bytes < 2000*10 {
		t.Errorf("%+v", db.Stats())
	}
}

func init() {
	roles["compact with few addresses"] = func(args []string) error {
		limit := uint64(100 << 30) // enough for one mapping
		if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
		db, err := store.Open(args[0], store.Options{})
		if err != nil {
			return err
		}
		for i := range 3 {
			if _, err = db.Compact(context.Background(), nil); err != nil {
				break
			}
			// More than the mapping has room for at first.
			err = db.Update(context.Background(), func(tx *store.Tx) error {
				return tx.Put(store.Records.Key([]byte{byte(i)}), make([]byte, 1<<20))
			})
			if err != nil {
				break
			}
		}
		return errors.Join(err, db.Check(), db.Close())
	}
}

// Where a process may not have the addresses of two mappings, a compaction does with a smaller one.
func TestCompactWithFewAddresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	cmd := child(t, "compact with few addresses", path)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, cmd.Stderr)
	}
}
