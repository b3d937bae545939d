package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"croft/internal/app/apptest"
)

func TestCookies(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", `{"access":{"read":"has(auth.id)","create":"has(auth.id)"}}`)
	body := fmt.Sprintf(`{"email":%q,"password":%q,"cookie":true}`, apptest.AdminEmail, apptest.AdminPassword)
	own := s.Client().With("Origin", s.URL)

	s.Client().Do("POST", "/api/v1/auth/login", body).Want(t, 403)                                                       // says nothing of where it comes from
	s.Client().With("Origin", "https://evil.example").Do("POST", "/api/v1/auth/login", body).Want(t, 403)                // elsewhere
	s.Client().With("Sec-Fetch-Site", "same-site").Do("POST", "/api/v1/auth/login", body).Want(t, 403)                   // a neighbour
	own.With("Host", "raspberry").With("Origin", "http://raspberry").Do("POST", "/api/v1/auth/login", body).Want(t, 422) // can't come back
	s.Local().Do("POST", "/api/v1/auth/login", body).Want(t, 422)

	r := own.Do("POST", "/api/v1/auth/login", body).Want(t, 200)
	if strings.Contains(string(r.Body), "croft_s_") || strings.Contains(string(r.Body), `"token"`) {
		t.Errorf("the answer holds the token as well: %s", r.Body)
	}
	cookies := (&http.Response{Header: r.Header}).Cookies()
	if len(cookies) != 1 {
		t.Fatalf("cookies: %v", cookies)
	}
	c := cookies[0]
	if c.Name != "__Host-croft" || !c.HttpOnly || !c.Secure || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode || c.Expires.IsZero() {
		t.Errorf("the cookie: %s", r.Header.Get("Set-Cookie"))
	}
	signedIn := s.Client().With("Cookie", "other=1; "+c.Name+"="+c.Value)
	if got := signedIn.Do("GET", "/api/v1/auth/me", nil).Want(t, 200).String("email"); got != apptest.AdminEmail {
		t.Errorf("signed in as %s", got)
	}

	// What changes something must come from this server's own pages, and be JSON.
	const notes = "/api/v1/records/notes"
	for _, from := range []*apptest.Client{
		signedIn,
		signedIn.With("Origin", "https://evil.example"),
		signedIn.With("Origin", "null"),
		signedIn.With("Sec-Fetch-Site", "cross-site"),
		signedIn.With("Sec-Fetch-Site", "same-site"),
		signedIn.With("Sec-Fetch-Site", "cross-site").With("Origin", s.URL),
	} {
		if code := from.Do("POST", notes, `{}`).Want(t, 403).Code(); code != "forbidden" {
			t.Errorf("code %s", code)
		}
	}
	signedIn.With("Origin", s.URL).With("Content-Type", "text/plain").Do("POST", notes, `{}`).Want(t, 415)
	signedIn.With("Origin", s.URL).Do("POST", notes, `{}`).Want(t, 201)
	signedIn.With("Sec-Fetch-Site", "same-origin").Do("POST", notes, `{}`).Want(t, 201)

	// An Authorization header wins over the cookie, whichever is worth more.
	user := s.NewUser("alice@example.com")
	if got := signedIn.With("Authorization", "Bearer "+user.Token).Do("GET", "/api/v1/auth/me", nil).Want(t, 200).String("id"); got != user.ID {
		t.Error("the cookie won over the Authorization header")
	}
	signedIn.With("Authorization", "Bearer croft_s_nonsense").Do("GET", "/api/v1/auth/me", nil).Want(t, 401)
	signedIn.With("Authorization", "Bearer "+user.Token).Do("POST", notes, `{}`).Want(t, 201) // and needs no origin

	// Signing out takes the cookie away; one that is worth nothing does not keep anybody from signing in.
	r = signedIn.With("Origin", s.URL).Do("POST", "/api/v1/auth/logout", nil).Want(t, 204)
	wantCleared(t, r)
	r = signedIn.Do("GET", "/api/v1/auth/me", nil).Want(t, 401)
	wantCleared(t, r)
	own.With("Cookie", c.Name+"="+c.Value).Do("POST", "/api/v1/auth/login", body).Want(t, 200)
}

