//go:build unix

package backup

import (
	"errors"
	"os"
	"syscall"
)

// renameNeedsClose is whether an open file can't get another name.
const renameNeedsClose = false

// lockShared marks a file as one that is being written, for as long as it is open. Without locks, as on some network
// disks, it isn't marked, and removeUnlocked leaves it alone.
func lockShared(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || noLocks(err) {
		return nil // who took it for a leftover has it; createPartial sees to that
	}
	return err
}

// removeUnlocked removes a file unless a process has marked it.
func removeUnlocked(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case err == nil:
		err = os.Remove(path)
	case errors.Is(err, syscall.EWOULDBLOCK), noLocks(err):
		err = nil
	}
	return errors.Join(err, f.Close())
}

func noLocks(err error) bool {
	return errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EINVAL)
}
