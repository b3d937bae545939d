package app

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isInUse reports whether an address can't be listened on because somebody else does.
func isInUse(err error) bool { return errors.Is(err, windows.WSAEADDRINUSE) }
