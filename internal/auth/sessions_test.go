package auth_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"croft/internal/auth"
	"croft/internal/errs"
	"croft/internal/identity"
)

func TestSessions(t *testing.T) {
	k := newKit(t)
	first := k.login2()
	k.pass(time.Hour)
	second := k.login("ben@example.org", auth.Client{Addr: from("::ffff:198.51.100.1").Addr, Agent: "Fire\x00fox\n" + strings.Repeat("é", 300)})
	k.user("cy@example.org")
	stranger := k.as(k.login("cy@example.org", home))
	c := k.as(second)
	k.as(first)

	list, err := k.Sessions(t.Context(), c)
	must(t, err)
	if len(list.Items) != 2 {
		t.Fatalf("%d sessions", len(list.Items))
	}
	newest, oldest := list.Items[0], list.Items[1]
	if !newest.Current || oldest.Current || newest.ID != c.Session || newest.Address != "198.51.100.1" || oldest.Address != "192.0.2.1" {
		t.Errorf("sessions: %+v", list.Items)
	}
	if len(newest.Agent) > 200 || !strings.HasPrefix(newest.Agent, "Firefoxé") {
		t.Errorf("agent: %q", newest.Agent)
	}
	if !oldest.LastUsed.Equal(k.now()) || !oldest.Created.Equal(k.now().Add(-time.Hour)) || !oldest.Expires.Equal(k.now().Add(30*24*time.Hour)) {
		t.Errorf("the older one: %+v", oldest)
	}

	wants(t, "someone else's", k.EndSession(t.Context(), stranger, oldest.ID), errs.NotFound)
	wants(t, "unknown", k.EndSession(t.Context(), c, "x"), errs.NotFound)
	wants(t, "empty", k.EndSession(t.Context(), c, ""), errs.NotFound)
	k.as(first)
	must(t, k.EndSession(t.Context(), c, oldest.ID))
	k.refused(first)
	wants(t, "again", k.EndSession(t.Context(), c, oldest.ID), errs.NotFound)
	must(t, k.Logout(t.Context(), c))
	k.refused(second)
	// A request that was let in before does nothing any more.
	wants(t, "logout again", k.Logout(t.Context(), c), errs.Unauthenticated)
	_, err = k.PatchMe(t.Context(), c, auth.MePatch{Name: auth.To("x")})
	wants(t, "after logout", err, errs.Unauthenticated)
}

func TestSessionsEnd(t *testing.T) {
	k := newKit(t, func(o *auth.Options) { o.SessionIdle, o.SessionMax = 24*time.Hour, 72*time.Hour })
	idle, busy := k.login2(), k.login("ben@example.org", home)
	for range 5 {
		k.pass(13 * time.Hour)
		k.as(busy)
	}
	k.refused(idle)
	c := k.as(busy)
	list, err := k.Sessions(t.Context(), c)
	must(t, err)
	if len(list.Items) != 1 || !list.Items[0].Expires.Equal(k.now().Add(7*time.Hour)) {
		t.Errorf("sessions: %+v", list.Items)
	}
	k.restart()
	k.pass(7*time.Hour - time.Millisecond)
	k.as(busy) // that it was used survived
	k.pass(time.Millisecond)
	k.refused(busy)
	must(t, k.Sweep(t.Context()))
	k.pass(-40 * time.Hour) // only now do we see that they are gone
	k.refused(busy)
	k.refused(idle)
}

func TestRestart(t *testing.T) {
	k := newKit(t)
	admin := k.admin()
	token := k.login2()
	api := k.token("ben@example.org")
	gone := k.login("ben@example.org", home)
	must(t, k.Logout(t.Context(), k.as(gone)))
	before := k.as(token)
	k.pass(time.Hour)
	k.as(api.Token)
	k.restart()
	if c := k.as(token); c.ID != before.ID || c.Session != before.Session {
		t.Errorf("after a restart the caller is %+v", c)
	}
	if c := k.as(api.Token); !c.InScope("notes", "read") || c.InScope("notes", "create") || c.InScope("other", "read") {
		t.Errorf("after a restart the token is %+v", c.Token)
	}
	k.refused(gone)
	list, err := k.Tokens(t.Context(), local)
	must(t, err)
	if len(list.Items) != 1 || list.Items[0].LastUsed == nil || !list.Items[0].LastUsed.Equal(k.now()) {
		t.Errorf("tokens: %+v", list.Items)
	}
	if _, err := k.User(t.Context(), admin, before.ID); err != nil {
		t.Error(err)
	}
}

