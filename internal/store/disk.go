package store

import (
	"errors"
	"io/fs"
	"syscall"
)

// wantsRoom reports whether a commit failed for want of room before it flushed anything. A flush that fails, for whatever
// reason, may have dropped what was written.
func (db *DB) wantsRoom(err error) bool {
	var pathErr *fs.PathError
	var errno syscall.Errno
	switch {
	case errors.As(err, &pathErr):
		return pathErr.Op == "write" && IsDiskFull(err)
	case errors.As(err, &errno):
		return false // of fdatasync
	}
	// When the file can't grow, bbolt tells the reason in words only: ask again. This is no flush either.
	info, err := db.file.Stat()
	if err != nil {
		return false
	}
	err = db.file.Truncate(info.Size() + 64*minGrowth)
	if err == nil {
		_ = db.file.Truncate(info.Size()) // only for tidiness: this end is not used
	}
	return IsDiskFull(err)
}
