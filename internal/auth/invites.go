package auth

import (
	"context"
	"fmt"
	"time"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// storedInvite is an invite as it is kept.
type storedInvite struct {
	Invite
}

const (
	defaultInvite = 7 * 24 * time.Hour
	maxInvite     = 90 * 24 * time.Hour
)

// Invites returns the invites that can still be used, the oldest first.
func (a *Auth) Invites(_ context.Context, c *identity.Caller) (*List[Invite], error) {
	list := &List[Invite]{Items: []Invite{}}
	err := a.db.View(func(tx *store.Tx) error {
		if _, err := a.manages(tx, c); err != nil {
			return err
		}
		scan := tx.Scan(store.Prefix(key(kindInviteByID)))
		for scan.Next() {
			i, err := get[storedInvite](tx, key(kindInvite, string(scan.Value())))
			if err != nil {
				return err
			}
			if i != nil && a.now().Before(i.Expires.Time) {
				list.Items = append(list.Items, i.Invite)
			}
		}
		return scan.Err()
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// CreateInvite makes an invite, which lets one person sign up. Invites of an admin who is no longer one end.
func (a *Auth) CreateInvite(ctx context.Context, c *identity.Caller, in InviteIn) (*NewInvite, error) {
	now := moment(a.now())
	id, err := newID()
	if err != nil {
		return nil, err
	}
	var f faults
	i := storedInvite{Invite{ID: id, Roles: f.roles("/roles", in.Roles), Created: now, CreatedBy: c.ID, Expires: moment(now.Add(defaultInvite))}}
	if in.Email != "" {
		i.Email = f.email("/email", in.Email)
	}
	if in.Expires != nil {
		i.Expires = *in.Expires
		if !i.Expires.After(now.Time) || i.Expires.After(now.Add(maxInvite)) {
			f.add("/expires", "out_of_range", "must be in the future, and at most 90 days from now")
		}
	}
	secret := newSecret(InvitePrefix)
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := a.manages(tx, c); err != nil {
			return err
		}
		if err := f.err(); err != nil {
			return err
		}
		n, scan := 0, tx.Scan(store.Prefix(key(kindInviteByID)))
		for scan.Next() {
			n++
		}
		if err := scan.Err(); err != nil {
			return err
		}
		if n >= maxInvites {
			return errs.New(errs.Conflict, fmt.Sprintf("There are %d invites already; withdraw some that are not needed.", maxInvites))
		}
		if i.Email != "" {
			if err := emailFree(tx, i.Email); err != nil {
				return err
			}
		}
		h := hashSecret(secret)
		if err := tx.Put(key(kindInviteByID, id), h[:]); err != nil {
			return err
		}
		return put(tx, key(kindInvite, string(h[:])), i)
	})
	if err != nil {
		return nil, err
	}
	return &NewInvite{Invite: i.Invite, Token: secret}, nil
}

// RevokeInvite withdraws an invite.
func (a *Auth) RevokeInvite(ctx context.Context, c *identity.Caller, id string) error {
	return a.db.Reclaim(ctx, func(tx *store.Tx) error {
		if _, err := a.manages(tx, c); err != nil {
			return err
		}
		var h []byte
		if isID(id) {
			var err error
			if h, err = tx.Get(key(kindInviteByID, id)); err != nil {
				return err
			}
		}
		if h == nil {
			return errs.New(errs.NotFound, "There is no invite of this id; it may have been used.")
		}
		return removeInvite(tx, hashOf(h), id)
	})
}

func removeInvite(tx *store.Tx, h hash, id string) error {
	if err := tx.Delete(key(kindInviteByID, id)); err != nil {
		return err
	}
	return tx.Delete(key(kindInvite, string(h[:])))
}

// revokeInvitesBy withdraws the invites that an admin made.
func (a *Auth) revokeInvitesBy(tx *store.Tx, user string) error {
	return removeInvites(tx, func(i *storedInvite) bool { return i.CreatedBy == user })
}

// removeInvites withdraws all invites of which which says so.
func removeInvites(tx *store.Tx, which func(*storedInvite) bool) error {
	var remove []indexed
	scan := tx.Scan(store.Prefix(key(kindInvite)))
	for scan.Next() {
		i, err := decode[storedInvite](scan.Value())
		if err != nil {
			return err
		}
		if which(i) {
			remove = append(remove, indexed{i.ID, hashOf(scan.Key()[prefixLen:])})
		}
	}
	if err := scan.Err(); err != nil {
		return err
	}
	for _, i := range remove {
		if err := removeInvite(tx, i.hash, i.id); err != nil {
			return err
		}
	}
	return nil
}
