//go:build !linux

package store

import (
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// watch would tell when other processes have the data file open; only Linux does.
type watch struct{}

func newWatch(*os.File, time.Time, *atomic.Int64) (*watch, error) {
	return nil, errors.ErrUnsupported
}

func (*watch) read(time.Time) *hold { return nil }
func (*watch) close() error         { return nil }
