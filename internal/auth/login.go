package auth

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// Login signs somebody in. An unknown address takes the same work as a wrong password, and is told the same. Failures are
// counted by account and by network; where somebody signed in to the account before, its count doesn't hold them up, so
// that a stranger's guesses don't lock the owner out.
func (a *Auth) Login(ctx context.Context, in LoginIn, from Client) (*SignIn, error) {
	var f faults
	if strings.TrimSpace(in.Email) == "" {
		f.add("/email", "required", "must be given")
	}
	if in.Password == "" {
		f.add("/password", "required", "must be given")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	var u *storedUser
	err := a.db.View(func(tx *store.Tx) (err error) {
		u, err = userByEmail(tx, in.Email)
		return err
	})
	if err != nil {
		return nil, err
	}

	account, place := foldEmail(in.Email), network(from.Addr)
	account = strings.Clone(account[:min(len(account), maxEmail)])
	known := place == "" || u != nil && slices.Contains(u.Networks, place)
	try := attempt{account: account, network: place, skipAccount: known}
	var phc string
	if u != nil && utf8.RuneCountInString(in.Password) <= maxPassword {
		phc = u.Hash
	}
	match, anew, err := a.tryPassword(ctx, try, in.Password, phc, rehash)
	if err != nil {
		return nil, err
	}
	if !match {
		return nil, errBadCredentials()
	}
	return a.signIn(ctx, from, func(tx *store.Tx) (*storedUser, error) {
		now, err := getUser(tx, u.ID)
		switch {
		case err != nil:
			return nil, err
		case now == nil || now.Hash != u.Hash: // deleted or changed while the hash was computed
			return nil, errBadCredentials()
		case now.Disabled:
			return nil, errs.New(errs.Forbidden, "This account is disabled; ask an admin.")
		}
		if anew == "" && (place == "" || slices.Contains(now.Networks, place)) {
			return now, nil
		}
		if anew != "" {
			now.Hash = anew
		}
		if place != "" && !slices.Contains(now.Networks, place) {
			now.Networks = append(now.Networks, place)
			now.Networks = now.Networks[max(0, len(now.Networks)-maxKnownNetworks):]
		}
		return now, put(tx, key(kindUser, now.ID), now)
	})
}

func errBadCredentials() error {
	return errs.New(errs.BadCredentials, "The e-mail address or the password is wrong.")
}

// attempt is whom a wrong password counts against.
type attempt struct {
	account, network string
	skipAccount      bool // whether the account's failures don't hold this attempt up
}

func (a *Auth) check(try attempt) error {
	if err := a.networks.check(try.network); err != nil || try.skipAccount {
		return err
	}
	return a.accounts.check(try.account)
}

// rehash hashes a password again if its hash was made with other parameters than today's.
func rehash(h *hasher, password string, outdated bool) (string, error) {
	if !outdated {
		return "", nil
	}
	return h.hash(password)
}

// tryPassword verifies a password, and when it is right calls next, whose result it returns, while there is memory for hashes.
func (a *Auth) tryPassword(ctx context.Context, try attempt, password, phc string,
	next func(h *hasher, password string, outdated bool) (string, error)) (match bool, anew string, err error) {
	if err := a.check(try); err != nil {
		return false, "", err
	}
	if err := a.hasher.acquire(ctx); err != nil {
		return false, "", err
	}
	defer a.hasher.release()
	// Again: many attempts may have waited together while the first of them failed.
	if err := a.check(try); err != nil {
		return false, "", err
	}
	match, outdated, err := a.hasher.verify(password, phc)
	if err != nil {
		return false, "", err
	}
	if !match {
		a.accounts.fail(try.account)
		a.networks.fail(try.network)
		return false, "", nil
	}
	a.accounts.forget(try.account)
	anew, err = next(a.hasher, password, outdated)
	return true, anew, err
}

// ChangePassword replaces the caller's own password and ends their other sessions. API tokens stay.
func (a *Auth) ChangePassword(ctx context.Context, c *identity.Caller, in PasswordIn, from Client) error {
	var u *storedUser
	err := a.db.View(func(tx *store.Tx) (err error) {
		u, err = a.owner(tx, c)
		return err
	})
	if err != nil {
		return err
	}
	var f faults
	if in.Current == "" {
		f.add("/current", "required", "must be given")
	}
	f.password("/new", in.New, u.Email)
	if in.New != "" && in.New == in.Current {
		f.add("/new", "unchanged", "must be another one than the current password")
	}
	if err := f.err(); err != nil {
		return err
	}
	try := attempt{account: u.ID, network: network(from.Addr)}
	match, phc, err := a.tryPassword(ctx, try, in.Current, u.Hash,
		func(h *hasher, _ string, _ bool) (string, error) { return h.hash(in.New) })
	if err != nil {
		return err
	}
	if !match {
		return errWrongCurrent()
	}
	return a.db.Update(ctx, func(tx *store.Tx) error {
		now, err := a.owner(tx, c)
		if err != nil {
			return err
		}
		if now.Hash != u.Hash {
			return errWrongCurrent()
		}
		before := *now
		now.Hash = phc
		if err := a.endSessions(tx, u.ID, c.Session); err != nil {
			return err
		}
		return a.changeUser(tx, &before, now)
	})
}

// errWrongCurrent is not the error of a login: clients take that one as the end of their session.
func errWrongCurrent() error {
	return errs.At(errs.Invalid, "/current", "wrong", "This is not the current password.")
}
