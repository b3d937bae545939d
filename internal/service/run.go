package service

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/kardianos/service"
	"golang.org/x/term"
)

// Background reports whether a service manager runs this process, so that what it prints lands in a log.
func Background() bool {
	if os.Getenv("NOTIFY_SOCKET") != "" || underWindows() {
		return true
	}
	if isLog(os.Stdout, logFile(System())) {
		return true // OpenRC, SysV's init and launchd tell a process nothing
	}
	return os.Getenv("JOURNAL_STREAM") != "" && !term.IsTerminal(int(os.Stdout.Fd()))
}

// isLog reports whether what is written to a file goes into the log.
func isLog(f *os.File, log string) bool {
	to, err := f.Stat()
	if err != nil {
		return false
	}
	info, err := os.Lstat(log)
	return err == nil && os.SameFile(to, info)
}

// maxLog is how large the log file may get before it is put aside, in bytes: some 60,000 requests, a line each.
const maxLog = 10 << 20

// Run runs work, and keeps the log file short that it may be writing to. On Windows, as a service, it answers the service manager meanwhile, ends work's context when it is told to stop,
// and has standard output and error go to the log file.
func Run(ctx context.Context, work func(context.Context) error) error {
	if !underWindows() {
		return keepingLogShort(ctx, work)
	}
	if err := logToFile(); err != nil {
		return err
	}
	c := &controlled{work: work}
	c.ctx, c.cancel = context.WithCancel(ctx)
	defer c.cancel()
	s, err := service.New(c, &service.Config{Name: Name})
	if err != nil {
		return err
	}
	return s.Run()
}

// A controlled server does what the Windows service manager says.
type controlled struct {
	ctx    context.Context
	cancel context.CancelFunc
	work   func(context.Context) error
	wait   sync.WaitGroup
	err    error // of work, once wait has waited
}

func (c *controlled) Start(service.Service) error {
	c.wait.Go(func() {
		c.err = c.work(c.ctx)
		if c.ctx.Err() == nil {
			// Nobody told it to end. A process that ends so is started again by the service manager.
			fmt.Fprintln(os.Stderr, "croft:", c.err)
			os.Exit(1)
		}
	})
	return nil
}

func (c *controlled) Stop(service.Service) error {
	c.cancel()
	c.wait.Wait()
	return c.err
}
