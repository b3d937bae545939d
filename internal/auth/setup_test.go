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

func TestSetup(t *testing.T) {
	k := newKit(t)
	token := k.SetupToken()
	if !strings.HasPrefix(token, "croft_setup_") || len(token) != len("croft_setup_")+43 {
		t.Fatalf("the setup token is %q", token)
	}
	k.restart()
	if k.SetupToken() != token {
		t.Fatal("the setup token changed with a restart")
	}
	setup := func(token, email, password string) (*auth.SignIn, error) {
		return k.Setup(t.Context(), auth.SetupIn{Token: token, Email: email, Password: password}, home)
	}
	_, err := setup("", "ada@example.org", good)
	wants(t, "no token", err, errs.Invalid, "/token required")
	_, err = setup(token[:len(token)-1]+"!", "ada@example.org", good)
	e := wants(t, "wrong token", err, errs.BadCredentials, "/token wrong")
	if strings.Contains(e.Error(), token[:20]) {
		t.Error("the error holds the token")
	}
	_, err = setup(token, "ada", "password")
	wants(t, "bad values", err, errs.Invalid, "/email invalid", "/password common")

	in, err := setup(token, " Ada@example.org ", good)
	must(t, err)
	c := k.as(in.Token)
	if !c.Manages() || c.Email != "Ada@example.org" || !c.Verified || c.ID != in.User.ID || c.Session == "" {
		t.Errorf("the first admin is %+v", c)
	}
	if k.SetupToken() != "" {
		t.Error("the setup token is still told")
	}
	_, err = setup(token, "eve@example.org", good)
	wants(t, "second setup", err, errs.Conflict)
	k.restart()
	if k.SetupToken() != "" {
		t.Error("after a restart there is a setup token again")
	}
	_, err = setup("", "eve@example.org", good)
	wants(t, "setup without a token when it is done", err, errs.Conflict)
}

func TestSetupByAHundred(t *testing.T) {
	k := newKit(t, func(o *auth.Options) { o.HashMemory = 1 << 20 }) // 128 at once: all reach the writer
	token := k.SetupToken()
	var won atomic.Int32
	var start, done sync.WaitGroup
	start.Add(1)
	for range 100 {
		done.Go(func() {
			start.Wait()
			_, err := k.Setup(t.Context(), auth.SetupIn{Token: token, Email: "ada@example.org", Password: good}, auth.Client{})
			if err == nil {
				won.Add(1)
				return
			}
			wants(t, "one who was late", err, errs.Conflict)
		})
	}
	start.Done()
	done.Wait()
	if won.Load() != 1 {
		t.Errorf("%d won, want 1", won.Load())
	}
	users, err := k.Users(t.Context(), local, auth.Page{})
	must(t, err)
	if len(users.Items) != 1 {
		t.Errorf("there are %d users, want 1", len(users.Items))
	}
}

// An admin made by the local operator ends the setup too; somebody else doesn't.
func TestSetupEndedByOperator(t *testing.T) {
	k := newKit(t)
	token := k.SetupToken()
	id := k.user("ben@example.org")
	if k.SetupToken() != token {
		t.Fatal("a user without the role admin ended the setup")
	}
	_, err := k.PatchUser(t.Context(), local, id, auth.UserPatch{Roles: auth.To([]string{identity.Admin})})
	must(t, err)
	if k.SetupToken() != "" {
		t.Error("the setup goes on although there is an admin")
	}
	_, err = k.Setup(t.Context(), auth.SetupIn{Token: token, Email: "eve@example.org", Password: good}, home)
	wants(t, "setup", err, errs.Conflict)
}

