package store

import (
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// awaitLock does nothing: here the lock is bbolt's alone, for it can't be taken twice.
func awaitLock(*os.File, time.Duration) error { return nil }

// Lock verifies that no other process has a data file open. It can't keep them from it: here a file that is open can't get
// another name.
func Lock(path string) (release func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, explain("open", path, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	// The byte that bbolt locks.
	err = windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0,
		&windows.Overlapped{Offset: math.MaxUint32, OffsetHigh: math.MaxUint32})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return nil, locked(path)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() {}, nil
}
