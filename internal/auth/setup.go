package auth

import (
	"context"
	"crypto/subtle"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// SetupToken is the token that makes the first admin, or empty when there has been one. It stays the same until it is
// used, so that each start can print it.
func (a *Auth) SetupToken() string { return *a.setup.Load() }

// beginSetup reads the setup token, and makes it for a new file.
func (a *Auth) beginSetup() error {
	var kept string
	err := a.db.View(func(tx *store.Tx) error {
		value, err := tx.Get(setupKey)
		kept = string(value)
		return err
	})
	if err != nil {
		return err
	}
	if kept == "" {
		kept = newSecret(SetupPrefix)
		err = a.db.Update(context.Background(), func(tx *store.Tx) error { return tx.Put(setupKey, []byte(kept)) })
	}
	if kept == setupUsed {
		kept = ""
	}
	a.setup.Store(&kept)
	return err
}

// endSetup makes the setup token void.
func (a *Auth) endSetup(tx *store.Tx) error {
	kept, err := tx.Get(setupKey)
	if err != nil || string(kept) == setupUsed {
		return err
	}
	tx.OnCommit(func() { a.setup.Store(new(string)) })
	return tx.Put(setupKey, []byte(setupUsed))
}

// Setup makes the first admin and signs them in. It works once.
func (a *Auth) Setup(ctx context.Context, in SetupIn, from Client) (*SignIn, error) {
	place := network(from.Addr)
	if err := a.networks.check(place); err != nil {
		return nil, err
	}
	if err := isSetupToken(in.Token, a.SetupToken()); err != nil {
		a.networks.fail(place)
		return nil, err
	}
	var f faults
	in.Email = f.email("/email", in.Email)
	f.password("/password", in.Password, in.Email)
	if err := f.err(); err != nil {
		return nil, err
	}
	phc, err := a.hasher.new(ctx, in.Password)
	if err != nil {
		return nil, err
	}
	u, err := a.newUser(in.Email, "", []string{identity.Admin}, place, phc)
	if err != nil {
		return nil, err
	}
	u.Verified = true
	return a.signIn(ctx, from, func(tx *store.Tx) (*storedUser, error) {
		kept, err := tx.Get(setupKey)
		if err != nil {
			return nil, err
		}
		if string(kept) == setupUsed {
			kept = nil
		}
		if err := isSetupToken(in.Token, string(kept)); err != nil {
			return nil, err
		}
		return u, a.changeUser(tx, nil, u)
	})
}

// isSetupToken compares a token with the one that is kept.
func isSetupToken(given, kept string) error {
	switch {
	case kept == "":
		return errs.New(errs.Conflict, "This server is set up already; sign in instead.")
	case given == "":
		return errs.At(errs.Invalid, "/token", "required", "Give the setup token, which is printed when the server starts.")
	case subtle.ConstantTimeCompare([]byte(given), []byte(kept)) != 1:
		return errs.At(errs.BadCredentials, "/token", "wrong", "This is not the setup token; it is printed when the server starts.")
	}
	return nil
}
