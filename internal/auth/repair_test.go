package auth_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"croft/internal/auth"
	"croft/internal/store"
)

// Whatever entries are lost, accounts are in order after Repair.
func TestRepair(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			k := everything(t)
			must(t, k.Close())
			r := rand.New(rand.NewPCG(seed, 1))
			left := map[byte]int{}
			must(t, k.db.Update(t.Context(), func(tx *store.Tx) error {
				var lost [][]byte
				c := tx.Scan(store.Prefix(store.Auth.Key()))
				for c.Next() {
					if seed > 0 && r.IntN(3) == 0 {
						lost = append(lost, bytes.Clone(c.Key()))
					} else {
						left[c.Key()[1]]++
					}
				}
				if c.Err() != nil {
					return c.Err()
				}
				for _, key := range lost {
					if err := tx.Delete(key); err != nil {
						return err
					}
				}
				_, err := auth.Repair(tx)
				return err
			}))
			found, faults := k.faults()
			if faults != nil {
				t.Errorf("after the repair: %q", faults)
			}
			if found.Users != left['u'] || found.Invites != left['i'] || found.Users == 3 && (found.Sessions != left['s'] || found.Tokens != left['t']) {
				t.Errorf("left are %+v of %v", found, left)
			}
			k.start()
		})
	}
}

// Two states of the accounts that had one address, one after the other: the newer one has it.
func TestRepairSameAddress(t *testing.T) {
	k := newKit(t)
	k.admin()
	old := k.user("grace@example.org")
	k.pass(1e9)
	young := k.user("mary@example.org")
	must(t, k.db.Update(t.Context(), func(tx *store.Tx) error {
		key := store.Auth.Key([]byte("u" + young))
		value, err := tx.Get(key)
		if err != nil {
			return err
		}
		return tx.Put(key, bytes.ReplaceAll(value, []byte("mary@"), []byte("grace@")))
	}))
	var disabled []string
	must(t, k.db.Update(t.Context(), func(tx *store.Tx) (err error) {
		disabled, err = auth.Repair(tx)
		return err
	}))
	if _, faults := k.faults(); faults != nil || len(disabled) != 1 || disabled[0] != old {
		t.Errorf("disabled %v, want %s; %q", disabled, old, faults)
	}
}

func TestNewer(t *testing.T) {
	user := store.Auth.Key([]byte("u1"))
	a, b := []byte(`{"updated":"2026-01-01T00:00:00.000Z"}`), []byte(`{"updated":"2026-01-02T00:00:00.000Z"}`)
	for _, test := range []struct {
		key, a, b []byte
		newer     bool
	}{
		{user, a, b, false},
		{user, b, a, true},
		{user, []byte("{"), a, false},
		{user, b, []byte("{"), false},
		{store.Auth.Key([]byte("s1")), []byte(`{"created":"2026-01-01T00:00:00Z","last_used":"2026-01-05T00:00:00Z"}`), []byte(`{"last_used":"2026-01-04T00:00:00Z"}`), true},
		{store.Auth.Key([]byte("e1")), b, a, false},
		{store.Records.Key([]byte("u1")), b, a, false},
	} {
		if newer := auth.Newer(test.key, test.a, test.b); newer != test.newer {
			t.Errorf("%s: newer %v", test.key, newer)
		}
	}
}
