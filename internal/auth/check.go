package auth

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/alexedwards/argon2id"

	"croft/internal/store"
)

// Checked is how many there are of what the package keeps.
type Checked struct{ Users, Sessions, Tokens, Invites int }

// Check reads everything that the package stores and holds it together: each value can be read, each entry that leads to another
// one leads there and is led back to, nobody's session outlives them, and there is an admin who can sign in. It calls report with
// what is wrong, in which users and sessions are named by their ids. It needs no Auth and writes nothing.
//
// An entry that fails its checksum is not reported: the check of the file itself does that.
func Check(ctx context.Context, tx *store.Tx, report func(where, what string)) (Checked, error) {
	k := &checking{ctx: ctx, tx: tx, report: report}
	var found Checked
	admins := 0
	for _, step := range []struct {
		kind  byte
		count *int
		check func(rest string, value []byte) error
	}{
		{kindUser, &found.Users, k.user},
		{kindEmail, nil, k.email},
		{kindAdmin, &admins, k.admin},
		{kindSession, &found.Sessions, k.session},
		{kindUserSession, nil, k.sessionOfUser},
		{kindToken, &found.Tokens, k.token},
		{kindUserToken, nil, k.tokenOfUser},
		{kindInvite, &found.Invites, k.invite},
		{kindInviteByID, nil, k.inviteByID},
	} {
		if err := k.each(key(step.kind), func(rest string, value []byte) error {
			if step.count != nil {
				*step.count++
			}
			return step.check(rest, value)
		}); err != nil {
			return found, err
		}
	}
	if err := k.setup(admins); err != nil {
		return found, err
	}
	return found, k.strays()
}

type checking struct {
	ctx    context.Context
	tx     *store.Tx
	report func(where, what string)
}

// each calls f with what is behind prefix in the keys that begin with it, where the entry is whole.
func (k *checking) each(prefix []byte, f func(rest string, value []byte) error) error {
	// Without an end: a scan would want the entry behind it to be whole.
	c := k.tx.Scan(store.Range{Lo: prefix, Unchecked: true, Reads: 1 << 10})
	for c.Next() && bytes.HasPrefix(c.Key(), prefix) {
		if k.ctx.Err() != nil {
			return k.ctx.Err()
		}
		if c.Verify() != nil {
			continue
		}
		if err := f(string(c.Key()[len(prefix):]), c.Value()); err != nil {
			return err
		}
	}
	return c.Err()
}

// look reads the value of a key; it is nil if there is none. It is not ok if it can't be read.
func (k *checking) look(key []byte) (value []byte, ok bool, err error) {
	value, err = k.tx.Get(key)
	if errors.Is(err, store.ErrDamaged) {
		return nil, false, nil
	}
	return value, err == nil, err
}

// leads reports unless the value of a key is what it should be.
func (k *checking) leads(key []byte, to, where, what string) error {
	value, ok, err := k.look(key)
	if ok && (value == nil || string(value) != to) {
		k.report(where, what)
	}
	return err
}

// find reads what an entry leads to, or reports that it leads nowhere. It is nil then, and where it can't be read.
func find[T any](k *checking, key []byte, where, what string) (*T, error) {
	value, ok, err := k.look(key)
	if !ok {
		return nil, err
	}
	if value == nil {
		k.report(where, what)
		return nil, nil
	}
	v, err := decode[T](value)
	if err != nil {
		return nil, nil // reported where that entry is checked
	}
	return v, nil
}

func (k *checking) user(id string, value []byte) error {
	where := "user " + id
	u, err := decode[storedUser](value)
	if err != nil {
		k.report(where, "it can't be read: "+err.Error())
		return nil
	}
	if u.ID != id {
		k.report(where, "it says that it is another one")
	}
	if _, _, _, err := argon2id.DecodeHash(u.Hash); err != nil {
		k.report(where, "the hash of the password is malformed: set a new one with \"croft user\"")
	}
	if err := k.leads(key(kindEmail, foldEmail(u.Email)), id, where, "its e-mail address does not lead to it, so it can't sign in"); err != nil {
		return err
	}
	if u.isAdmin() && !u.Disabled {
		return k.leads(key(kindAdmin, id), "", where, "it is an admin, and not among them")
	}
	return nil
}

