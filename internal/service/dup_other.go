//go:build unix && !linux

package service

import "golang.org/x/sys/unix"

// dup makes a descriptor another name of what from is.
func dup(from, to int) error { return unix.Dup2(from, to) }