func wantCleared(t *testing.T, r *apptest.Response) {
	t.Helper()
	cookies := (&http.Response{Header: r.Header}).Cookies()
	if len(cookies) != 1 || cookies[0].Name != "__Host-croft" || cookies[0].MaxAge >= 0 || cookies[0].Value != "" {
		t.Errorf("the cookie is not taken away: %q", r.Header.Get("Set-Cookie"))
	}
}

func TestAuthorizationHeader(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", open)
	user := s.NewUser("alice@example.com")
	for _, value := range []string{"Bearer " + user.Token, "bearer " + user.Token, "BEARER   " + user.Token} {
		s.Client().With("Authorization", value).Do("GET", "/api/v1/auth/me", nil).Want(t, 200)
	}
	// Never taken for nobody, even where nobody may read.
	for _, value := range []string{"Bearer", "Bearer  ", "Basic x", user.Token, "Bearer " + user.Token + " x", "Bearer " + user.Token + ",", "Bearer " + user.Token + "x", "x"} {
		s.Client().With("Authorization", value).Do("GET", "/api/v1/records/notes", nil).Want(t, 401)
	}
	s.Client().Do("GET", "/api/v1/records/notes", nil).Want(t, 200)
	s.Local().With("Authorization", "Bearer nonsense").Do("GET", "/api/v1/users", nil).Want(t, 401)
	s.Local().With("Authorization", "Bearer "+user.Token).Do("GET", "/api/v1/users", nil).Want(t, 403)
}

// TestLogHoldsNoSecrets goes through a session that makes every kind of secret, well and badly, and looks for them in the log.
func TestLogHoldsNoSecrets(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", open)
	user := s.NewUser("alice@example.com")
	const newPassword = "quarry-under-rain-88"
	secrets := []string{s.SetupToken, apptest.AdminPassword, user.Password, user.Token, newPassword, "hidden-in-the-query", "hidden-in-the-body", "wrong-password-7712"}

	api := user.Do("POST", "/api/v1/auth/tokens", `{"name":"t","scopes":[{"collection":"notes","actions":["read"]}]}`).Want(t, 201).String("token")
	invite := s.Admin().Do("POST", "/api/v1/invites", `{}`).Want(t, 201).String("token")
	signup := s.Client().Do("POST", "/api/v1/auth/signup", fmt.Sprintf(`{"email":"bob@example.com","password":"orchard-in-winter-51","invite":%q}`, invite)).Want(t, 200).String("token")
	cookie := s.Client().With("Origin", s.URL).Do("POST", "/api/v1/auth/login",
		`{"email":"bob@example.com","password":"orchard-in-winter-51","cookie":true}`).Want(t, 200).Header.Get("Set-Cookie")
	_, value, _ := strings.Cut(cookie, "=")
	value, _, _ = strings.Cut(value, ";")
	secrets = append(secrets, api, invite, signup, value, "orchard-in-winter-51")

	s.As(api).Do("GET", "/api/v1/records/notes?filter="+"text%3D%3D%22hidden-in-the-query%22", nil)
	s.As(api).Do("POST", "/api/v1/records/notes", `{"text":"hidden-in-the-body"}`).Want(t, 403)
	s.Client().Do("POST", "/api/v1/records/notes", `{"text":"hidden-in-the-body`).Want(t, 400)
	s.Client().Do("POST", "/api/v1/auth/login", `{"email":"alice@example.com","password":"wrong-password-7712"}`).Want(t, 401)
	s.Client().Do("GET", "/api/v1/users/"+user.Token, nil)
	s.Client().Do("GET", "/"+s.SetupToken, nil)
	s.As(user.Token+"x").Do("GET", "/api/v1/auth/me", nil).Want(t, 401)
	user.Do("POST", "/api/v1/auth/password", fmt.Sprintf(`{"current":%q,"new":%q}`, user.Password, newPassword)).Want(t, 204)
	user.Do("POST", "/api/v1/auth/logout", nil).Want(t, 204)
	s.Admin().Do("PATCH", "/api/v1/users/"+user.ID, `{"password":"reset-by-an-admin-9"}`).Want(t, 200)
	secrets = append(secrets, "reset-by-an-admin-9")

	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	log := s.Log.String()
	if n := strings.Count(log, "msg=request "); n < 15 {
		t.Errorf("only %d lines for requests in the log:\n%s", n, log)
	}
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds a secret: %s", secret)
		}
	}
	for _, want := range []string{"path=/api/v1/auth/login", "status=401", "caller=" + user.ID, "path=/api/v1/users/…"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s", want)
		}
	}
}
