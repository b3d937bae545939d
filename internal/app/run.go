package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"croft/internal/https"
)

// Serving says where a server answers.
type Serving struct {
	Addr    net.Addr // of plain HTTP
	Secure  net.Addr // of HTTPS; nil where that is off
	URL     string   // for a browser on this machine
	Network string   // for one elsewhere in the home network; "" when URL is for it too, or there is none
	Trust   string   // where devices learn to trust this server's own authority; "" when it has none
	Setup   string   // the link that makes the first admin, "" when there is one
}

// stopTime is how long a stop waits for the requests that run; systemd, for one, kills after 90 seconds.
const stopTime = 10 * time.Second

// idleTime is how long a connection may wait for its next request. Browsers keep theirs for two to five minutes.
const idleTime = 2 * time.Minute

// sendTime is how long an answer may take to be taken by its client.
const sendTime = 30 * time.Second

// maxHeader is the most bytes of a request's headers; net/http adds 4 KiB of its own.
const maxHeader = 32<<10 - 4<<10

// Run serves until ctx ends, the data file fails, or ErrRestart; the latter two are errors. Requests that run are finished first.
func (a *App) Run(ctx context.Context) error {
	tuneCollector()
	listener, err := listen(a.config.Listen, "--listen")
	if err != nil {
		return err
	}
	servers := []*http.Server{a.server(a.https.Plain(a.api))}
	listeners := []net.Listener{bound(listener, a.config.Limits.Connections)}
	var secure net.Addr
	if a.https.Mode() != https.Off {
		l, err := listen(a.config.HTTPS.Listen, "--https-listen")
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		secure = l.Addr()
		s := a.server(a.api)
		s.TLSConfig = a.https.TLSConfig()
		servers = append(servers, s)
		listeners = append(listeners, bound(l, a.config.Limits.Connections))
	}

	// Without its socket the server still serves; only commands must wait until it has stopped.
	socket, err := listenLocal(a.config.Data)
	if err != nil {
		a.log.Warn("there is no local socket, so commands can't reach this server", "error", err)
	} else {
		servers = append(servers, a.server(a.api.Local()))
		listeners = append(listeners, bound(socket, a.config.Limits.Connections))
	}

	a.https.Listening(listener.Addr(), secure)
	ended := make(chan error, len(servers))
	for i, s := range servers {
		go func() {
			if s.TLSConfig != nil {
				ended <- s.ServeTLS(listeners[i], "", "")
			} else {
				ended <- s.Serve(listeners[i])
			}
		}()
	}
	a.https.Start(context.Background()) // until Close
	a.announce(listener.Addr(), secure)
	at := a.serving(listener.Addr(), secure)
	if a.ready != nil {
		a.ready(at)
	}
	a.notify.Ready("serving at " + at.URL)
	a.backups.Start()
	a.log.Info("serving", "address", listener.Addr().String(), "url", at.URL, "data", a.config.Data)

	var cause error
	running := len(servers)
	select {
	case <-ctx.Done():
	case <-a.store.Failed():
		cause = a.store.Err()
	case <-a.restores.Ready():
		cause = ErrRestart
	case cause = <-ended:
		running--
	}
	if !errors.Is(cause, ErrRestart) {
		a.notify.Stopping()
	}
	if r := a.mdns.Load(); r != nil {
		if err := r.Close(); err != nil {
			a.log.Warn("the name in the home network can't be taken back", "error", err)
		}
	}
	err = a.stop(servers)
	for range running {
		if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	if err == nil {
		return cause
	}
	return errors.Join(cause, err)
}

// stop ends the servers: no new connections, then the requests that run, and after stopTime the rest is cut off.
func (a *App) stop(servers []*http.Server) error {
	a.log.Info("stopping")
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	var wait sync.WaitGroup
	errs := make([]error, len(servers))
	for i, s := range servers {
		wait.Go(func() {
			err := s.Shutdown(ctx)
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				a.log.Warn("requests that did not end in time are cut off", "waited", stopTime)
				errs[i] = s.Close()
			case !errors.Is(err, fs.ErrNotExist): // somebody removed the socket
				errs[i] = err
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (a *App) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: a.config.Limits.HeaderTime,
		ReadTimeout:       max(a.config.Limits.RequestTime, a.config.Limits.HeaderTime),
		WriteTimeout:      a.config.Limits.RequestTime + sendTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), // what clients do wrong
	}
}

// listen listens on an address, which a flag can change.
func listen(address, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l, nil
	}
	advice := "choose another address with " + flag
	switch {
	case isInUse(err):
		advice = "another program answers there: stop it, or " + advice
	case errors.Is(err, fs.ErrPermission):
		advice = "ports below 1024 need a right of their own: install Croft as a service, which has it (sudo croft service install), give it to this program (sudo setcap cap_net_bind_service=+ep " + executable() + "), or " + advice
	}
	return nil, fmt.Errorf("listen on %s: %w: %s", address, rootOf(err), advice)
}

// executable is what this program is called.
func executable() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return "croft"
}

// rootOf is the part of an error that says why, without the operation and address that stand around it.
func rootOf(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}
