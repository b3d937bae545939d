package auth

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"croft/internal/store"
)

// Derived reports whether an entry only leads to others, and can be made anew from them: Repair does.
func Derived(key []byte) bool {
	return len(key) >= prefixLen && key[0] == byte(store.Auth) && strings.IndexByte("eaSTI", key[1]) >= 0
}

// Secret reports whether an entry lets somebody in: a session, an API token, an invite. One that was deleted must not come back.
func Secret(key []byte) bool {
	return len(key) >= prefixLen && key[0] == byte(store.Auth) && strings.IndexByte("sti", key[1]) >= 0
}

// IsUser reports whether an entry is an account.
func IsUser(key []byte) bool {
	return len(key) >= prefixLen && key[0] == byte(store.Auth) && key[1] == kindUser
}

// Newer reports whether value a of an entry is a later state than b, by the times in them. It is false for entries that don't
// tell.
func Newer(key, a, b []byte) bool {
	if len(key) < prefixLen || key[0] != byte(store.Auth) || strings.IndexByte("ust", key[1]) < 0 {
		return false
	}
	before, ok := stateTime(b)
	if !ok {
		return false
	}
	after, ok := stateTime(a)
	return ok && after.After(before.Time)
}

// stateTime is when something became what it is: a user was changed, a session or an API token used.
func stateTime(value []byte) (Time, bool) {
	var times struct {
		Created  Time  `json:"created"`
		Updated  *Time `json:"updated"`
		LastUsed *Time `json:"last_used"`
	}
	if json.Unmarshal(value, &times) != nil {
		return Time{}, false
	}
	switch {
	case times.Updated != nil:
		return *times.Updated, true
	case times.LastUsed != nil:
		return *times.LastUsed, true
	}
	return times.Created, true
}

// Repair puts in order what was taken out of a damaged file, from which entries may be missing: what leads to users, sessions, API tokens
// and invites is made anew, and sessions and API tokens of users who are lost are removed. Where two users have one e-mail address,
// because one of them is known as they were before, the one that was changed last keeps it, and the other is disabled. It returns the ids
// of those. If no admin is left, the next start makes a setup token.
func Repair(tx *store.Tx) (disabled []string, err error) {
	p := &repair{tx: tx, users: map[string]*storedUser{}, byEmail: map[string]*storedUser{}, put: map[string][]byte{}}
	for _, step := range []func() error{p.readUsers, p.readSecrets, p.write, p.setup} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return p.disabled, nil
}

type repair struct {
	tx *store.Tx

	users    map[string]*storedUser
	byEmail  map[string]*storedUser
	remove   [][]byte
	put      map[string][]byte // what leads to others
	admins   int
	disabled []string
}

// each calls f with what is behind the kind in its keys.
func (p *repair) each(kind byte, f func(rest string, value []byte) error) error {
	c := p.tx.Scan(store.Prefix(key(kind)))
	for c.Next() {
		if err := f(string(c.Key()[prefixLen:]), c.Value()); err != nil {
			return err
		}
	}
	return c.Err()
}

func (p *repair) readUsers() error {
	err := p.each(kindUser, func(id string, value []byte) error {
		u, err := decode[storedUser](value)
		if err != nil {
			return err
		}
		p.users[id] = u
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(p.users)) {
		u := p.users[id]
		email := foldEmail(u.Email)
		if other := p.byEmail[email]; other == nil || u.Updated.After(other.Updated.Time) {
			p.byEmail[email] = u
		}
	}
	for id, u := range p.users {
		if p.byEmail[foldEmail(u.Email)] != u {
			u.Email, u.Disabled = id+"@recovered.invalid", true
			p.byEmail[u.Email] = u
			p.disabled = append(p.disabled, id)
			if err := put(p.tx, key(kindUser, id), u); err != nil {
				return err
			}
		}
		p.put[string(key(kindEmail, foldEmail(u.Email)))] = []byte(id)
		if u.isAdmin() && !u.Disabled {
			p.put[string(key(kindAdmin, id))] = nil
			p.admins++
		}
	}
	slices.Sort(p.disabled)
	return nil
}

func (p *repair) readSecrets() error {
	// owned is what a session or an API token needs, unless its user is lost.
	owned := func(kind, list byte, h, user, id string) {
		if p.users[user] == nil {
			p.remove = append(p.remove, key(kind, h))
			return
		}
		p.put[string(key(list, user, id))] = []byte(h)
	}
	err := p.each(kindSession, func(h string, value []byte) error {
		s, err := decode[storedSession](value)
		if err == nil {
			owned(kindSession, kindUserSession, h, s.User, s.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = p.each(kindToken, func(h string, value []byte) error {
		t, err := decode[storedToken](value)
		if err == nil {
			owned(kindToken, kindUserToken, h, t.User, t.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	return p.each(kindInvite, func(h string, value []byte) error {
		i, err := decode[storedInvite](value)
		if err == nil {
			p.put[string(key(kindInviteByID, i.ID))] = []byte(h)
		}
		return err
	})
}

// write writes what leads to others, and removes what leads nowhere.
func (p *repair) write() error {
	for _, kind := range []byte{kindEmail, kindAdmin, kindUserSession, kindUserToken, kindInviteByID} {
		err := p.each(kind, func(rest string, _ []byte) error {
			if k := key(kind, rest); p.put[string(k)] == nil {
				p.remove = append(p.remove, bytes.Clone(k))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, k := range p.remove {
		if err := p.tx.Delete(k); err != nil {
			return err
		}
	}
	for k, value := range p.put {
		if err := p.tx.Put([]byte(k), value); err != nil {
			return err
		}
	}
	return nil
}

// setup has somebody be able to manage the server.
func (p *repair) setup() error {
	if p.admins > 0 {
		return p.tx.Put(setupKey, []byte(setupUsed))
	}
	value, err := p.tx.Get(setupKey)
	if err != nil || string(value) != setupUsed {
		return err
	}
	return p.tx.Delete(setupKey)
}
