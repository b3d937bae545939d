//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Lock keeps other processes from opening a data file until release is called, whatever state the file is in: for putting
// another in its place. Who waited for it meanwhile opens the other.
func Lock(path string) (release func(), err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, explain("open", path, err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = locked(path)
	} else if err != nil {
		err = fmt.Errorf("lock %s: %w", path, err)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil // it was only locked
}
