//go:build !windows

package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

func underWindows() bool { return false }

func logToFile() error { return nil }

// keepingLogShort runs work, and if standard output is the log file, puts it aside whenever it is too large: with OpenRC, SysV's init and
// launchd nobody else does.
func keepingLogShort(ctx context.Context, work func(context.Context) error) error {
	log := logFile(System())
	if !isLog(os.Stdout, log) {
		return work(ctx)
	}
	watched, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	wait.Go(func() {
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for {
			select {
			case <-watched.Done():
				return
			case <-tick.C:
			}
			if err := turnLog(log, maxLog); err != nil {
				fmt.Fprintln(os.Stderr, "croft: the log can't be put aside:", err)
			}
		}
	})
	return work(ctx)
}

// turnLog begins a new log when there are more bytes in it than most. The one before is kept, in place of the one before that.
func turnLog(log string, most int64) error {
	info, err := os.Lstat(log)
	if err != nil || info.Size() <= most {
		return err
	}
	var lead []*os.File
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if isLog(f, log) {
			lead = append(lead, f)
		}
	}
	if len(lead) == 0 {
		return nil
	}
	f, err := os.OpenFile(log+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(os.Rename(log, log+".old"), os.Rename(log+".new", log)); err != nil {
		return errors.Join(err, f.Close())
	}
	for _, to := range lead {
		err = errors.Join(err, dup(int(f.Fd()), int(to.Fd())))
	}
	return errors.Join(err, f.Close())
}
