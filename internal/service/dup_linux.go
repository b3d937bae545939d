package service

import "golang.org/x/sys/unix"

// dup makes a descriptor another name of what from is. Not every Linux has dup2.
func dup(from, to int) error { return unix.Dup3(from, to, 0) }
