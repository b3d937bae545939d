package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"croft/internal/auth"
	"croft/internal/errs"
)

func TestLogin(t *testing.T) {
	k := newKit(t)
	k.user("Ben@Example.org", "editor")
	login := func(email, password string) (*auth.SignIn, error) {
		return k.Login(t.Context(), auth.LoginIn{Email: email, Password: password}, home)
	}
	_, err := login(" ", "")
	wants(t, "nothing", err, errs.Invalid, "/email required", "/password required")

	// Whoever doesn't exist is told the same after the same work as whoever has another password.
	before := k.Hashes()
	_, wrong := login("ben@example.org", better)
	_, unknown := login("eve@example.org", better)
	_, long := login("ben@example.org", strings.Repeat("x", 257))
	_, strange := login(strings.Repeat("x", 1000), better)
	for what, err := range map[string]error{"wrong": wrong, "unknown": unknown, "too long": long, "strange": strange} {
		wants(t, what, err, errs.BadCredentials)
		if err.Error() != wrong.Error() {
			t.Errorf("%s: %v; %v", what, err, wrong)
		}
	}
	if n := k.Hashes() - before; n != 4 {
		t.Errorf("4 failed logins took %d hashes", n)
	}

	in, err := login(" bEN@example.ORG ", good)
	must(t, err)
	if in.User.Email != "Ben@Example.org" || !in.Expires.Equal(k.now().Add(365*24*time.Hour)) || !strings.HasPrefix(in.Token, "croft_s_") {
		t.Errorf("signed in: %+v", in)
	}
	if c := k.as(in.Token); c.ID != in.User.ID || c.IsAdmin() || c.Session == "" || c.Roles[0] != "editor" {
		t.Errorf("the caller is %+v", c)
	}
}

func TestMalformedTokens(t *testing.T) {
	k := newKit(t)
	token := k.login2()
	for _, bad := range []string{"", "x", "croft_s_", token + "A", token[:len(token)-1], token[:len(token)-1] + "=", token[:20] + " " + token[21:],
		strings.Replace(token, "croft_s_", "croft_t_", 1), strings.Replace(token, "croft_s_", "croft_i_", 1), k.SetupToken(),
		strings.ToUpper(token), strings.Repeat("x", 100_000), "croft_s_" + strings.Repeat("A", 43)} {
		_, err := k.Authenticate(bad)
		e := wants(t, bad[:min(len(bad), 60)], err, errs.Unauthenticated)
		if len(bad) > 20 && strings.Contains(e.Error(), bad) {
			t.Errorf("the error holds the token")
		}
	}
	k.as(token)
}

// login2 makes a user and signs them in.
func (k *kit) login2() string {
	k.t.Helper()
	k.user("ben@example.org")
	return k.login("ben@example.org", home)
}

func TestDisabled(t *testing.T) {
	k := newKit(t)
	admin := k.admin()
	token := k.login2()
	api := k.token("ben@example.org")
	id := k.as(token).ID
	k.as(api.Token)

	_, err := k.PatchUser(t.Context(), admin, id, auth.UserPatch{Disabled: auth.To(true)})
	must(t, err)
	k.refused(token)
	k.refused(api.Token)
	_, err = k.Login(t.Context(), auth.LoginIn{Email: "ben@example.org", Password: good}, home)
	wants(t, "disabled", err, errs.Forbidden)
	_, err = k.Login(t.Context(), auth.LoginIn{Email: "ben@example.org", Password: better}, home)
	wants(t, "disabled, with a wrong password", err, errs.BadCredentials)

	_, err = k.PatchUser(t.Context(), admin, id, auth.UserPatch{Disabled: auth.To(false)})
	must(t, err)
	k.refused(token) // sessions have ended for good
	k.as(api.Token)  // API tokens were only stopped
}

