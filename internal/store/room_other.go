//go:build !linux && !darwin && !freebsd && !windows

package store

import "errors"

// Room is how many bytes this process may still write in a folder's file system. Here that is not known.
func Room(string) (int64, error) { return 0, errors.ErrUnsupported }
