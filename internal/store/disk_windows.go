package store

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// mapsWholeFile is whether a mapping makes the file as large as itself.
const mapsWholeFile = true

// IsDiskFull reports whether a write failed for want of room.
func IsDiskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// unlock does nothing: Windows lets go of the lock when the file is closed.
func unlock(*os.File) error { return nil }

// SyncDir does nothing: Windows flushes the name with the file.
func SyncDir(string) error { return nil }

// KeepOwner does nothing: on Windows a folder's rights hold for what is in it.
func KeepOwner(string, os.FileInfo) error { return nil }
