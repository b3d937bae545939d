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
