package api_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"croft/internal/app/apptest"
	"croft/internal/config"
)

// TestBadInput makes requests that are wrong in one point each, and compares the whole problem documents, but for their
// request ids, with testdata/problems.golden.
func TestBadInput(t *testing.T) {
	s := apptest.Start(t, apptest.Config(func(c *config.Config) { c.Limits.Body = 64 << 10 }))
	s.Define("notes", `{"access":{"read":"true","create":"true","update":"true","delete":"has(auth.id)"}}`)
	admin := s.Admin()
	user := s.NewUser("alice@example.com")
	other := s.NewUser("bob@example.com")
	token := s.As(user.Do("POST", "/api/v1/auth/tokens",
		`{"name":"reader","scopes":[{"collection":"notes","actions":["read"]}]}`).Want(t, 201).String("token"))
	revoked := s.NewUser("carol@example.com")
	revoked.Do("POST", "/api/v1/auth/logout", nil).Want(t, 204)
	var sessions struct{ Items []struct{ ID string } }
	other.Do("GET", "/api/v1/auth/sessions", nil).Want(t, 200).JSON(&sessions)
	anyone := s.Client()
	r := anyone.Do("POST", "/api/v1/records/notes", `{"id":"n1","text":"one"}`).Want(t, 201)
	stale := r.Header.Get("ETag")
	anyone.Do("PATCH", "/api/v1/records/notes/n1", `{"text":"two"}`).Want(t, 200)
	other.Do("POST", "/api/v1/auth/logout", nil) // so that its id is an old one too
	other = s.NewUser("dan@example.com")
	other.Do("GET", "/api/v1/auth/sessions", nil).Want(t, 200).JSON(&sessions)

	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	const login = "/api/v1/auth/login"
	const records = "/api/v1/records/notes"
	var b strings.Builder
	for _, c := range []struct {
		what         string
		by           *apptest.Client
		method, path string
		body         any
	}{
		{"wrong password", anyone, "POST", login, `{"email":"alice@example.com","password":"not this one"}`},
		{"unknown user", anyone, "POST", login, `{"email":"nobody@example.com","password":"not this one"}`},
		{"no token after Bearer", anyone.With("Authorization", "Bearer "), "GET", records, nil},
		{"another scheme", anyone.With("Authorization", "Basic YTpi"), "GET", records, nil},
		{"a token that is none of ours", s.As("hello"), "GET", records, nil},
		{"an unknown session", s.As("croft_s_" + strings.Repeat("A", 43)), "GET", records, nil},
		{"an unknown API token", s.As("croft_t_" + strings.Repeat("A", 43)), "GET", records, nil},
		{"a revoked session", revoked.Client, "GET", records, nil},
		{"a token outside its scope: action", token, "POST", records, `{}`},
		{"a token outside its scope: managing", token, "GET", "/api/v1/users", nil},
		{"a role that may not", user.Client, "GET", "/api/v1/users", nil},
		{"nobody signed in", anyone, "GET", "/api/v1/users", nil},
		{"someone else's session", user.Client, "DELETE", "/api/v1/auth/sessions/" + sessions.Items[0].ID, nil},
		{"unknown collection", anyone, "GET", "/api/v1/records/nothing", nil},
		{"bad collection name", admin, "PUT", "/api/v1/collections/Bad-Name", `{}`},
		{"bad record id", anyone, "PUT", records + "/a%20b", `{}`},
		{"bad record id in the body", anyone, "POST", records, `{"id":"a b"}`},
		{"a record that is not there", anyone, "GET", records + "/n2", nil},
		{"an id that is taken", anyone, "POST", records, `{"id":"n1"}`},
		{"a definition that is none", admin, "PUT", "/api/v1/collections/notes", `{"colour":"blue"}`},
		{"stale If-Match", anyone.With("If-Match", stale), "PATCH", records + "/n1", `{"text":"three"}`},
		{"If-None-Match on what is there", anyone.With("If-None-Match", "*"), "PUT", records + "/n1", `{}`},
		{"a cursor from elsewhere", anyone, "GET", records + "?cursor=bm90IG91cnM", nil},

		{"not JSON: a record", anyone, "POST", records, `{"text":`},
		{"not JSON: a body of ours", anyone, "POST", login, `{"email":`},
		{"not an object: a record", anyone, "POST", records, `[1]`},
		{"not an object: a body of ours", anyone, "POST", login, `[1]`},
		{"null: a body of ours", anyone, "POST", login, `null`},
		{"empty body", anyone, "POST", records, ``},
		{"white space alone", anyone, "POST", login, ` `},
		{"too deep: a record", anyone, "POST", records, `{"a":` + deep + `}`},
		{"too deep: a body of ours", anyone, "POST", login, `{"email":` + deep + `}`},
		{"duplicate key: a record", anyone, "POST", records, `{"a":{"b":1,"b":2}}`},
		{"duplicate key: a body of ours", anyone, "POST", login, `{"email":"a","email":"b"}`},
		{"trailing bytes: a record", anyone, "POST", records, `{} {}`},
		{"trailing bytes: a body of ours", anyone, "POST", login, `{"email":"a","password":"b"}x`},
		{"invalid UTF-8: a record", anyone, "POST", records, "{\"a\":\"\xff\"}"},
		{"invalid UTF-8: a body of ours", anyone, "POST", login, "{\"email\":\"\xff\"}"},
		{"a lone surrogate", anyone, "POST", records, `{"a":["x","\ud800"]}`},
		{"a number that does not survive", anyone, "POST", records, `{"n":{"big":12345678901234567890}}`},
		{"a name that begins with $", anyone, "POST", records, `{"$set":1}`},
		{"unknown member", anyone, "POST", login, `{"email":"a","password":"b","remember":true}`},
		{"unknown member further down", user.Client, "POST", "/api/v1/auth/tokens", `{"name":"x","scopes":[{"collection":"notes","action":"read"}]}`},
		{"another case", anyone, "POST", login, `{"Email":"a","password":"b"}`},
		{"wrong type: a number for a string", anyone, "POST", login, `{"email":1,"password":"b"}`},
		{"wrong type: null for a string", anyone, "POST", login, `{"email":null,"password":"b"}`},
		{"wrong type: further down", user.Client, "POST", "/api/v1/auth/tokens", `{"name":"x","scopes":[{"collection":"notes","actions":"read"}]}`},
		{"wrong type: a change", admin, "PATCH", "/api/v1/users/" + user.ID, `{"disabled":"yes"}`},
		{"wrong type: a time", admin, "POST", "/api/v1/invites", `{"expires":"tomorrow"}`},
		{"wrong type: sort", anyone, "POST", "/api/v1/query/notes", `{"sort":1}`},
		{"wrong type: limit", anyone, "POST", "/api/v1/query/notes", `{"limit":"many"}`},
		{"limit 0 as JSON", anyone, "POST", "/api/v1/query/notes", `{"limit":0}`},
		{"limit 501 as JSON", anyone, "POST", "/api/v1/query/notes", `{"limit":501}`},
		{"an unknown setting", admin, "PATCH", "/api/v1/settings", `{"colour":"blue"}`},
		{"a setting that can't be", admin, "PATCH", "/api/v1/settings", `{"signup":"everyone","cors_origins":["*"]}`},

		{"too large", anyone, "POST", records, `{"a":"` + strings.Repeat("x", 64<<10) + `"}`},
		{"too large, in chunks", anyone, "POST", records, chunks(`{"a":"` + strings.Repeat("x", 64<<10) + `"}`)},
		{"no Content-Type", anyone.With("Content-Type", ""), "POST", records, `{}`},
		{"another Content-Type", anyone.With("Content-Type", "text/plain"), "POST", records, `{}`},
		{"a form", anyone.With("Content-Type", "application/x-www-form-urlencoded"), "POST", login, `email=a`},
		{"a Content-Type that is none", anyone.With("Content-Type", "json;"), "POST", records, `{}`},
		{"another charset", anyone.With("Content-Type", "application/json; charset=latin1"), "POST", records, `{}`},
		{"merge patch where there is none", anyone.With("Content-Type", "application/merge-patch+json"), "POST", records, `{}`},
		{"compressed", anyone.With("Content-Encoding", "gzip"), "POST", records, `{}`},
		{"a body where there is none", user.Client, "POST", "/api/v1/auth/logout", `{}`},

		{"unknown parameter", anyone, "GET", records + "?filtre=true", nil},
		{"a parameter where there is none", user.Client, "GET", "/api/v1/auth/me?x=1", nil},
		{"a parameter twice", anyone, "GET", records + "?limit=1&limit=2", nil},
		{"a parameter not encoded rightly", anyone, "GET", records + "?filter=%zz", nil},
		{"limit 0", anyone, "GET", records + "?limit=0", nil},
		{"limit 501", anyone, "GET", records + "?limit=501", nil},
		{"limit abc", anyone, "GET", records + "?limit=abc", nil},
		{"count maybe", anyone, "GET", records + "?count=maybe", nil},
		{"dry_run maybe", admin, "PUT", "/api/v1/collections/notes?dry_run=1", `{}`},
		{"existing=drop", admin, "PUT", "/api/v1/collections/notes?existing=drop", `{}`},

		{"a Host that is not ours", anyone.With("Host", "evil.example"), "GET", "/healthz", nil},
		{"no such address", anyone, "GET", "/api/v1/nothing", nil},
		{"no such address, with a slash", anyone, "GET", "/api/v1/auth/me/", nil},
		{"another method", anyone, "PUT", "/api/v1/auth/me", nil},
		{"a made-up method", anyone, "BREW", "/api/v1/auth/me", nil},
		{"setup a second time", anyone, "POST", "/api/v1/setup", fmt.Sprintf(`{"token":%q,"email":"x@example.com","password":"lantern-meadow-418"}`, s.SetupToken)},
		{"a common password", admin, "POST", "/api/v1/users", `{"email":"x@example.com","password":"password123"}`},
		{"the last admin", admin, "PATCH", "/api/v1/users/" + admin.Do("GET", "/api/v1/auth/me", nil).String("id"), `{"roles":[]}`},
		{"a cookie over plain HTTP", anyone.With("Host", "raspberry"), "POST", login, fmt.Sprintf(`{"email":%q,"password":%q,"cookie":true}`, apptest.AdminEmail, apptest.AdminPassword)},
	} {
		r := c.by.Do(c.method, c.path, c.body)
		if r.Status < 400 {
			t.Errorf("%s: status %d: %s", c.what, r.Status, r.Body)
			continue
		}
		r.Problem()
		fmt.Fprintf(&b, "# %s\n%s\n", c.what, pretty(t, r.Body))
	}
	golden(t, "problems.golden", b.String())
	// Nothing of all this was stored.
	var all struct{ Items []map[string]any }
	anyone.Do("GET", records, nil).Want(t, 200).JSON(&all)
	if len(all.Items) != 1 || all.Items[0]["text"] != "two" {
		t.Errorf("the records afterwards: %v", all.Items)
	}
}

var requestID = regexp.MustCompile(`,"request_id":"[0-9a-f]{16}"`)
var ids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

// pretty is a problem document for people: what all have in common left out, one line for each error.
func pretty(t *testing.T, body []byte) string {
	text := requestID.ReplaceAllString(string(body), "")
	if text == string(body) {
		t.Errorf("no request id: %s", body)
	}
	text = ids.ReplaceAllString(text, "ID")
	if !json.Valid([]byte(text)) {
		t.Errorf("not JSON: %s", text)
	}
	text = strings.Replace(text, `{"type":"about:blank",`, "{", 1)
	return strings.ReplaceAll(text, `{"pointer"`, "\n  {\"pointer\"")
}

// chunks hides the length of a body.
func chunks(text string) *chunked { return &chunked{strings.NewReader(text)} }

type chunked struct{ *strings.Reader }

func (c *chunked) Read(b []byte) (int, error) { return c.Reader.Read(b[:min(len(b), 1000)]) }