func (k *checking) email(address string, value []byte) error {
	id := string(value)
	u, err := find[storedUser](k, key(kindUser, id), "e-mail addresses", "there is one of a user that is not there")
	if u != nil && foldEmail(u.Email) != address {
		k.report("user "+id, "an e-mail address leads to it that is not its own")
	}
	return err
}

func (k *checking) admin(id string, value []byte) error {
	u, err := find[storedUser](k, key(kindUser, id), "admins", "there is one that is no user")
	if u != nil && (!u.isAdmin() || u.Disabled || len(value) > 0) {
		k.report("user "+id, "it is among the admins, and is none")
	}
	return err
}

func (k *checking) session(h string, value []byte) error {
	s, err := decode[storedSession](value)
	if err != nil || len(h) != len(hash{}) {
		k.report("sessions", "there is one that can't be read")
		return nil
	}
	return k.owned("session "+s.ID+" of user "+s.User, s.User, key(kindUserSession, s.User, s.ID), h)
}

func (k *checking) token(h string, value []byte) error {
	t, err := decode[storedToken](value)
	if err != nil || len(h) != len(hash{}) {
		k.report("API tokens", "there is one that can't be read")
		return nil
	}
	return k.owned("API token "+t.ID+" of user "+t.User, t.User, key(kindUserToken, t.User, t.ID), h)
}

// owned checks that a session or an API token is of a user, and in the list of theirs.
func (k *checking) owned(where, user string, listed []byte, h string) error {
	value, ok, err := k.look(key(kindUser, user))
	if ok && value == nil {
		k.report(where, "there is no such user")
	}
	return errors.Join(err, k.leads(listed, h, where, "it is not in the list of the user's"))
}

func (k *checking) sessionOfUser(rest string, value []byte) error {
	user, id, ok := splitOwned(rest)
	if !ok {
		k.report("sessions", "there is an entry of a kind that Croft doesn't write")
		return nil
	}
	where := "session " + id + " of user " + user
	s, err := find[storedSession](k, key(kindSession, string(value)), where, "it is in the list of the user's, and not there")
	if s != nil && (s.User != user || s.ID != id) {
		k.report(where, "another one is in its place")
	}
	return err
}

func (k *checking) tokenOfUser(rest string, value []byte) error {
	user, id, ok := splitOwned(rest)
	if !ok {
		k.report("API tokens", "there is an entry of a kind that Croft doesn't write")
		return nil
	}
	where := "API token " + id + " of user " + user
	t, err := find[storedToken](k, key(kindToken, string(value)), where, "it is in the list of the user's, and not there")
	if t != nil && (t.User != user || t.ID != id) {
		k.report(where, "another one is in its place")
	}
	return err
}

// splitOwned splits a user's id from another one.
func splitOwned(rest string) (user, id string, ok bool) {
	if len(rest) != 2*idLen {
		return "", "", false
	}
	return rest[:idLen], rest[idLen:], true
}

func (k *checking) invite(h string, value []byte) error {
	i, err := decode[storedInvite](value)
	if err != nil || len(h) != len(hash{}) {
		k.report("invites", "there is one that can't be read")
		return nil
	}
	return k.leads(key(kindInviteByID, i.ID), h, "invite "+i.ID, "it is not in the list of invites")
}

func (k *checking) inviteByID(id string, value []byte) error {
	i, err := find[storedInvite](k, key(kindInvite, string(value)), "invite "+id, "it is in the list of invites, and not there")
	if i != nil && i.ID != id {
		k.report("invite "+id, "another one is in its place")
	}
	return err
}

// setup checks that somebody can manage the server: an admin, or who has the setup token.
func (k *checking) setup(admins int) error {
	value, ok, err := k.look(setupKey)
	if !ok {
		return err
	}
	switch {
	case value == nil || strings.HasPrefix(string(value), SetupPrefix): // a new file, until it is set up
	case string(value) != setupUsed:
		k.report("setup", "the setup token is malformed")
	case admins == 0:
		k.report("setup", "there is no admin who can sign in: make one with \"croft user add\"")
	}
	return nil
}

// strays finds entries of no kind.
func (k *checking) strays() error {
	return k.each(store.Auth.Key(), func(rest string, _ []byte) error {
		if rest == "" || !strings.ContainsRune("ueasStTiIw", rune(rest[0])) || rest[0] == kindSetup && len(rest) > 1 {
			k.report("accounts", "there is an entry of a kind that Croft doesn't write")
		}
		return nil
	})
}
