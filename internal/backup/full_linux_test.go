//go:build amd64 || arm64

package backup_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"croft/internal/backup"
	"croft/internal/needs"
	"croft/internal/store"
	"croft/internal/store/faultfs"
	"croft/internal/store/storetest"
)

// A backup goes to another file system, and when that is full, nothing of it stays there.
func TestFullDisk(t *testing.T) {
	db := storetest.New(t)
	fill(t, db, 12)
	try := func(t *testing.T, dir string, more func()) {
		path := filepath.Join(dir, "copy.db")
		err := backup.WriteFile(t.Context(), path, source(t, db), backup.FileOptions{})
		if !errors.Is(err, store.ErrDiskFull) {
			t.Errorf("on a full disk: %v", err)
		}
		if got := names(t, dir); got != "" {
			t.Errorf("left: %s", got)
		}
		more()
		if err := backup.WriteFile(t.Context(), path, source(t, db), backup.FileOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := backup.VerifyHere(t.Context(), path); err != nil || names(t, dir) != "copy.db" {
			t.Errorf("with room: %v; in the folder: %s", err, names(t, dir))
		}
	}
	t.Run("tmpfs", func(t *testing.T) {
		dir := needs.Disk(t, 8)
		try(t, dir, func() {
			if err := unix.Mount("croft", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("full halfway", func(t *testing.T) {
		disk := faultfs.Mount(t)
		disk.Room(6 << 20)
		try(t, disk.Path, func() { disk.Room(-1) })
	})
	// A write or a flush that fails is as bad as none.
	t.Run("broken", func(t *testing.T) {
		disk := faultfs.Mount(t)
		path := filepath.Join(disk.Path, "copy.db")
		for step := 1; ; step++ {
			disk.Fail(step, unix.EIO)
			err := backup.WriteFile(t.Context(), path, source(t, db), backup.FileOptions{})
			if err == nil {
				if step < 4 {
					t.Errorf("with a fault at step %d: no error", step)
				}
				break
			}
			if got := names(t, disk.Path); got != "" {
				t.Errorf("step %d (%v) leaves %s", step, err, got)
			}
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	})
}
