//go:build !linux

package store

import (
	"context"
	"os"
)

// fetchAhead does nothing here: there is no way to ask the system for it.
func fetchAhead(context.Context, *os.File, int64) (stop func()) { return func() {} }