func TestRehash(t *testing.T) {
	k := newKit(t)
	k.user("ben@example.org")
	k.options.Params = &argon2id.Params{Memory: 16, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	k.restart()
	for _, want := range []int64{2, 1} { // verify and hash anew, then only verify
		before := k.Hashes()
		k.login("ben@example.org", home)
		if n := k.Hashes() - before; n != want {
			t.Errorf("a login took %d hashes, want %d", n, want)
		}
	}
}

func TestThrottleAccount(t *testing.T) {
	k := newKit(t)
	k.admin()
	k.user("ben@example.org")
	k.login("ben@example.org", home)
	n := byte(0)
	try := func(email, password string) error {
		n++ // each time from elsewhere, so that only the account counts
		_, err := k.Login(t.Context(), auth.LoginIn{Email: email, Password: password}, auth.Client{Addr: netip.AddrFrom4([4]byte{198, 51, 100, n})})
		return err
	}
	for _, email := range []string{"ben@example.org", "nobody@example.org"} {
		for range 5 {
			wants(t, "first failures", try(email, better), errs.BadCredentials)
		}
		for _, wait := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300} {
			before := k.Hashes()
			e := wants(t, "too soon, with the right password", try(email, good), errs.TooMany)
			if e.RetryAfter != wait*time.Second {
				t.Errorf("wait %v, want %v s", e.RetryAfter, wait)
			}
			if k.Hashes() != before {
				t.Error("an attempt that was throttled cost a hash")
			}
			k.pass(wait * time.Second)
			wants(t, "after the wait", try(email, better), errs.BadCredentials)
		}
	}
	for range 6 {
		_ = try("ben@example.org", better)
		_ = try("ada@example.org", better)
	}
	wants(t, "the admin from elsewhere", try("ada@example.org", good), errs.TooMany)
	k.login("ada@example.org", home) // where the server was set up
	// Where the owner signed in before, guesses from elsewhere don't hold them up.
	wants(t, "from elsewhere", try("BEN@example.org", good), errs.TooMany)
	wants(t, "at home, wrong", func() error {
		_, err := k.Login(t.Context(), auth.LoginIn{Email: "ben@example.org", Password: better}, home)
		return err
	}(), errs.BadCredentials)
	k.login("ben@example.org", home)
	must(t, try("ben@example.org", good)) // and the owner's login lets the account start anew

	// Otherwise time does, or an admin.
	for range 6 {
		_ = try("ben@example.org", better)
	}
	wants(t, "again", try("ben@example.org", good), errs.TooMany)
	k.pass(15 * time.Minute)
	must(t, try("ben@example.org", good))
	for range 6 {
		_ = try("ben@example.org", better)
	}
	users, err := k.Users(t.Context(), local, auth.Page{})
	must(t, err)
	_, err = k.PatchUser(t.Context(), local, users.Items[1].ID, auth.UserPatch{Disabled: auth.To(false)})
	must(t, err)
	must(t, try("ben@example.org", good))
}

func TestThrottleNetwork(t *testing.T) {
	k := newKit(t)
	k.user("ben@example.org")
	invite, err := k.CreateInvite(t.Context(), local, auth.InviteIn{})
	must(t, err)
	n := 0
	login := func(addr, email, password string) error {
		_, err := k.Login(t.Context(), auth.LoginIn{Email: email, Password: password}, from(addr))
		return err
	}
	for _, machine := range [][]string{{"192.0.2.7", "::ffff:192.0.2.7"}, {"2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::9"}} {
		for i := range 20 {
			n++
			wants(t, "failure", login(machine[i%len(machine)], fmt.Sprintf("%d@example.org", n), better), errs.BadCredentials)
		}
		for _, addr := range machine {
			e := wants(t, "too many from one network", login(addr, "ben@example.org", good), errs.TooMany)
			if e.RetryAfter != time.Second {
				t.Errorf("wait %v", e.RetryAfter)
			}
			_, err := k.Setup(t.Context(), auth.SetupIn{Token: k.SetupToken(), Email: "ada@example.org", Password: good}, from(addr))
			wants(t, "setup", err, errs.TooMany)
			_, err = k.Signup(t.Context(), auth.SignupIn{Invite: invite.Token, Email: "cy@example.org", Password: good}, from(addr))
			wants(t, "signup", err, errs.TooMany)
		}
	}
	must(t, login("2001:db8:0:1::1", "ben@example.org", good))
	must(t, login("192.0.2.8", "ben@example.org", good))
	k.pass(time.Second)
	must(t, login("192.0.2.7", "ben@example.org", good))

	// Guessing setup tokens and invites counts too, and so does each open signup.
	k.pass(time.Hour)
	for range 10 {
		_, err := k.Setup(t.Context(), auth.SetupIn{Token: "croft_setup_x"}, from("192.0.2.7"))
		wants(t, "setup", err, errs.BadCredentials, "/token wrong")
		_, err = k.Signup(t.Context(), auth.SignupIn{Invite: "croft_i_x", Email: "cy@example.org", Password: good}, from("192.0.2.7"))
		wants(t, "signup", err, errs.Invalid, "/invite unknown")
	}
	wants(t, "after guessing tokens", login("192.0.2.7", "ben@example.org", good), errs.TooMany)
	_, err = k.settings.Patch(t.Context(), local, []byte(`{"signup":"open"}`))
	must(t, err)
	for i := range 21 {
		_, err := k.Signup(t.Context(), auth.SignupIn{Email: fmt.Sprintf("new%d@example.org", i), Password: good}, from("192.0.2.44"))
		if i < 20 {
			must(t, err)
		} else {
			wants(t, "the 21st account from one address", err, errs.TooMany)
		}
	}
}

