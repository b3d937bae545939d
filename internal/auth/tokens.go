package auth

import (
	"context"
	"fmt"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// storedToken is an API token as it is kept.
type storedToken struct {
	APIToken
}

// Tokens returns the caller's API tokens, and those of all users to the local operator, who has none.
func (a *Auth) Tokens(_ context.Context, c *identity.Caller) (*List[APIToken], error) {
	list := &List[APIToken]{Items: []APIToken{}}
	err := a.db.View(func(tx *store.Tx) error {
		scan, err := a.scanTokens(tx, c)
		if err != nil {
			return err
		}
		for scan.Next() {
			h := hashOf(scan.Value())
			t, err := get[storedToken](tx, key(kindToken, string(h[:])))
			if err != nil {
				return err
			}
			if t == nil {
				continue
			}
			if used := a.cache.lastUse(h); used > 0 {
				last := lastUsed(Time{}, used)
				t.LastUsed = &last
			}
			list.Items = append(list.Items, t.APIToken)
		}
		return scan.Err()
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// scanTokens goes through the index of those tokens that are the caller's to see.
func (a *Auth) scanTokens(tx *store.Tx, c *identity.Caller) (*store.Cursor, error) {
	user := ""
	if c.Kind != identity.Local {
		u, err := a.owner(tx, c)
		if err != nil {
			return nil, err
		}
		user = u.ID
	}
	return tx.Scan(store.Prefix(key(kindUserToken, user))), nil
}

// CreateToken makes an API token. It can do what its user may, within its scopes.
func (a *Auth) CreateToken(ctx context.Context, c *identity.Caller, in TokenIn) (*NewAPIToken, error) {
	now := moment(a.now())
	id, err := newID()
	if err != nil {
		return nil, err
	}
	var f faults
	t := storedToken{APIToken{ID: id, Name: f.name("/name", in.Name), Scopes: f.scopes(in.Scopes), Created: now, Expires: in.Expires}}
	if t.Name == "" {
		f.add("/name", "required", "must say what the token is for")
	}
	if in.Expires != nil && !in.Expires.After(now.Time) {
		f.add("/expires", "out_of_range", "must be in the future")
	}
	secret := newSecret(TokenPrefix)
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		u, err := a.tokenUser(tx, c, in.User)
		if err != nil {
			return err
		}
		if err := f.err(); err != nil {
			return err
		}
		t.User = u.ID
		all, err := ofUser(tx, kindUserToken, u.ID)
		if err != nil {
			return err
		}
		if len(all) >= maxTokens {
			return errs.New(errs.Conflict, fmt.Sprintf("There are %d API tokens of this user already; revoke one that is not needed.", maxTokens))
		}
		h := hashSecret(secret)
		if err := tx.Put(key(kindUserToken, u.ID, id), h[:]); err != nil {
			return err
		}
		return put(tx, key(kindToken, string(h[:])), t)
	})
	if err != nil {
		return nil, err
	}
	return &NewAPIToken{APIToken: t.APIToken, Token: secret}, nil
}

// tokenUser returns whom a new token is for: the caller, or whom the local operator names by id or e-mail address.
func (a *Auth) tokenUser(tx *store.Tx, c *identity.Caller, name string) (*storedUser, error) {
	if c.Kind != identity.Local {
		u, err := a.owner(tx, c)
		if err == nil && name != "" {
			err = errs.At(errs.Invalid, "/user", "not_allowed", "Tokens are made for oneself; only the local operator may name a user.")
		}
		return u, err
	}
	if name == "" {
		return nil, errs.At(errs.Invalid, "/user", "required", "Name the user whom the token is for, by e-mail address or id.")
	}
	u, err := getUser(tx, name)
	if err == nil && u == nil {
		u, err = userByEmail(tx, name)
	}
	if err == nil && u == nil {
		err = errs.At(errs.Invalid, "/user", "unknown", "There is no user of this e-mail address or id.")
	}
	return u, err
}

// RevokeToken ends an API token of the caller's, and of anyone for the local operator.
func (a *Auth) RevokeToken(ctx context.Context, c *identity.Caller, id string) error {
	return a.db.Reclaim(ctx, func(tx *store.Tx) error {
		scan, err := a.scanTokens(tx, c)
		if err != nil {
			return err
		}
		for scan.Next() {
			user, found := string(scan.Key()[prefixLen:][:idLen]), string(scan.Key()[prefixLen+idLen:])
			if found == id {
				return a.revokeToken(tx, user, indexed{id, hashOf(scan.Value())})
			}
		}
		if err := scan.Err(); err != nil {
			return err
		}
		return errs.New(errs.NotFound, "There is no API token of this id; it may have been revoked.")
	})
}

func (a *Auth) revokeToken(tx *store.Tx, user string, t indexed) error {
	if err := tx.Delete(key(kindUserToken, user, t.id)); err != nil {
		return err
	}
	tx.OnCommit(func() { a.cache.forget(t.hash) })
	return tx.Delete(key(kindToken, string(t.hash[:])))
}

// revokeTokens ends all API tokens of a user.
func (a *Auth) revokeTokens(tx *store.Tx, user string) error {
	all, err := ofUser(tx, kindUserToken, user)
	if err != nil {
		return err
	}
	for _, t := range all {
		if err := a.revokeToken(tx, user, t); err != nil {
			return err
		}
	}
	return nil
}
