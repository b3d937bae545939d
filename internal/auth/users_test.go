package auth_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"croft/internal/auth"
	"croft/internal/errs"
	"croft/internal/identity"
)

func TestUsers(t *testing.T) {
	k := newKit(t)
	admin := k.admin()
	_, err := k.CreateUser(t.Context(), admin, auth.UserIn{Email: strings.Repeat("a", 251) + "@b.c", Name: "a\nb", Roles: []string{"x", "1"}})
	wants(t, "bad values", err, errs.Invalid, "/email too_long", "/name invalid", "/roles/1 invalid", "/password required")
	for _, email := range []string{"a", "@", "a@", "@b", "a@b@c", "a b@c", "a@b\tc", "a\x00@b", "a@\u200bb", "\xff@b", "a@b\u2028"} {
		_, err := k.CreateUser(t.Context(), admin, auth.UserIn{Email: email, Password: good})
		if strings.HasSuffix(email, "\u2028") { // space around it is trimmed
			must(t, err)
			continue
		}
		wants(t, email, err, errs.Invalid, "/email invalid")
	}
	ben, err := k.CreateUser(t.Context(), admin, auth.UserIn{Email: "Ben@example.org", Name: "Ben", Roles: []string{"z", "a", "z"}, Password: good})
	must(t, err)
	if len(ben.Roles) != 2 || ben.Roles[0] != "a" || ben.Verified {
		t.Errorf("made: %+v", ben)
	}
	_, err = k.CreateUser(t.Context(), admin, auth.UserIn{Email: "bEN@example.org", Password: good})
	wants(t, "taken", err, errs.Conflict, "/email taken")

	k.pass(1000)
	patched, err := k.PatchUser(t.Context(), admin, ben.ID, auth.UserPatch{Email: auth.To("BEN@example.org"), Name: auth.To("")})
	must(t, err)
	if patched.Email != "BEN@example.org" || patched.Name != "" || len(patched.Roles) != 2 {
		t.Errorf("changed: %+v", patched)
	}
	_, err = k.PatchUser(t.Context(), admin, ben.ID, auth.UserPatch{Email: auth.To("ADA@example.org")})
	wants(t, "taken by a change", err, errs.Conflict, "/email taken")
	_, err = k.PatchUser(t.Context(), admin, ben.ID, auth.UserPatch{Email: auth.To("x"), Roles: auth.To([]string{"No"}), Password: auth.To("x")})
	wants(t, "bad change", err, errs.Invalid, "/email invalid", "/roles/0 invalid", "/password too_short")
	got, err := k.User(t.Context(), admin, ben.ID)
	must(t, err)
	if got.Email != "BEN@example.org" {
		t.Errorf("a change that was refused left %+v", got)
	}
	_, err = k.PatchUser(t.Context(), admin, ben.ID, auth.UserPatch{Email: auth.To("benjamin@example.org")})
	must(t, err)
	k.user("ben@example.org") // the old address is free
	for _, id := range []string{"", "x", strings.Repeat("0", 36), strings.Repeat("x", 40_000)} {
		_, err := k.User(t.Context(), admin, id)
		wants(t, "unknown", err, errs.NotFound)
		_, err = k.PatchUser(t.Context(), admin, id, auth.UserPatch{Password: auth.To(good)})
		wants(t, "unknown", err, errs.NotFound)
		wants(t, "unknown", k.DeleteUser(t.Context(), admin, id), errs.NotFound)
	}
}

func TestUserPages(t *testing.T) {
	k := newKit(t)
	want := map[string]bool{}
	for _, name := range strings.Split("abcdefghijk", "") {
		want[k.user(name+"@example.org")] = true
	}
	var last string
	page := auth.Page{Limit: 3}
	for pages := 1; ; pages++ {
		p, err := k.Users(t.Context(), local, page)
		must(t, err)
		for _, u := range p.Items {
			if !want[u.ID] || u.ID <= last {
				t.Errorf("page %d has %s after %s", pages, u.ID, last)
			}
			delete(want, u.ID)
			last = u.ID
		}
		if p.Next == nil {
			break
		}
		page.Cursor = *p.Next
	}
	if len(want) != 0 {
		t.Errorf("not listed: %v", want)
	}
	for _, limit := range []int{-1, 501} {
		_, err := k.Users(t.Context(), local, auth.Page{Limit: limit})
		wants(t, "limit", err, errs.Invalid, "/limit out_of_range")
	}
	_, err := k.Users(t.Context(), local, auth.Page{Cursor: "x"})
	wants(t, "cursor", err, errs.BadCursor)
}

