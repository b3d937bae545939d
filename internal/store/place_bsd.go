//go:build unix && !linux

package store

import "os"

func identify(file *os.File) (string, error) { return deviceAndInode(file) }