// Attempts that wait for memory while others fail don't all get their guess.
func TestThrottleAtOnce(t *testing.T) {
	k := newKit(t, func(o *auth.Options) { o.HashMemory = 16 << 10 }) // two at once
	k.user("ben@example.org")
	before := k.Hashes()
	var wg sync.WaitGroup
	for i := range 15 {
		wg.Go(func() {
			addr := netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
			_, err := k.Login(t.Context(), auth.LoginIn{Email: "ben@example.org", Password: better}, auth.Client{Addr: addr})
			if err == nil {
				t.Error("a wrong password signed in")
			}
		})
	}
	wg.Wait()
	if n := k.Hashes() - before; n > 6 { // 5, and one that ran beside the fifth
		t.Errorf("%d guesses at once, want 6 at most", n)
	}
}

// The memory of a throttle is bounded.
func TestThrottleForgets(t *testing.T) {
	k := newKit(t)
	for i := range 11_000 {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		_, err := k.Setup(t.Context(), auth.SetupIn{Token: "croft_setup_x"}, auth.Client{Addr: addr})
		wants(t, "setup", err, errs.BadCredentials, "/token wrong")
	}
	if n := k.Throttled(); n != 10_000 {
		t.Errorf("%d networks are remembered", n)
	}
}

func TestHashMemory(t *testing.T) {
	k := newKit(t, func(o *auth.Options) { o.Params, o.HashMemory = nil, 40<<20 })
	if k.HashSlots() != 2 {
		t.Fatalf("%d hashes of 19 MiB at once in 40 MiB, want 2", k.HashSlots())
	}
	k.options.HashMemory = 1
	k.restart()
	if k.HashSlots() != 1 {
		t.Fatalf("%d hashes at once, want 1", k.HashSlots())
	}

	release, err := k.HoldHash(t.Context())
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	login := func() error {
		_, err := k.Login(ctx, auth.LoginIn{Email: "ben@example.org", Password: good}, auth.Client{})
		return err
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := login(); !errors.Is(err, context.Canceled) {
				t.Errorf("one that waited: %v", err)
			}
		})
	}
	for k.HashesWaiting() < 16 {
		runtime.Gosched() // until all of them wait, however long that takes
	}
	e := wants(t, "one too many", login(), errs.Busy)
	if e.RetryAfter <= 0 {
		t.Error("it is not told when to try again")
	}
	if k.Hashes() != 0 {
		t.Errorf("%d hashes ran", k.Hashes())
	}
	cancel()
	wg.Wait()
	release()
	ctx = t.Context()
	wants(t, "when there is memory", login(), errs.BadCredentials)
}

func TestChangePassword(t *testing.T) {
	k := newKit(t)
	other := k.login2()
	api := k.token("ben@example.org")
	token := k.login("ben@example.org", from("192.0.2.2"))
	c := k.as(token)
	change := func(current, new string) error {
		return k.ChangePassword(t.Context(), c, auth.PasswordIn{Current: current, New: new}, from("192.0.2.2"))
	}
	wants(t, "nothing", change("", ""), errs.Invalid, "/current required", "/new required")
	wants(t, "the same", change(good, good), errs.Invalid, "/new unchanged")
	wants(t, "common", change(good, "12345678"), errs.Invalid, "/new common")
	wants(t, "wrong", change(better, "quite another one"), errs.Invalid, "/current wrong")
	wants(t, "by an API token", k.ChangePassword(t.Context(), k.as(api.Token), auth.PasswordIn{Current: good, New: better}, home), errs.Forbidden)
	wants(t, "by the operator", k.ChangePassword(t.Context(), local, auth.PasswordIn{Current: good, New: better}, home), errs.Forbidden)
	k.as(other)
	must(t, change(good, better))
	k.as(token)
	k.as(api.Token)
	k.refused(other)
	_, err := k.Login(t.Context(), auth.LoginIn{Email: "ben@example.org", Password: good}, home)
	wants(t, "old password", err, errs.BadCredentials)
	_, err = k.Login(t.Context(), auth.LoginIn{Email: "ben@example.org", Password: better}, home)
	must(t, err)

	// Whoever holds a session can't guess the password through it.
	for range 5 {
		wants(t, "guess", change("x", "quite another one"), errs.Invalid, "/current wrong")
	}
	wants(t, "sixth guess", change(better, "quite another one"), errs.TooMany)
}
