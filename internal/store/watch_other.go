//go:build !linux

package store

import (
	"errors"
	"os"
	"time"
)

// watch would tell when other processes have the data file open; only Linux does.
type watch struct{}

func newWatch(*os.File, time.Time) (*watch, error) { return nil, errors.ErrUnsupported }

func (*watch) read(time.Time) *hold { return nil }
func (*watch) opened() int64        { return 0 }
func (*watch) close() error         { return nil }