// When something was last used is written by the minute, without undoing what happened meanwhile.
func TestUsesAreStored(t *testing.T) {
	k := newKit(t)
	kept, ended := k.login2(), k.login("ben@example.org", home)
	k.pass(time.Hour)
	c := k.as(kept)
	k.as(ended)
	commits := k.db.Stats().Commits
	for range 100 {
		k.as(kept)
	}
	if k.db.Stats().Commits != commits {
		t.Error("requests were written one by one")
	}
	must(t, k.StoreUses(t.Context()))
	if n := k.db.Stats().Commits; n != commits+1 {
		t.Errorf("%d commits for two uses", n-commits)
	}
	must(t, k.StoreUses(t.Context()))
	if n := k.db.Stats().Commits; n != commits+1 {
		t.Error("what was written is written again")
	}
	k.pass(time.Hour)
	must(t, k.Logout(t.Context(), k.as(ended)))
	must(t, k.StoreUses(t.Context()))
	k.refused(ended)
	list, err := k.Sessions(t.Context(), c)
	must(t, err)
	if len(list.Items) != 1 {
		t.Errorf("sessions: %+v", list.Items)
	}
}

func TestManySessions(t *testing.T) {
	k := newKit(t)
	first := k.login2()
	tokens := make([]string, 99)
	for i := range tokens {
		k.pass(time.Second)
		tokens[i] = k.login("ben@example.org", home)
	}
	k.pass(time.Second)
	k.as(first) // now tokens[0] was used longest ago
	k.login("ben@example.org", home)
	k.refused(tokens[0])
	k.as(first)
	k.as(tokens[1])
}

// A session that is looked up while it is being revoked is not let in once the revocation is answered.
func TestRevokedStopsAtOnce(t *testing.T) {
	k := newKit(t)
	id := k.user("ben@example.org")
	revoke := map[string]func(c *identity.Caller) error{
		"logout":  func(c *identity.Caller) error { return k.Logout(t.Context(), c) },
		"disable": func(*identity.Caller) error { return k.patch(id, auth.UserPatch{Disabled: auth.To(true)}) },
		"reset":   func(*identity.Caller) error { return k.patch(id, auth.UserPatch{Password: auth.To(good)}) },
	}
	for range 12 {
		for what, end := range revoke {
			token := k.login("ben@example.org", home)
			c, err := k.Authenticate(token)
			must(t, err)
			// Empty the cache for the user, so that the readers look the session up again while it ends.
			must(t, k.patch(id, auth.UserPatch{Roles: auth.To([]string{"a"})}))

			var ended atomic.Bool
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for {
						late := ended.Load()
						_, err := k.Authenticate(token)
						if late && err == nil {
							t.Errorf("%s: let in after it was answered", what)
						}
						if late {
							return
						}
					}
				})
			}
			must(t, end(c))
			ended.Store(true)
			wg.Wait()
			k.refused(token)
			must(t, k.patch(id, auth.UserPatch{Disabled: auth.To(false)}))
		}
	}
}

func (k *kit) patch(id string, p auth.UserPatch) error {
	_, err := k.PatchUser(k.t.Context(), local, id, p)
	return err
}

// A change of roles holds from the next request on, in sessions and API tokens that go on.
func TestRolesAtOnce(t *testing.T) {
	k := newKit(t)
	token := k.login2()
	api := k.token("ben@example.org")
	k.as(token)
	id := k.as(api.Token).ID
	must(t, k.patch(id, auth.UserPatch{Roles: auth.To([]string{identity.Admin}), Email: auth.To("benjamin@example.org")}))
	if c := k.as(token); !c.Manages() || c.Email != "benjamin@example.org" {
		t.Errorf("session: %+v", c)
	}
	if c := k.as(api.Token); !c.IsAdmin() || c.Manages() {
		t.Errorf("API token: %+v", c)
	}
	k.user("ada@example.org", identity.Admin)
	must(t, k.patch(id, auth.UserPatch{Roles: auth.To([]string(nil))}))
	if k.as(token).IsAdmin() || k.as(api.Token).IsAdmin() {
		t.Error("still an admin")
	}
}

func TestAuthenticateAllocates(t *testing.T) {
	k := newKit(t)
	token := k.login2()
	n := testing.AllocsPerRun(1000, func() {
		if _, err := k.Authenticate(token); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations to authenticate", n)
	}
}
