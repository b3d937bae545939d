//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
)

// lockStep is how often a lock that others hold is tried.
const lockStep = 50 * time.Millisecond

// awaitLock locks an open file against other processes, as bbolt does, and waits for it as long.
func awaitLock(file *os.File, timeout time.Duration) error {
	for start := time.Now(); ; time.Sleep(lockStep) {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if time.Since(start) > timeout-lockStep {
			return bolterrors.ErrTimeout
		}
	}
}

// Lock keeps other processes from opening a data file until release is called, whatever state the file is in: for putting
// another in its place. Who waited for it meanwhile opens the other.
func Lock(path string) (release func(), err error) {
	for {
		release, err = lockNow(path)
		if !errors.Is(err, errReplaced) {
			return release, err
		}
	}
}

// lockNow is Lock, but that another file may get the name before this one is locked: then it is errReplaced.
func lockNow(path string) (release func(), err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, explain("open", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, locked(path)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	mine, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if there, err := os.Stat(path); err == nil && !os.SameFile(mine, there) {
		return nil, errReplaced
	}
	return func() { _ = file.Close() }, nil // it was only locked
}
