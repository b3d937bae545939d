// Package app puts Croft together: New opens the data file and everything that lives in it, Run serves it, and Close undoes
// New in reverse. The server, the commands that work on a file without a server, and the tests start this same App.
//
// It promises that a server which stops, for whatever reason, first finishes the requests that run, within a bound;
// and that it never leaves the local socket behind when it stops in order. It writes no keys.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/alexedwards/argon2id"

	"croft/internal/api"
	"croft/internal/auth"
	"croft/internal/backup"
	"croft/internal/config"
	"croft/internal/https"
	"croft/internal/identity"
	"croft/internal/mdns"
	"croft/internal/records"
	"croft/internal/service"
	"croft/internal/settings"
	"croft/internal/store"
)

// Options are what New can be told beside the config. The zero value is good.
type Options struct {
	Log *slog.Logger // nil for none

	// Ready is called by Run when requests are answered.
	Ready func(Serving)

	// Supervisor is told how the server is; nil for nobody.
	Supervisor *service.Notifier

	// Command says that the App is for one command, and not run: what only a server needs may be missing.
	Command bool

	// Verify verifies a data file that is a copy before it is used, and one that is restored. nil for in this process.
	Verify backup.Verifier

	// Context ends a verification that New waits for; nil for never.
	Context context.Context

	// For tests: the clock, and cheap password hashes.
	Now        func() time.Time
	HashParams *argon2id.Params

	restores *backup.Restores // of Serve
}

// App is a Croft on an open data file.
type App struct {
	config   *config.Config
	log      *slog.Logger
	ready    func(Serving)
	notify   *service.Notifier
	store    *store.DB
	settings *settings.Settings
	auth     *auth.Auth
	records  *records.Records
	backups  *backup.Backups
	https    *https.HTTPS
	mdns     atomic.Pointer[mdns.Responder] // set by Run
	restores *backup.Restores               // nil unless Serve runs it
	api      *api.API

	closers []func() error // what Close calls, last first
}

var noLog = slog.New(slog.DiscardHandler)

// New opens the data file that the config names, and makes it if there is none.
func New(cfg *config.Config, o Options) (*App, error) {
	a := &App{config: cfg, log: o.Log, ready: o.Ready, notify: o.Supervisor, restores: o.restores}
	if a.notify == nil {
		a.notify = new(service.Notifier)
	}
	if a.log == nil {
		a.log = noLog
	}
	if o.Context == nil {
		o.Context = context.Background()
	}
	if err := a.open(o); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *App) open(o Options) (err error) {
	placed, err := a.verifyCopy(o)
	if err != nil {
		return err
	}
	a.store, err = store.Open(a.config.Data, store.Options{
		Reserve: int64(a.config.Limits.DiskReserve),
		Checked: !placed,
		Log:     a.log,
	})
	if err != nil {
		return err
	}
	a.closers = append(a.closers, a.store.Close)
	if err := a.store.SetPlace(o.Context, !placed); err != nil {
		return err
	}

	if a.settings, err = settings.New(a.store); err != nil {
		return err
	}
	a.auth, err = auth.New(a.store, a.settings, auth.Options{
		SessionIdle: a.config.Auth.SessionIdle,
		SessionMax:  a.config.Auth.SessionMax,
		HashMemory:  int64(a.config.Auth.HashMemory),
		Params:      o.HashParams,
		Now:         o.Now,
		Log:         a.log,
	})
	if err != nil {
		return err
	}
	a.closers = append(a.closers, a.auth.Close)

	a.records, err = records.New(a.store, records.Options{
		Scan: a.config.Limits.Scan,
		Now:  o.Now,
		Log:  a.log,
		CallerByID: func(ctx context.Context, id string) (*identity.Caller, error) {
			// Only admins may try rules out, which records has seen to.
			return a.auth.Caller(ctx, &identity.Caller{Kind: identity.Local}, id)
		},
	})
	if err != nil {
		return err
	}
	a.closers = append(a.closers, a.records.Close)

	a.backups, err = backup.New(a.store, backup.Options{
		Settings: a.settings,
		Folder:   a.config.BackupFolder(),
		Reserve:  int64(a.config.Limits.DiskReserve),
		Now:      o.Now,
		Log:      a.log,
	})
	if err != nil {
		return err
	}
	a.closers = append(a.closers, a.backups.Close)

	if err := a.openHTTPS(o); err != nil {
		return err
	}
	trusted, err := a.trusted()
	if err != nil {
		return err
	}
	a.api = api.New(api.Options{
		Auth: a.auth, Records: a.records, Settings: a.settings, Store: a.store, Backups: a.backups, HTTPS: a.https, Restores: o.restores,
		TrustedProxies: trusted,
		Log:            a.log,
		LogRequests:    a.config.Log.Requests,
		MaxBody:        int64(a.config.Limits.Body),
		RequestTime:    a.config.Limits.RequestTime,
	})
	return nil
}

// Handler answers requests in this process as the local operator's: for commands that opened the file themselves.
func (a *App) Handler() http.Handler { return a.api.Local() }

// Network answers requests as those that come over the network, without one.
func (a *App) Network() http.Handler { return a.api }

// SetupToken is the one-time token that makes the first admin, or "" when it was used.
func (a *App) SetupToken() string { return a.auth.SetupToken() }

// alive returns nil while the server can answer. It doesn't write: a slow disk is no reason to be ended.
func (a *App) alive(context.Context) error {
	if err := a.store.Err(); err != nil {
		return err
	}
	return a.store.View(func(*store.Tx) error { return nil })
}

// Close writes what is pending and closes the data file. It may be called once Run has returned, and more than once.
func (a *App) Close() error {
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		errs = append(errs, a.closers[i]())
	}
	a.closers = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", a.config.Data, err)
	}
	return nil
}
