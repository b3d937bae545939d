package auth

import (
	"context"
	"maps"
	"slices"
	"time"

	"croft/internal/store"
)

// perUpdate bounds what one function does in the writer, while others wait: a few milliseconds.
const perUpdate = 500

// lastUsed is the later of what is on disk and what is in memory, in Unix milliseconds.
func lastUsed(stored Time, cached int64) Time {
	if t := time.UnixMilli(cached); t.After(stored.Time) {
		return moment(t)
	}
	return stored
}

// storeUses writes when sessions and API tokens were last used.
func (a *Auth) storeUses(ctx context.Context) error {
	uses := a.cache.unstored()
	for some := range slices.Chunk(slices.Collect(maps.Keys(uses)), perUpdate) {
		err := a.db.Reclaim(ctx, func(tx *store.Tx) error {
			for _, h := range some {
				if err := storeUse(tx, h, uses[h]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		written := make(map[hash]use, len(some))
		for _, h := range some {
			written[h] = uses[h]
		}
		a.cache.markStored(written)
	}
	return nil
}

// storeUse writes one last use, unless what was used has ended.
func storeUse(tx *store.Tx, h hash, u use) error {
	k := key(u.kind, string(h[:]))
	if u.kind == kindSession {
		s, err := get[storedSession](tx, k)
		if err != nil || s == nil {
			return err
		}
		s.LastUsed = lastUsed(s.LastUsed, u.at)
		return put(tx, k, s)
	}
	t, err := get[storedToken](tx, k)
	if err != nil || t == nil {
		return err
	}
	var before Time
	if t.LastUsed != nil {
		before = *t.LastUsed
	}
	last := lastUsed(before, u.at)
	t.LastUsed = &last
	return put(tx, k, t)
}

// sweep removes sessions and invites that have ended. Until then they are merely refused. API tokens that have ended stay,
// for their owner to see, until they are revoked.
func (a *Auth) sweep(ctx context.Context) error {
	ended := map[hash]*storedSession{}
	invites := false
	err := a.db.View(func(tx *store.Tx) error {
		scan := tx.Scan(store.Prefix(key(kindSession)))
		for scan.Next() {
			s, err := decode[storedSession](scan.Value())
			if err != nil {
				return err
			}
			if h := hashOf(scan.Key()[prefixLen:]); a.hasEnded(h, s) {
				ended[h] = s
			}
		}
		if err := scan.Err(); err != nil {
			return err
		}
		scan = tx.Scan(store.Prefix(key(kindInvite)))
		for !invites && scan.Next() {
			i, err := decode[storedInvite](scan.Value())
			if err != nil {
				return err
			}
			invites = !a.now().Before(i.Expires.Time)
		}
		return scan.Err()
	})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(slices.Collect(maps.Keys(ended)), perUpdate) {
		err := a.db.Reclaim(ctx, func(tx *store.Tx) error {
			for _, h := range some {
				// It can't have been used since, for it has ended.
				if err := a.endSession(tx, ended[h].User, indexed{ended[h].ID, h}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !invites {
		return nil
	}
	return a.db.Reclaim(ctx, func(tx *store.Tx) error {
		return removeInvites(tx, func(i *storedInvite) bool { return !a.now().Before(i.Expires.Time) })
	})
}

func (a *Auth) hasEnded(h hash, s *storedSession) bool {
	return !a.now().Before(a.ends(s, lastUsed(s.LastUsed, a.cache.lastUse(h))).Time)
}
