package auth

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// storedUser is an account as it is kept.
type storedUser struct {
	User
	Hash     string   `json:"hash"`     // PHC string of the password
	Networks []string `json:"networks"` // it was signed in from, the latest last
}

func (u *storedUser) isAdmin() bool { return slices.Contains(u.Roles, identity.Admin) }

// caller returns who the user is, in memory that is never written to.
func (u *storedUser) caller() *identity.Caller {
	return &identity.Caller{Kind: identity.User, ID: u.ID, Email: u.Email, Roles: u.Roles, Verified: u.Verified}
}

const (
	defaultPage = 100
	maxPage     = 500
)

// Users returns a part of the users, the oldest first.
func (a *Auth) Users(_ context.Context, c *identity.Caller, p Page) (*UserPage, error) {
	page := &UserPage{Items: []User{}}
	err := a.db.View(func(tx *store.Tx) error {
		if _, err := a.manages(tx, c); err != nil {
			return err
		}
		limit := p.Limit
		if limit == 0 {
			limit = defaultPage
		}
		if limit < 1 || limit > maxPage {
			return errs.At(errs.Invalid, "/limit", "out_of_range", "The limit must be from 1 to 500.")
		}
		r := store.Prefix(key(kindUser))
		if p.Cursor != "" {
			if !isID(p.Cursor) {
				return errs.New(errs.BadCursor, "This is not a cursor of the list of users; begin without one.")
			}
			r.Lo = append(key(kindUser, p.Cursor), 0)
		}
		scan := tx.Scan(r)
		for scan.Next() {
			if len(page.Items) == limit {
				last := page.Items[limit-1].ID
				page.Next = &last
				return nil
			}
			u, err := decode[storedUser](scan.Value())
			if err != nil {
				return err
			}
			page.Items = append(page.Items, u.User)
		}
		return scan.Err()
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// isID reports whether s has the form of an id.
func isID(s string) bool {
	return len(s) == idLen && strings.Trim(s, "0123456789abcdef-") == ""
}

// User returns one user.
func (a *Auth) User(_ context.Context, c *identity.Caller, id string) (*User, error) {
	var u *storedUser
	err := a.db.View(func(tx *store.Tx) (err error) {
		if _, err := a.manages(tx, c); err != nil {
			return err
		}
		u, err = mustUser(tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &u.User, nil
}

// Caller returns who a user would be as a caller, for admins who try out access rules.
func (a *Auth) Caller(_ context.Context, c *identity.Caller, id string) (*identity.Caller, error) {
	var u *storedUser
	err := a.db.View(func(tx *store.Tx) (err error) {
		if _, err := a.manages(tx, c); err != nil {
			return err
		}
		u, err = mustUser(tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return u.caller(), nil
}

// CreateUser makes an account for someone.
func (a *Auth) CreateUser(ctx context.Context, c *identity.Caller, in UserIn) (*User, error) {
	if err := a.mayManage(c); err != nil {
		return nil, err
	}
	var f faults
	in.Email = f.email("/email", in.Email)
	in.Name = f.name("/name", in.Name)
	in.Roles = f.roles("/roles", in.Roles)
	f.password("/password", in.Password, in.Email)
	if err := f.err(); err != nil {
		return nil, err
	}
	phc, err := a.hasher.new(ctx, in.Password)
	if err != nil {
		return nil, err
	}
	u, err := a.newUser(in.Email, in.Name, in.Roles, "", phc)
	if err != nil {
		return nil, err
	}
	u.Disabled = in.Disabled
	u.Verified = c.Kind == identity.Local
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := a.manages(tx, c); err != nil {
			return err
		}
		return a.changeUser(tx, nil, u)
	})
	if err != nil {
		return nil, err
	}
	return &u.User, nil
}

// mayManage says no early to those who may not, before work is done for them. What counts is manages.
func (a *Auth) mayManage(c *identity.Caller) error {
	return a.db.View(func(tx *store.Tx) error {
		_, err := a.manages(tx, c)
		return err
	})
}

// PatchUser changes an account. A new password ends the user's sessions; being disabled ends them and stops their API
// tokens until they are enabled again. Either, and enabling one that is enabled, forgets failed sign-ins: the way out
// for those whom somebody's guesses keep waiting.
func (a *Auth) PatchUser(ctx context.Context, c *identity.Caller, id string, in UserPatch) (*User, error) {
	if err := a.mayManage(c); err != nil {
		return nil, err
	}
	var phc string
	if in.Password.Set {
		var err error
		if phc, err = a.replacePassword(ctx, id, in); err != nil {
			return nil, err
		}
	}
	var u *storedUser
	err := a.db.Update(ctx, func(tx *store.Tx) (err error) {
		if _, err := a.manages(tx, c); err != nil {
			return err
		}
		if u, err = mustUser(tx, id); err != nil {
			return err
		}
		before := *u
		if err := in.apply(u, phc); err != nil {
			return err
		}
		if foldEmail(u.Email) != foldEmail(before.Email) {
			u.Verified = c.Kind == identity.Local
		}
		if in.Password.Set || u.Disabled && !before.Disabled {
			if err := a.endSessions(tx, id, ""); err != nil {
				return err
			}
		}
		if in.Password.Set || in.Disabled.Set {
			tx.OnCommit(func() { a.accounts.forget(foldEmail(u.Email)); a.accounts.forget(id) })
		}
		return a.changeUser(tx, &before, u)
	})
	if err != nil {
		return nil, err
	}
	return &u.User, nil
}

// replacePassword hashes the password of a patch, after all of the patch has been validated.
func (a *Auth) replacePassword(ctx context.Context, id string, in UserPatch) (string, error) {
	var u *storedUser
	err := a.db.View(func(tx *store.Tx) (err error) {
		u, err = mustUser(tx, id)
		return err
	})
	if err != nil {
		return "", err
	}
	if err := in.apply(u, ""); err != nil {
		return "", err
	}
	return a.hasher.new(ctx, in.Password.Value)
}

// apply validates the patch and makes its changes to u, the password's as phc.
func (in *UserPatch) apply(u *storedUser, phc string) error {
	var f faults
	if in.Email.Set {
		u.Email = f.email("/email", in.Email.Value)
	}
	if in.Name.Set {
		u.Name = f.name("/name", in.Name.Value)
	}
	if in.Roles.Set {
		u.Roles = f.roles("/roles", in.Roles.Value)
	}
	if in.Disabled.Set {
		u.Disabled = in.Disabled.Value
	}
	if in.Password.Set {
		f.password("/password", in.Password.Value, u.Email)
		u.Hash = phc
	}
	return f.err()
}

// DeleteUser removes an account with its sessions, API tokens and invites. Records stay.
func (a *Auth) DeleteUser(ctx context.Context, c *identity.Caller, id string) error {
	return a.db.Reclaim(ctx, func(tx *store.Tx) error {
		if _, err := a.manages(tx, c); err != nil {
			return err
		}
		u, err := mustUser(tx, id)
		if err != nil {
			return err
		}
		if err := a.endSessions(tx, id, ""); err != nil {
			return err
		}
		if err := a.revokeTokens(tx, id); err != nil {
			return err
		}
		return a.changeUser(tx, u, nil)
	})
}

// newUser returns an account that is not stored yet. Its owner signs in from place, if that is not empty.
func (a *Auth) newUser(email, name string, roles []string, place, phc string) (*storedUser, error) {
	id, err := newID()
	if err != nil {
		return nil, err
	}
	now := moment(a.now())
	u := &storedUser{Hash: phc, Networks: []string{},
		User: User{ID: id, Email: email, Name: name, Roles: roles, Created: now, Updated: now}}
	if place != "" {
		u.Networks = append(u.Networks, place)
	}
	return u, nil
}

// changeUser stores an account as it is after a change: a new one has no before, and one that goes no after. It keeps the
// keys beside it in step, sees to it that an admin remains, and forgets what callers of the user may do.
func (a *Auth) changeUser(tx *store.Tx, before, after *storedUser) error {
	u, oldEmail, newEmail := after, "", ""
	if before != nil {
		u, oldEmail = before, foldEmail(before.Email)
	}
	if after != nil {
		newEmail = foldEmail(after.Email)
		after.Updated = moment(a.now())
	}
	if oldEmail != newEmail {
		if err := moveEmail(tx, u.ID, oldEmail, newEmail); err != nil {
			return err
		}
	}

	was := before != nil && before.isAdmin() && !before.Disabled
	is := after != nil && after.isAdmin() && !after.Disabled
	if was && !is {
		if err := dismissAdmin(tx, u.ID); err != nil {
			return err
		}
		if err := a.revokeInvitesBy(tx, u.ID); err != nil {
			return err
		}
	}
	if is && !was {
		if err := tx.Put(key(kindAdmin, u.ID), nil); err != nil {
			return err
		}
		// The first admin, however made, ends the setup.
		if err := a.endSetup(tx); err != nil {
			return err
		}
	}

	if before != nil {
		tx.OnCommit(func() { a.cache.forgetUser(u.ID) })
	}
	if after == nil {
		return tx.Delete(key(kindUser, u.ID))
	}
	return put(tx, key(kindUser, u.ID), after)
}

// moveEmail has an address lead to a user, and another no more. Either may be empty.
func moveEmail(tx *store.Tx, id, from, to string) error {
	if to != "" {
		if err := emailFree(tx, to); err != nil {
			return err
		}
		if err := tx.Put(key(kindEmail, to), []byte(id)); err != nil {
			return err
		}
	}
	if from != "" {
		return tx.Delete(key(kindEmail, from))
	}
	return nil
}

// emailFree returns an error if an address has an account.
func emailFree(tx *store.Tx, email string) error {
	taken, err := tx.Get(key(kindEmail, foldEmail(email)))
	if err == nil && taken != nil {
		err = errs.At(errs.Conflict, "/email", "taken", "Somebody with this e-mail address has an account already.")
	}
	return err
}

// dismissAdmin takes a user off the list of enabled admins, unless there is nobody else on it.
func dismissAdmin(tx *store.Tx, id string) error {
	this, others := key(kindAdmin, id), false
	scan := tx.Scan(store.Prefix(key(kindAdmin)))
	for !others && scan.Next() {
		others = !bytes.Equal(scan.Key(), this)
	}
	if err := scan.Err(); err != nil {
		return err
	}
	if !others {
		return errs.New(errs.LastAdmin, "This is the only admin who can sign in, and one must remain: make somebody else an admin first.")
	}
	return tx.Delete(this)
}

// getUser returns an account, or nil if there is none.
func getUser(tx *store.Tx, id string) (*storedUser, error) {
	if !isID(id) {
		return nil, nil
	}
	return get[storedUser](tx, key(kindUser, id))
}

// mustUser returns an account, or the error that there is none.
func mustUser(tx *store.Tx, id string) (*storedUser, error) {
	u, err := getUser(tx, id)
	if err == nil && u == nil {
		err = errs.New(errs.NotFound, "There is no user of this id.")
	}
	return u, err
}

// userByEmail returns the account of an address, or nil if there is none.
func userByEmail(tx *store.Tx, email string) (*storedUser, error) {
	email = foldEmail(email)
	if len(email) > maxEmail {
		return nil, nil
	}
	id, err := tx.Get(key(kindEmail, email))
	if err != nil || id == nil {
		return nil, err
	}
	return getUser(tx, string(id))
}
