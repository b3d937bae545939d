package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// Authenticate returns who a session's token or an API token stands for. Callers are shared: they are not to be changed.
// Mostly it does not touch the disk. A token that was revoked, or whose user was changed or disabled, counts from the
// moment on that the change is answered.
func (a *Auth) Authenticate(token string) (*identity.Caller, error) {
	if !wellFormed(token, SessionPrefix) && !wellFormed(token, TokenPrefix) {
		return nil, malformed(token)
	}
	h, now := hashSecret(token), a.now().UnixMilli()
	e, gen := a.cache.get(h)
	if e == nil {
		var err error
		if e, err = a.lookUp(h, token); err != nil {
			return nil, err
		}
		a.cache.put(h, e, gen)
	}
	if now >= e.endsAt(a.sessionIdle) {
		return nil, errUnknownToken()
	}
	e.touch(now)
	return e.caller, nil
}

func errUnknownToken() error {
	return errs.New(errs.Unauthenticated, "This token is not valid: it has ended, was revoked or never was. Sign in again, or make a new API token.")
}

func malformed(token string) error {
	switch {
	case strings.HasPrefix(token, InvitePrefix):
		return errs.New(errs.Unauthenticated, "This is an invite, with which one can sign up, but not use the API.")
	case strings.HasPrefix(token, SetupPrefix):
		return errs.New(errs.Unauthenticated, "This is the setup token, which makes the first account, but can't use the API.")
	}
	return errs.New(errs.Unauthenticated, "This is not a token of Croft's: those begin with "+SessionPrefix+" or "+TokenPrefix+" and have 43 letters, digits, - or _ behind that.")
}

// lookUp reads what a token stands for.
func (a *Auth) lookUp(h hash, token string) (*entry, error) {
	var e *entry
	err := a.db.View(func(tx *store.Tx) (err error) {
		if strings.HasPrefix(token, SessionPrefix) {
			e, err = a.sessionEntry(tx, h)
		} else {
			e, err = a.tokenEntry(tx, h)
		}
		return err
	})
	return e, err
}

func (a *Auth) sessionEntry(tx *store.Tx, h hash) (*entry, error) {
	s, err := get[storedSession](tx, key(kindSession, string(h[:])))
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, errUnknownToken()
	}
	u, err := enabledUser(tx, s.User)
	if err != nil {
		return nil, err
	}
	c := u.caller()
	c.Session = s.ID
	e := &entry{caller: c, kind: kindSession, end: s.Created.Add(a.sessionMax).UnixMilli()}
	e.used.Store(s.LastUsed.UnixMilli())
	e.stored.Store(s.LastUsed.UnixMilli())
	return e, nil
}

func (a *Auth) tokenEntry(tx *store.Tx, h hash) (*entry, error) {
	t, err := get[storedToken](tx, key(kindToken, string(h[:])))
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, errUnknownToken()
	}
	u, err := enabledUser(tx, t.User)
	if err != nil {
		return nil, err
	}
	c := u.caller()
	c.Token = &identity.Token{ID: t.ID, Scopes: t.Scopes}
	e := &entry{caller: c, kind: kindToken, end: math.MaxInt64}
	if t.Expires != nil {
		e.end = t.Expires.UnixMilli()
	}
	if t.LastUsed != nil {
		e.used.Store(t.LastUsed.UnixMilli())
		e.stored.Store(t.LastUsed.UnixMilli())
	}
	return e, nil
}

// enabledUser returns the user of a token, who may have been disabled.
func enabledUser(tx *store.Tx, id string) (*storedUser, error) {
	u, err := getUser(tx, id)
	if err != nil {
		return nil, err
	}
	if u == nil || u.Disabled {
		return nil, errUnknownToken()
	}
	return u, nil
}

// confirm checks inside the transaction that acts that a caller is still who they were when they were authenticated, and
// returns their account, which the local operator doesn't have.
func (a *Auth) confirm(tx *store.Tx, c *identity.Caller) (*storedUser, error) {
	switch {
	case c.Kind == identity.Local:
		return nil, nil
	case !c.SignedIn():
		return nil, errs.New(errs.Unauthenticated, "Sign in first.")
	}
	u, err := enabledUser(tx, c.ID)
	if err != nil {
		return nil, err
	}
	if c.Session != "" {
		h, err := tx.Get(key(kindUserSession, c.ID, c.Session))
		if err != nil {
			return nil, err
		}
		if h == nil {
			return nil, errUnknownToken()
		}
	}
	return u, nil
}

// manages checks that a caller may do what is for admins, and returns their account, which the local operator doesn't have.
func (a *Auth) manages(tx *store.Tx, c *identity.Caller) (*storedUser, error) {
	u, err := a.confirm(tx, c)
	switch {
	case err != nil:
		return nil, err
	case c.Token != nil:
		return nil, errTokenCaller()
	case u != nil && !u.isAdmin():
		return nil, errs.New(errs.Forbidden, "Only admins may do this.")
	}
	return u, nil
}

// owner checks that a caller has an account and is signed in to it by a session, and returns it.
func (a *Auth) owner(tx *store.Tx, c *identity.Caller) (*storedUser, error) {
	u, err := a.confirm(tx, c)
	switch {
	case err != nil:
		return nil, err
	case c.Token != nil:
		return nil, errTokenCaller()
	case u == nil:
		return nil, errs.New(errs.Forbidden, "The local operator has no account of its own; name the user, or sign in as one.")
	}
	return u, nil
}

func errTokenCaller() error {
	return errs.New(errs.Forbidden, "API tokens are for records alone; sign in with a password to do this.")
}

// get reads a JSON value. It is nil if there is none.
func get[T any](tx *store.Tx, key []byte) (*T, error) {
	value, err := tx.Get(key)
	if err != nil || value == nil {
		return nil, err
	}
	return decode[T](value)
}

// decode's error names no value: there may be a secret in it.
func decode[T any](value []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(value, v); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("read a %T: not JSON at byte %d", v, syntax.Offset)
		}
		return nil, fmt.Errorf("read a %T: members of other types", v)
	}
	return v, nil
}

// put writes a JSON value.
func put(tx *store.Tx, key []byte, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write a %T: %w", v, err)
	}
	return tx.Put(key, value)
}

// moment returns a time as it is stored and told: to the millisecond.
func moment(t time.Time) Time { return Time{t.UTC().Truncate(time.Millisecond)} }
