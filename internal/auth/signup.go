package auth

import (
	"context"

	"croft/internal/errs"
	"croft/internal/settings"
	"croft/internal/store"
)

// Signup makes an account and signs its owner in: by an invite, or, if the settings say so, for everyone. An invite gives
// its roles either way. It tells when an address is taken. That lets a stranger find out who has an account, at twenty
// addresses and then one a minute; hiding it would need a mail to each new address, which Croft can't send.
func (a *Auth) Signup(ctx context.Context, in SignupIn, from Client) (*SignIn, error) {
	place := network(from.Addr)
	if err := a.networks.check(place); err != nil {
		return nil, err
	}
	var f faults
	in.Email = f.email("/email", in.Email)
	in.Name = f.name("/name", in.Name)
	f.password("/password", in.Password, in.Email)
	if err := f.err(); err != nil {
		return nil, err
	}
	err := a.db.View(func(tx *store.Tx) error {
		if _, err := a.admit(tx, in); err != nil {
			return err
		}
		return emailFree(tx, in.Email)
	})
	if err != nil {
		a.networks.fail(place)
		return nil, err
	}
	if in.Invite == "" {
		a.networks.fail(place) // each open signup counts, or one machine could make any number of accounts
	}
	phc, err := a.hasher.new(ctx, in.Password)
	if err != nil {
		return nil, err
	}
	u, err := a.newUser(in.Email, in.Name, []string{}, place, phc)
	if err != nil {
		return nil, err
	}
	return a.signIn(ctx, from, func(tx *store.Tx) (*storedUser, error) {
		i, err := a.admit(tx, in)
		if err != nil {
			return nil, err
		}
		if i != nil {
			u.Roles = i.Roles
			if err := removeInvite(tx, hashSecret(in.Invite), i.ID); err != nil {
				return nil, err
			}
		}
		return u, a.changeUser(tx, nil, u)
	})
}

// admit says whether somebody may sign up, and returns their invite if they have one.
func (a *Auth) admit(tx *store.Tx, in SignupIn) (*storedInvite, error) {
	if in.Invite == "" {
		if a.settings.Get().Signup != settings.SignupOpen {
			return nil, errs.New(errs.Forbidden, "An account here needs an invite; ask an admin for one.")
		}
		return nil, nil
	}
	i, err := get[storedInvite](tx, key(kindInvite, hashText(in.Invite)))
	if err != nil {
		return nil, err
	}
	if i == nil || !a.now().Before(i.Expires.Time) {
		return nil, errs.At(errs.Invalid, "/invite", "unknown", "This invite is not valid: it was used, has ended, was withdrawn or never was. Ask an admin for a new one.")
	}
	if i.Email != "" && foldEmail(i.Email) != foldEmail(in.Email) {
		return nil, errs.At(errs.Invalid, "/email", "not_invited", "This invite is for another e-mail address.")
	}
	return i, nil
}
