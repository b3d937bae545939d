package auth_test

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"croft/internal/auth"
	"croft/internal/store"
)

// faults is what Check reports. No fault may tell a key: they are digests of secrets.
func (k *kit) faults() (found auth.Checked, faults []string) {
	k.t.Helper()
	err := k.db.View(func(tx *store.Tx) (err error) {
		found, err = auth.Check(context.Background(), tx, func(where, what string) { faults = append(faults, where+": "+what) })
		return err
	})
	must(k.t, err)
	for _, f := range faults {
		if strings.ContainsFunc(f, func(r rune) bool { return r < ' ' || r > '~' }) || strings.Contains(f, "@") {
			k.t.Errorf("a fault tells what it should not: %q", f)
		}
	}
	return found, faults
}

// everything makes some of all that auth keeps.
func everything(t *testing.T) *kit {
	t.Helper()
	k := newKit(t)
	k.admin()
	k.user("grace@example.org")
	k.user("mary@example.org", "admin")
	k.login("grace@example.org", home)
	k.login("grace@example.org", home)
	k.token("grace@example.org")
	if _, err := k.CreateInvite(t.Context(), local, auth.InviteIn{}); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestCheck(t *testing.T) {
	k := newKit(t)
	if found, faults := k.faults(); found != (auth.Checked{}) || faults != nil {
		t.Errorf("a new file: %+v, %q", found, faults)
	}
	k = everything(t)
	found, faults := k.faults()
	if want := (auth.Checked{Users: 3, Sessions: 3, Tokens: 1, Invites: 1}); found != want || faults != nil {
		t.Errorf("found %+v, want %+v; %q", found, want, faults)
	}
	users, err := k.Users(t.Context(), local, auth.Page{})
	must(t, err)
	for _, u := range users.Items {
		if u.Email == "grace@example.org" {
			must(t, k.DeleteUser(t.Context(), local, u.ID))
		}
	}
	found, faults = k.faults()
	if want := (auth.Checked{Users: 2, Sessions: 1, Invites: 1}); found != want || faults != nil {
		t.Errorf("without the user: %+v, want %+v; %q", found, want, faults)
	}
}

var uuid = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// TestCheckFinds takes away the first entry of each kind, and wants to hear of those that it leaves alone.
func TestCheckFinds(t *testing.T) {
	for kind, want := range map[byte][]string{
		// The first user is an admin with a session; the API token and the other sessions are not theirs.
		'u': {"admins: there is one that is no user", "e-mail addresses: there is one of a user that is not there", "session ID of user ID: there is no such user"},
		'e': {"user ID: its e-mail address does not lead to it, so it can't sign in"},
		'a': {"user ID: it is an admin, and not among them"},
		's': {"session ID of user ID: it is in the list of the user's, and not there"},
		'S': {"session ID of user ID: it is not in the list of the user's"},
		't': {"API token ID of user ID: it is in the list of the user's, and not there"},
		'T': {"API token ID of user ID: it is not in the list of the user's"},
		'i': {"invite ID: it is in the list of invites, and not there"},
		'I': {"invite ID: it is not in the list of invites"},
	} {
		k := everything(t)
		must(t, k.db.Update(context.Background(), func(tx *store.Tx) error {
			c := tx.Scan(store.Prefix(store.Auth.Key([]byte{kind})))
			if !c.Next() {
				t.Errorf("there is no %c", kind)
			}
			return tx.Delete(bytes.Clone(c.Key()))
		}))
		_, faults := k.faults()
		for i, f := range faults {
			faults[i] = uuid.ReplaceAllString(f, "ID")
		}
		slices.Sort(faults)
		if !slices.Equal(faults, want) {
			t.Errorf("without the first %c:\n%s\nwant:\n%s", kind, strings.Join(faults, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestCheckValues(t *testing.T) {
	const malformed = "{"
	for kind, want := range map[byte]string{
		'u': "it can't be read: read a *auth.storedUser: not JSON at byte 1",
		's': "sessions: there is one that can't be read",
		't': "API tokens: there is one that can't be read",
		'i': "invites: there is one that can't be read",
		'a': "it is among the admins, and is none",
		'w': "setup: the setup token is malformed",
		'z': "accounts: there is an entry of a kind that Croft doesn't write",
	} {
		k := everything(t)
		must(t, k.db.Update(context.Background(), func(tx *store.Tx) error {
			key := store.Auth.Key([]byte{kind})
			if c := tx.Scan(store.Prefix(key)); c.Next() {
				key = bytes.Clone(c.Key())
			}
			return tx.Put(key, []byte(malformed))
		}))
		_, faults := k.faults()
		if len(faults) == 0 || !strings.HasSuffix(faults[len(faults)-1], want) && !strings.HasSuffix(faults[0], want) {
			t.Errorf("a malformed %c: %q, want %q", kind, faults, want)
		}
	}
	// All admins are gone.
	k := everything(t)
	must(t, k.db.Update(context.Background(), func(tx *store.Tx) error {
		var keys [][]byte
		for c := tx.Scan(store.Prefix(store.Auth.Key([]byte("a")))); c.Next(); {
			keys = append(keys, bytes.Clone(c.Key()))
		}
		for _, key := range keys {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	}))
	if _, faults := k.faults(); len(faults) != 3 || !strings.HasPrefix(faults[2], "setup: there is no admin who can sign in") {
		t.Errorf("without admins: %q", faults)
	}
}
