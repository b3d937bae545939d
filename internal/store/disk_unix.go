//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"
)

// mapsWholeFile is whether a mapping makes the file as large as itself.
const mapsWholeFile = false

// isDiskFull reports whether a write failed for want of room: of the disk, of a quota, or of the process's limit.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// unlock lets other processes open the file.
func unlock(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
}

// syncDir flushes a folder, so that a name in it lasts.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