func TestPasswordReset(t *testing.T) {
	k := newKit(t)
	admin := k.admin()
	token := k.login2()
	api := k.token("ben@example.org")
	_, err := k.PatchUser(t.Context(), admin, k.as(token).ID, auth.UserPatch{Password: auth.To(better)})
	must(t, err)
	k.refused(token)
	k.as(api.Token)
	_, err = k.Login(t.Context(), auth.LoginIn{Email: "ben@example.org", Password: better}, home)
	must(t, err)
}

func TestDeleteUser(t *testing.T) {
	k := newKit(t)
	k.admin()
	id := k.user("ben@example.org", identity.Admin)
	token := k.login("ben@example.org", home)
	api := k.token("ben@example.org")
	c := k.as(token)
	k.as(api.Token)
	invite, err := k.CreateInvite(t.Context(), c, auth.InviteIn{})
	must(t, err)
	must(t, k.DeleteUser(t.Context(), local, id))
	k.refused(token)
	k.refused(api.Token)
	_, err = k.Signup(t.Context(), auth.SignupIn{Email: "eve@example.org", Password: good, Invite: invite.Token}, home)
	wants(t, "an invite of theirs", err, errs.Invalid, "/invite unknown")
	_, err = k.User(t.Context(), c, id)
	wants(t, "what they still try", err, errs.Unauthenticated)
	k.user("ben@example.org")
	if n := k.Keys(); n != 8 { // two users and addresses, one admin, one session of theirs in two keys, the setup
		t.Errorf("%d keys are left", n)
	}
}

func TestWhoMay(t *testing.T) {
	k := newKit(t)
	k.admin()
	user := k.as(k.login2())
	k.user("cy@example.org", identity.Admin)
	adminToken := k.as(k.token("cy@example.org").Token)
	id := user.ID
	calls := map[string]func(c *identity.Caller) error{
		"list users": func(c *identity.Caller) error { _, err := k.Users(t.Context(), c, auth.Page{}); return err },
		"get user":   func(c *identity.Caller) error { _, err := k.User(t.Context(), c, id); return err },
		"caller":     func(c *identity.Caller) error { _, err := k.Caller(t.Context(), c, id); return err },
		"make user":  func(c *identity.Caller) error { _, err := k.CreateUser(t.Context(), c, auth.UserIn{}); return err },
		"change user": func(c *identity.Caller) error {
			_, err := k.PatchUser(t.Context(), c, id, auth.UserPatch{})
			return err
		},
		"delete user": func(c *identity.Caller) error { return k.DeleteUser(t.Context(), c, "x") },
		"invites":     func(c *identity.Caller) error { _, err := k.Invites(t.Context(), c); return err },
		"invite":      func(c *identity.Caller) error { _, err := k.CreateInvite(t.Context(), c, auth.InviteIn{}); return err },
		"withdraw":    func(c *identity.Caller) error { return k.RevokeInvite(t.Context(), c, "x") },
	}
	for what, call := range calls {
		wants(t, what+" as nobody", call(&identity.Caller{}), errs.Unauthenticated)
		wants(t, what+" as a user", call(user), errs.Forbidden)
		wants(t, what+" by an admin's API token", call(adminToken), errs.Forbidden)
		var e *errs.Error
		if err := call(local); errors.As(err, &e) && e.Code != errs.NotFound && e.Code != errs.Invalid {
			t.Errorf("%s as the operator: %v", what, err)
		}
	}
	own := map[string]func(c *identity.Caller) error{
		"me":       func(c *identity.Caller) error { _, err := k.Me(t.Context(), c); return err },
		"patch me": func(c *identity.Caller) error { _, err := k.PatchMe(t.Context(), c, auth.MePatch{}); return err },
		"password": func(c *identity.Caller) error { return k.ChangePassword(t.Context(), c, auth.PasswordIn{}, home) },
		"sessions": func(c *identity.Caller) error { _, err := k.Sessions(t.Context(), c); return err },
		"end":      func(c *identity.Caller) error { return k.EndSession(t.Context(), c, "x") },
		"tokens":   func(c *identity.Caller) error { _, err := k.Tokens(t.Context(), c); return err },
		"token":    func(c *identity.Caller) error { _, err := k.CreateToken(t.Context(), c, auth.TokenIn{}); return err },
		"revoke":   func(c *identity.Caller) error { return k.RevokeToken(t.Context(), c, "x") },
	}
	for what, call := range own {
		wants(t, what+" as nobody", call(&identity.Caller{}), errs.Unauthenticated)
		if what != "me" { // a program may ask who it is
			wants(t, what+" by an API token", call(adminToken), errs.Forbidden)
		}
	}
	me, err := k.PatchMe(t.Context(), user, auth.MePatch{Name: auth.To("Ben")})
	must(t, err)
	if again, err := k.Me(t.Context(), user); err != nil || again.Name != "Ben" || me.Name != "Ben" {
		t.Errorf("me: %+v, %+v, %v", me, again, err)
	}
	_, err = k.PatchMe(t.Context(), user, auth.MePatch{Name: auth.To("a\x00")})
	wants(t, "bad name", err, errs.Invalid, "/name invalid")
}

