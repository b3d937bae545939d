package backup

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// renameNeedsClose is whether an open file can't get another name.
const renameNeedsClose = true

// lockShared does nothing: an open file can't be removed here.
func lockShared(*os.File) error { return nil }

// removeUnlocked removes a file unless a process has it open.
func removeUnlocked(path string) error {
	err := os.Remove(path)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return nil
	}
	return err
}

// isDiskFull reports whether a write failed for want of room.
func isDiskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// syncDir does nothing: Windows flushes the name with the file.
func syncDir(string) error { return nil }
