package app

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync/atomic"

	"croft/internal/backup"
	"croft/internal/config"
	"croft/internal/service"
)

// ErrRestart is what Run returns when the server is to start again on another file, which a restore put beside the data file.
var ErrRestart = errors.New("the server starts again on a restored file")

// Serve runs an App until ctx ends or the data file fails, and after a restore another on the restored file.
func Serve(ctx context.Context, cfg *config.Config, o Options) (err error) {
	if o.Log == nil {
		o.Log = noLog
	}
	again := *cfg
	ready := o.Ready
	o.Ready = func(s Serving) {
		// Whatever port it was given, it answers there again.
		again.Listen = pinned(again.Listen, s.Addr)
		again.HTTPS.Listen = pinned(again.HTTPS.Listen, s.Secure)
		if ready != nil {
			ready(s)
		}
	}
	if o.Supervisor == nil {
		o.Supervisor = new(service.Notifier)
	}
	o.Supervisor.Starting()
	var current atomic.Pointer[App] // nil while a file is being opened, which takes as long as it takes
	o.Supervisor.Alive(func(ctx context.Context) error {
		if a := current.Load(); a != nil {
			return a.alive(ctx)
		}
		return nil
	})
	o.restores = backup.NewRestores(cfg.Data, o.Verify, o.Log)
	a, err := New(cfg, o)
	if err != nil {
		return err
	}
	for {
		current.Store(a)
		runErr := a.Run(ctx)
		current.Store(nil)
		closeErr := a.Close()
		if !errors.Is(runErr, ErrRestart) {
			return errors.Join(runErr, closeErr, o.restores.Close())
		}
		if runErr != ErrRestart || closeErr != nil {
			o.Log.Error("the server did not stop in order before it starts again", "error", errors.Join(runErr, closeErr))
		}
		err = o.restores.Replace(func() (err error) {
			a, err = New(&again, o)
			return err
		})
		if err != nil {
			return err
		}
	}
}

// pinned is an address with the port that it was given, if it left that open.
func pinned(listen string, at net.Addr) string {
	host, port, err := net.SplitHostPort(listen)
	if tcp, ok := at.(*net.TCPAddr); ok && err == nil && port == "0" {
		return net.JoinHostPort(host, strconv.Itoa(tcp.Port))
	}
	return listen
}
