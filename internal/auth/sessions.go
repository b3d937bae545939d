package auth

import (
	"context"
	"strings"
	"unicode"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// storedSession is a session as it is kept.
type storedSession struct {
	ID       string `json:"id"`
	User     string `json:"user"`
	Created  Time   `json:"created"`
	LastUsed Time   `json:"last_used"`
	Address  string `json:"address"`
	Agent    string `json:"agent"`
}

// maxAgent bounds what is kept of a User-Agent header; browsers send some 120 bytes.
const maxAgent = 200

// ends is when a session ends that is not used after a time.
func (a *Auth) ends(s *storedSession, used Time) Time {
	end := s.Created.Add(a.sessionMax)
	if idle := used.Add(a.sessionIdle); idle.Before(end) {
		end = idle
	}
	return moment(end)
}

// signIn makes a session for the user that account returns, in one transaction with what that does.
func (a *Auth) signIn(ctx context.Context, from Client, account func(*store.Tx) (*storedUser, error)) (*SignIn, error) {
	id, err := newID()
	if err != nil {
		return nil, err
	}
	token, now := newSecret(SessionPrefix), moment(a.now())
	s := &storedSession{ID: id, Created: now, LastUsed: now, Agent: agent(from.Agent)}
	if from.Addr.IsValid() {
		s.Address = from.Addr.Unmap().String()
	}
	var u *storedUser
	// When the disk is nearly full, somebody must be able to sign in to delete something.
	err = a.db.Reclaim(ctx, func(tx *store.Tx) (err error) {
		if u, err = account(tx); err != nil {
			return err
		}
		s.User = u.ID
		if err := a.endOldest(tx, u.ID); err != nil {
			return err
		}
		h := hashSecret(token)
		if err := tx.Put(key(kindUserSession, u.ID, id), h[:]); err != nil {
			return err
		}
		return put(tx, key(kindSession, string(h[:])), s)
	})
	if err != nil {
		return nil, err
	}
	return &SignIn{Token: token, Expires: moment(now.Add(a.sessionMax)), User: u.User}, nil
}

// agent returns what is kept of a User-Agent header.
func agent(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) && r != unicode.ReplacementChar {
			return r
		}
		return -1
	}, s[:min(len(s), maxAgent)])
	return strings.TrimSpace(s)
}

// indexed is an entry of the indexes by user: where the value of an id is.
type indexed struct {
	id   string
	hash hash
}

// ofUser returns the entries of one of the indexes by user. They are collected before anything is done with them, for a scan
// doesn't go on over what is being changed.
func ofUser(tx *store.Tx, kind byte, user string) ([]indexed, error) {
	var all []indexed
	scan := tx.Scan(store.Prefix(key(kind, user)))
	for scan.Next() {
		all = append(all, indexed{string(scan.Key()[prefixLen+idLen:]), hashOf(scan.Value())})
	}
	return all, scan.Err()
}

// endOldest makes room for one more session of a user.
func (a *Auth) endOldest(tx *store.Tx, user string) error {
	all, err := ofUser(tx, kindUserSession, user)
	if err != nil || len(all) < maxSessions {
		return err
	}
	var oldest indexed
	var oldestUse int64
	for _, i := range all {
		s, err := get[storedSession](tx, key(kindSession, string(i.hash[:])))
		if err != nil {
			return err
		}
		used := a.cache.lastUse(i.hash)
		if s != nil {
			used = max(used, s.LastUsed.UnixMilli())
		}
		if oldest.id == "" || used < oldestUse {
			oldest, oldestUse = i, used
		}
	}
	return a.endSession(tx, user, oldest)
}

// endSession removes a session.
func (a *Auth) endSession(tx *store.Tx, user string, s indexed) error {
	if err := tx.Delete(key(kindUserSession, user, s.id)); err != nil {
		return err
	}
	tx.OnCommit(func() { a.cache.forget(s.hash) })
	return tx.Delete(key(kindSession, string(s.hash[:])))
}

// endSessions removes the sessions of a user but for one, whose id may be empty.
func (a *Auth) endSessions(tx *store.Tx, user, except string) error {
	all, err := ofUser(tx, kindUserSession, user)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.id == except {
			continue
		}
		if err := a.endSession(tx, user, s); err != nil {
			return err
		}
	}
	return nil
}

// Sessions returns where the caller is signed in, the newest first.
func (a *Auth) Sessions(_ context.Context, c *identity.Caller) (*List[Session], error) {
	list := &List[Session]{Items: []Session{}}
	err := a.db.View(func(tx *store.Tx) error {
		u, err := a.owner(tx, c)
		if err != nil {
			return err
		}
		all, err := ofUser(tx, kindUserSession, u.ID)
		if err != nil {
			return err
		}
		for i := len(all) - 1; i >= 0; i-- {
			s, err := get[storedSession](tx, key(kindSession, string(all[i].hash[:])))
			if err != nil {
				return err
			}
			if s == nil {
				continue
			}
			used := lastUsed(s.LastUsed, a.cache.lastUse(all[i].hash))
			ends := a.ends(s, used)
			if !a.now().Before(ends.Time) {
				continue // a sweep removes it
			}
			list.Items = append(list.Items, Session{ID: s.ID, Created: s.Created, LastUsed: used, Expires: ends,
				Address: s.Address, Agent: s.Agent, Current: s.ID == c.Session})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// EndSession signs the caller out somewhere.
func (a *Auth) EndSession(ctx context.Context, c *identity.Caller, id string) error {
	return a.db.Reclaim(ctx, func(tx *store.Tx) error {
		u, err := a.owner(tx, c)
		if err != nil {
			return err
		}
		var h []byte
		if isID(id) {
			if h, err = tx.Get(key(kindUserSession, u.ID, id)); err != nil {
				return err
			}
		}
		if h == nil {
			return errs.New(errs.NotFound, "You have no session of this id; it may have ended.")
		}
		return a.endSession(tx, u.ID, indexed{id, hashOf(h)})
	})
}

// Logout ends the session that the caller uses.
func (a *Auth) Logout(ctx context.Context, c *identity.Caller) error {
	return a.EndSession(ctx, c, c.Session)
}
