//go:build amd64 || arm64

package backup_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"croft/internal/backup"
	"croft/internal/needs"
	"croft/internal/store"
	"croft/internal/store/faultfs"
)

// On a full disk nothing changes, whenever it fills up.
func TestRestoreFullDisk(t *testing.T) {
	from := filepath.Join(t.TempDir(), "b.db")
	dataFile(t, from, "new")
	disk := faultfs.Mount(t)
	data := filepath.Join(disk.Path, "croft.db")
	dataFile(t, data, "old")
	for _, room := range []int64{0, 5000, 20000} {
		disk.Room(room)
		if _, err := backup.Restore(t.Context(), from, data, backup.FileOptions{}); !errors.Is(err, store.ErrDiskFull) {
			t.Errorf("with room for %d bytes: %v", room, err)
		}
		disk.Room(-1)
		if names(t, disk.Folder) != "croft.db" {
			t.Errorf("in the folder: %s", names(t, disk.Folder))
		}
	}
	if word(t, filepath.Join(disk.Folder, "croft.db")) != "old" {
		t.Error("the data file was changed")
	}
}

// What root restores belongs to whom the data file belonged to: the server that runs as that user must open it.
func TestRestoreKeepsOwner(t *testing.T) {
	needs.Root(t)
	dir, from := t.TempDir(), filepath.Join(t.TempDir(), "b.db")
	data := filepath.Join(dir, "croft.db")
	dataFile(t, data, "old")
	dataFile(t, from, "new")
	if err := os.Chown(data, 12345, 23456); err != nil {
		needs.Skip(t, "files can't be given to others here: "+err.Error())
	}
	if _, err := backup.Restore(t.Context(), from, data, backup.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 23456 {
		t.Errorf("the restored file belongs to %d:%d", st.Uid, st.Gid)
	}
}
