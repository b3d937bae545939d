//go:build linux && (amd64 || arm64)

package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"croft/internal/needs"
	"croft/internal/store"
	"croft/internal/store/faultfs"
	"croft/internal/store/storetest"
)

// Without room for the copy nothing is migrated, and nothing is left: seen ahead, and when the disk fills up meanwhile.
func TestMigrateDiskFull(t *testing.T) {
	const keys = 5000
	refused := func(t *testing.T, path, text string, leaves int) {
		t.Helper()
		if _, err := store.Open(path, later()); !errors.Is(err, store.ErrDiskFull) || !strings.Contains(err.Error(), text) {
			t.Fatalf("a migration without room for the copy: %v", err)
		}
		if beside := copies(t, path); len(beside) > leaves {
			t.Errorf("beside the file: %v", beside)
		}
	}
	t.Run("ahead", func(t *testing.T) {
		dir := needs.Disk(t, 8)
		path := filepath.Join(dir, "croft.db")
		sample(t, path, keys)
		filler := filepath.Join(dir, ".filler")
		room, err := store.Room(dir)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filler, make([]byte, room-200<<10))
		refused(t, path, "MiB, and 0 are free", 1) // the filler
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n := count(t, db); n != keys {
			t.Errorf("%d keys of %d", n, keys)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("meanwhile", func(t *testing.T) {
		disk := faultfs.Mount(t)
		path := filepath.Join(disk.Path, "croft.db")
		sample(t, path, keys)
		disk.Room(100_000)
		refused(t, path, "copy it to", 0)
		disk.Room(-1)
		db := storetest.Open(t, filepath.Join(disk.Folder, "croft.db"))
		if n := count(t, db); n != keys {
			t.Errorf("%d keys of %d", n, keys)
		}
	})
}
