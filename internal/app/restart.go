package app

import (
	"context"
	"errors"
	"net"
	"strconv"

	"croft/internal/backup"
	"croft/internal/config"
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
		if host, port, err := net.SplitHostPort(again.Listen); err == nil && port == "0" {
			if tcp, ok := s.Addr.(*net.TCPAddr); ok {
				again.Listen = net.JoinHostPort(host, strconv.Itoa(tcp.Port))
			}
		}
		if ready != nil {
			ready(s)
		}
	}
	o.restores = backup.NewRestores(cfg.Data, o.Verify, o.Log)
	a, err := New(cfg, o)
	if err != nil {
		return err
	}
	for {
		runErr, closeErr := a.Run(ctx), a.Close()
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