func TestLastAdmin(t *testing.T) {
	k := newKit(t)
	ada := k.admin()
	tries := map[string]func(c *identity.Caller) error{
		"demote": func(c *identity.Caller) error {
			_, err := k.PatchUser(t.Context(), c, ada.ID, auth.UserPatch{Roles: auth.To([]string{"x"})})
			return err
		},
		"disable": func(c *identity.Caller) error {
			_, err := k.PatchUser(t.Context(), c, ada.ID, auth.UserPatch{Disabled: auth.To(true)})
			return err
		},
		"delete": func(c *identity.Caller) error { return k.DeleteUser(t.Context(), c, ada.ID) },
	}
	// A disabled admin, and one who is no longer one, don't count.
	disabled := k.user("ben@example.org", identity.Admin)
	_, err := k.PatchUser(t.Context(), ada, disabled, auth.UserPatch{Disabled: auth.To(true)})
	must(t, err)
	former := k.user("cy@example.org", identity.Admin)
	_, err = k.PatchUser(t.Context(), ada, former, auth.UserPatch{Roles: auth.To([]string{})})
	must(t, err)
	for what, try := range tries {
		wants(t, what+" by an admin", try(ada), errs.LastAdmin)
		wants(t, what+" by the operator", try(local), errs.LastAdmin)
	}
	if !k.as(k.login("ada@example.org", home)).Manages() {
		t.Error("the last admin is no admin any more")
	}
	_, err = k.PatchUser(t.Context(), local, disabled, auth.UserPatch{Disabled: auth.To(false)})
	must(t, err)
	must(t, tries["delete"](ada))
}

// Two admins who demote, disable or delete each other at once: one of them remains.
func TestAdminsAgainstEachOther(t *testing.T) {
	k := newKit(t)
	for round := range 30 {
		names := [2]string{"ada@example.org", "ben@example.org"}
		var ids [2]string
		var callers [2]*identity.Caller
		for i, name := range names {
			ids[i] = k.user(name, identity.Admin)
			callers[i] = k.as(k.login(name, home))
		}
		if round > 0 {
			users, err := k.Users(t.Context(), local, auth.Page{})
			must(t, err)
			must(t, k.DeleteUser(t.Context(), local, users.Items[0].ID))
		}
		end := []func(c *identity.Caller, id string) error{
			func(c *identity.Caller, id string) error {
				_, err := k.PatchUser(t.Context(), c, id, auth.UserPatch{Roles: auth.To([]string{})})
				return err
			},
			func(c *identity.Caller, id string) error {
				_, err := k.PatchUser(t.Context(), c, id, auth.UserPatch{Disabled: auth.To(true)})
				return err
			},
			func(c *identity.Caller, id string) error { return k.DeleteUser(t.Context(), c, id) },
		}[round%3]
		var errors [2]error
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() { errors[i] = end(callers[i], ids[1-i]) })
		}
		wg.Wait()
		if (errors[0] == nil) == (errors[1] == nil) {
			t.Fatalf("round %d: %v, %v", round, errors[0], errors[1])
		}
		// Rename who remains, so that the next round's names are free, and remove the other.
		users, err := k.Users(t.Context(), local, auth.Page{})
		must(t, err)
		admins := 0
		for _, u := range users.Items {
			if c, err := k.Caller(t.Context(), local, u.ID); err == nil && c.IsAdmin() && !u.Disabled {
				admins++
				must(t, k.patch(u.ID, auth.UserPatch{Email: auth.To("remains@example.org")}))
			} else {
				must(t, k.DeleteUser(t.Context(), local, u.ID))
			}
		}
		if admins != 1 {
			t.Fatalf("round %d: %d admins remain", round, admins)
		}
	}
}
