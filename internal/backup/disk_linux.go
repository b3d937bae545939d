package backup

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// inBackground runs f on a thread of its own that lets all others go before it.
func inBackground(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()                                       // for good: the thread ends with the goroutine
		const nice = 10                                              // half the way to the lowest
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice) // where it is refused, it is as quick as any
		done <- f()
	}()
	return <-done
}

// allocate takes the room of the whole file at once, so that a disk that is too full is known before it is filled, and the file
// system need not look for room while it is written. Where that can't be done, the write finds out.
func allocate(f *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	for {
		switch err := unix.Fallocate(int(f.Fd()), 0, 0, size); {
		case errors.Is(err, unix.EINTR):
		case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
			return nil
		default:
			return &os.PathError{Op: "write", Path: f.Name(), Err: err}
		}
	}
}

// startFlush has the system write a part of a file to the disk, and doesn't wait.
func startFlush(f *os.File, offset, length int64) error {
	return flushRange(f, offset, length, unix.SYNC_FILE_RANGE_WRITE)
}

// waitFlush waits until a part is on the disk, but for what Sync adds, and then has the system forget it: the memory serves
// readers of the data file better.
func waitFlush(f *os.File, offset, length int64) error {
	if length == 0 {
		return nil
	}
	err := flushRange(f, offset, length, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	if err == nil {
		forget(f, offset, length)
	}
	return err
}

func flushRange(f *os.File, offset, length int64, flags int) error {
	err := unix.SyncFileRange(int(f.Fd()), offset, length, flags)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ESPIPE) {
		return nil // it only spreads the work: Sync does all of it
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: f.Name(), Err: err}
	}
	return nil
}

// forget tells the system that a part of a file which is on disk need not stay in memory.
func forget(f *os.File, offset, length int64) {
	_ = unix.Fadvise(int(f.Fd()), offset, length, unix.FADV_DONTNEED) // advice
}
