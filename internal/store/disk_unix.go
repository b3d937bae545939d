//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"
)

// mapsWholeFile is whether a mapping makes the file as large as itself.
const mapsWholeFile = false

// IsDiskFull reports whether a write failed for want of room: of the disk, of a quota, or of the process's limit.
func IsDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// unlock lets other processes open the file.
func unlock(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
}

// SyncDir flushes a folder, so that a name in it lasts.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// KeepOwner gives a new file the owner of the one that it replaces: a server that runs as a user of its own must be able to
// open what root made.
func KeepOwner(path string, like os.FileInfo) error {
	want, ok := like.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); !ok || is.Uid == want.Uid {
		return nil
	}
	err = os.Chown(path, int(want.Uid), int(want.Gid))
	if errors.Is(err, os.ErrPermission) {
		return errors.New("the data file belongs to another user, whose server could not open the new one: run this as that user, or as root")
	}
	return err
}
