//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"
)

// tryLockShared keeps others from writing to a data file until it is closed, and reports false if one may do so now.
func tryLockShared(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
