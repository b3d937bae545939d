package auth

import (
	"context"

	"croft/internal/store"
)

// Hashes is how many passwords were hashed.
func (a *Auth) Hashes() int64 { return a.hasher.hashes.Load() }

// HashSlots is how many may be at once.
func (a *Auth) HashSlots() int { return cap(a.hasher.slots) }

// HoldHash keeps a slot for a hash until the function it returns is called.
func (a *Auth) HoldHash(ctx context.Context) (release func(), err error) {
	return a.hasher.release, a.hasher.acquire(ctx)
}

// HashesWaiting is how many wait for a slot.
func (a *Auth) HashesWaiting() int { return int(a.hasher.waiting.Load()) }

// StoreUses and Sweep are what else happens by the minute and by the hour.
func (a *Auth) StoreUses(ctx context.Context) error { return a.storeUses(ctx) }
func (a *Auth) Sweep(ctx context.Context) error     { return a.sweep(ctx) }

// Throttled is how many networks are remembered for their failures.
func (a *Auth) Throttled() int { return len(a.networks.keys) }

// Keys is how many keys there are.
func (a *Auth) Keys() (n int) {
	_ = a.db.View(func(tx *store.Tx) error {
		for scan := tx.Scan(store.Prefix(store.Auth.Key())); scan.Next(); {
			n++
		}
		return nil
	})
	return n
}