func TestSignup(t *testing.T) {
	k := newKit(t)
	admin := k.admin()
	signup := func(in auth.SignupIn) (*auth.SignIn, error) { return k.Signup(t.Context(), in, from("192.0.2.9")) }

	_, err := signup(auth.SignupIn{Email: "ben@example.org", Password: good})
	wants(t, "without an invite", err, errs.Forbidden)
	_, err = signup(auth.SignupIn{Email: "@", Password: "short", Name: strings.Repeat("n", 201), Invite: "x"})
	wants(t, "bad values", err, errs.Invalid, "/email invalid", "/name too_long", "/password too_short")
	_, err = signup(auth.SignupIn{Email: "ben@example.org", Password: good, Invite: "croft_i_no"})
	wants(t, "unknown invite", err, errs.Invalid, "/invite unknown")

	invite, err := k.CreateInvite(t.Context(), admin, auth.InviteIn{Roles: []string{"editor", "editor"}})
	must(t, err)
	if !invite.Expires.Equal(k.now().Add(7 * 24 * time.Hour)) {
		t.Errorf("an invite ends at %v", invite.Expires)
	}
	_, err = signup(auth.SignupIn{Email: "ADA@example.org", Password: good, Invite: invite.Token})
	wants(t, "address taken", err, errs.Conflict, "/email taken")
	in, err := signup(auth.SignupIn{Email: "ben@example.org", Password: good, Name: " Ben ", Invite: invite.Token})
	must(t, err)
	c := k.as(in.Token)
	if in.User.Name != "Ben" || c.Verified || len(c.Roles) != 1 || c.Roles[0] != "editor" {
		t.Errorf("who was invited is %+v, %+v", in.User, c)
	}
	_, err = signup(auth.SignupIn{Email: "eve@example.org", Password: good, Invite: invite.Token})
	wants(t, "invite used twice", err, errs.Invalid, "/invite unknown")

	k.pass(time.Hour)
	invite, err = k.CreateInvite(t.Context(), admin, auth.InviteIn{Email: "cy@example.org"})
	must(t, err)
	_, err = signup(auth.SignupIn{Email: "eve@example.org", Password: good, Invite: invite.Token})
	wants(t, "invite of someone else", err, errs.Invalid, "/email not_invited")
	k.pass(8 * 24 * time.Hour)
	_, err = signup(auth.SignupIn{Email: "cy@example.org", Password: good, Invite: invite.Token})
	wants(t, "invite that ended", err, errs.Invalid, "/invite unknown")
	list, err := k.Invites(t.Context(), local)
	must(t, err)
	if len(list.Items) != 0 {
		t.Errorf("invites that ended are listed: %v", list.Items)
	}
	must(t, k.Sweep(t.Context()))

	_, err = k.settings.Patch(t.Context(), local, []byte(`{"signup":"open"}`))
	must(t, err)
	_, err = signup(auth.SignupIn{Email: "dan@example.org", Password: good})
	must(t, err)
	_, err = signup(auth.SignupIn{Email: "Dan@example.org", Password: good})
	wants(t, "address taken in open signup", err, errs.Conflict, "/email taken")
}

func TestInviteByMany(t *testing.T) {
	k := newKit(t, func(o *auth.Options) { o.HashMemory = 1 << 20 })
	invite, err := k.CreateInvite(t.Context(), local, auth.InviteIn{})
	must(t, err)
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			in := auth.SignupIn{Email: string(rune('a'+i)) + "@example.org", Password: good, Invite: invite.Token}
			if _, err := k.Signup(t.Context(), in, auth.Client{}); err == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d used one invite", won.Load())
	}
}

func TestInvites(t *testing.T) {
	k := newKit(t)
	admin := k.admin()
	at := func(d time.Duration) *auth.Time { return &auth.Time{Time: k.now().Add(d)} }
	_, err := k.CreateInvite(t.Context(), admin, auth.InviteIn{Email: "x", Roles: []string{"ok", "No"}, Expires: at(-time.Second)})
	wants(t, "bad values", err, errs.Invalid, "/roles/1 invalid", "/email invalid", "/expires out_of_range")
	_, err = k.CreateInvite(t.Context(), admin, auth.InviteIn{Expires: at(91 * 24 * time.Hour)})
	wants(t, "too long", err, errs.Invalid, "/expires out_of_range")
	_, err = k.CreateInvite(t.Context(), admin, auth.InviteIn{Email: "ada@example.org"})
	wants(t, "has an account", err, errs.Conflict, "/email taken")

	first, err := k.CreateInvite(t.Context(), admin, auth.InviteIn{Expires: at(time.Hour)})
	must(t, err)
	second, err := k.CreateInvite(t.Context(), local, auth.InviteIn{})
	must(t, err)
	list, err := k.Invites(t.Context(), admin)
	must(t, err)
	if len(list.Items) != 2 || list.Items[0].ID != first.ID || list.Items[0].CreatedBy != admin.ID || list.Items[1].CreatedBy != "" {
		t.Errorf("invites: %+v", list.Items)
	}
	must(t, k.RevokeInvite(t.Context(), admin, second.ID))
	wants(t, "revoked twice", k.RevokeInvite(t.Context(), admin, second.ID), errs.NotFound)
	wants(t, "no id", k.RevokeInvite(t.Context(), admin, ""), errs.NotFound)
	_, err = k.Signup(t.Context(), auth.SignupIn{Email: "eve@example.org", Password: good, Invite: second.Token}, home)
	wants(t, "withdrawn", err, errs.Invalid, "/invite unknown")

	// The invites of an admin end with their being one.
	k.user("ben@example.org", identity.Admin)
	_, err = k.PatchUser(t.Context(), local, admin.ID, auth.UserPatch{Roles: auth.To([]string{})})
	must(t, err)
	_, err = k.Signup(t.Context(), auth.SignupIn{Email: "eve@example.org", Password: good, Invite: first.Token}, home)
	wants(t, "of one who is no admin", err, errs.Invalid, "/invite unknown")
}
