// Package auth knows who people are: users, passwords, sessions, API tokens and invites.
//
// It promises:
//   - Of a password only an argon2id hash is kept, of a token only its SHA-256; neither reaches a log or an error.
//   - Whoever is disabled or deleted, and a session or token that is revoked, is refused from the moment on that the
//     change is answered, although most requests are let in from memory.
//   - A caller's right is checked again inside the transaction that acts on it.
//   - Once there is an admin who can sign in, there always is one.
//   - The setup token and each invite work once, however many try at once.
//   - Guessing is slowed down, for accounts that don't exist as for others, and costs no more memory than allowed.
//
// When a session or token was last used is written once a minute, not with each request: after a crash it may be a
// minute behind.
//
// It writes the keys of the space Auth, which keys.go lays out.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alexedwards/argon2id"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/settings"
	"croft/internal/store"
)

// Options are what New can be told. The zero value is good.
type Options struct {
	SessionIdle time.Duration    // a session that is not used for so long ends; 0 is 30 days
	SessionMax  time.Duration    // every session ends after so long; 0 is a year
	HashMemory  int64            // bytes that password hashes may use at once; 0 is 40 MiB
	Params      *argon2id.Params // how passwords are hashed; nil is DefaultParams
	Now         func() time.Time // nil is time.Now
	Log         *slog.Logger     // nil is slog.Default()
}

const (
	defaultSessionIdle = 30 * 24 * time.Hour
	defaultSessionMax  = 365 * 24 * time.Hour
)

// Auth is the accounts of a data file. Its methods may be used by many goroutines at once.
type Auth struct {
	db          *store.DB
	settings    *settings.Settings
	sessionIdle time.Duration
	sessionMax  time.Duration
	now         func() time.Time
	log         *slog.Logger
	hasher      *hasher
	cache       *cache
	accounts    *throttle // by folded e-mail address; by user id where somebody signed in gives the password again
	networks    *throttle // by network

	setup atomic.Pointer[string] // the setup token, empty when it was used

	close sync.Once
	stop  chan struct{} // closed by Close
	done  chan struct{} // closed by run
}

// New opens the accounts of a data file, and makes the setup token of a new one. The caller must Close it, before the file.
func New(db *store.DB, s *settings.Settings, o Options) (*Auth, error) {
	a := &Auth{
		db:          db,
		settings:    s,
		sessionIdle: or(o.SessionIdle, defaultSessionIdle),
		sessionMax:  or(o.SessionMax, defaultSessionMax),
		now:         o.Now,
		log:         or(o.Log, slog.Default()),
		hasher:      newHasher(or(o.Params, DefaultParams), or(o.HashMemory, defaultHashMemory)),
		cache:       newCache(),
		stop:        make(chan struct{}),
		done:        make(chan struct{}),
	}
	if a.now == nil {
		a.now = time.Now
	}
	a.accounts = newThrottle(accountFree, accountFirst, accountMost, a.now)
	a.networks = newThrottle(networkFree, networkFirst, networkMost, a.now)
	if err := a.beginSetup(); err != nil {
		return nil, fmt.Errorf("open the accounts: %w", err)
	}
	go a.run()
	return a, nil
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Close writes what is still in memory.
func (a *Auth) Close() error {
	var err error
	a.close.Do(func() {
		close(a.stop)
		<-a.done
		a.hasher.close()
		err = a.storeUses(context.Background())
	})
	if err != nil {
		return fmt.Errorf("write when sessions were last used: %w", err)
	}
	return nil
}

const (
	storeUsesEvery = time.Minute
	sweepEvery     = time.Hour
)

// run does what is due now and then.
func (a *Auth) run() {
	defer close(a.done)
	uses := time.NewTicker(storeUsesEvery)
	defer uses.Stop()
	sweeps := time.NewTicker(sweepEvery)
	defer sweeps.Stop()
	a.work("remove ended sessions", a.sweep) // those that ended while nothing ran
	for {
		select {
		case <-a.stop:
			return
		case <-uses.C:
			a.work("write when sessions were last used", a.storeUses)
		case <-sweeps.C:
			a.work("remove ended sessions", a.sweep)
		}
	}
}

// work does something that can wait for the next time if it fails.
func (a *Auth) work(what string, f func(context.Context) error) {
	defer func() {
		if p := recover(); p != nil {
			a.log.Error(what, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if err := f(context.Background()); err != nil && !errors.Is(err, store.ErrClosed) {
		a.log.Warn(what, "error", err)
	}
}

// Me returns the caller's own account.
func (a *Auth) Me(_ context.Context, c *identity.Caller) (*User, error) {
	var u *storedUser
	err := a.db.View(func(tx *store.Tx) (err error) {
		u, err = a.confirm(tx, c)
		if err == nil && u == nil {
			err = errs.New(errs.NotFound, "The local operator has no account of its own.")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &u.User, nil
}

// PatchMe changes the caller's own profile.
func (a *Auth) PatchMe(ctx context.Context, c *identity.Caller, in MePatch) (*User, error) {
	var f faults
	name := f.name("/name", in.Name.Value)
	if err := f.err(); err != nil {
		return nil, err
	}
	var u *storedUser
	err := a.db.Update(ctx, func(tx *store.Tx) (err error) {
		if u, err = a.owner(tx, c); err != nil || !in.Name.Set {
			return err
		}
		before := *u
		u.Name = name
		return a.changeUser(tx, &before, u)
	})
	if err != nil {
		return nil, err
	}
	return &u.User, nil
}
