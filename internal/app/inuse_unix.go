//go:build unix

package app

import (
	"errors"
	"syscall"
)

// isInUse reports whether an address can't be listened on because somebody else does.
func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
