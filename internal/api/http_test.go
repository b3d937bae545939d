package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"croft/internal/api"
	"croft/internal/app/apptest"
)

const open = `{"access":{"read":"true","create":"true","update":"true","delete":"true"}}`

func TestRecordsOverHTTP(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", open)
	c := s.Client()
	const notes = "/api/v1/records/notes"

	made := c.Do("POST", notes, `{"text":"one"}`).Want(t, 201)
	id := made.String("id")
	if got := made.Header.Get("Location"); got != notes+"/"+id {
		t.Errorf("Location %q", got)
	}
	tag := made.Header.Get("ETag")
	if want := `"` + made.String("rev") + `"`; tag != want {
		t.Errorf("ETag %q, want %q", tag, want)
	}

	got := c.Do("GET", notes+"/"+id, nil).Want(t, 200)
	if string(got.Body) != string(made.Body) || got.Header.Get("ETag") != tag {
		t.Errorf("GET gives %s %s\nPOST gave %s %s", got.Header.Get("ETag"), got.Body, tag, made.Body)
	}
	if cc := got.Header.Get("Cache-Control"); cc != "private, no-cache" {
		t.Errorf("Cache-Control %q", cc)
	}
	for _, match := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		r := c.With("If-None-Match", match).Do("GET", notes+"/"+id, nil).Want(t, 304)
		if len(r.Body) > 0 || r.Header.Get("ETag") != tag {
			t.Errorf("If-None-Match %s: %s %q", match, r.Header.Get("ETag"), r.Body)
		}
	}
	c.With("If-None-Match", `"other"`).Do("GET", notes+"/"+id, nil).Want(t, 200)

	head := c.Do("HEAD", notes+"/"+id, nil).Want(t, 200)
	if len(head.Body) > 0 {
		t.Errorf("HEAD has a body: %q", head.Body)
	}
	for _, name := range []string{"ETag", "Content-Type", "Content-Length", "Cache-Control", "Vary"} {
		if head.Header.Get(name) != got.Header.Get(name) {
			t.Errorf("HEAD: %s %q, GET: %q", name, head.Header.Get(name), got.Header.Get(name))
		}
	}

	put := c.With("If-Match", tag).Do("PUT", notes+"/"+id, `{"text":"two"}`).Want(t, 200)
	c.With("If-Match", tag).Do("PUT", notes+"/"+id, `{"text":"three"}`).Want(t, 412)
	patched := c.With("Content-Type", "application/merge-patch+json; charset=UTF-8").Do("PATCH", notes+"/"+id, `{"more":1}`).Want(t, 200)
	if patched.Header.Get("ETag") == put.Header.Get("ETag") || patched.String("text") != "two" {
		t.Errorf("PATCH gives %s %s", patched.Header.Get("ETag"), patched.Body)
	}
	r := c.With("If-None-Match", "*").Do("PUT", notes+"/mine", `{}`).Want(t, 201)
	if got := r.Header.Get("Location"); got != notes+"/mine" {
		t.Errorf("Location of a PUT: %q", got)
	}

	if got := fields(t, c.Do("GET", notes+"/"+id+"?fields=text", nil).Want(t, 200)); !slices.Contains(got, "text") || slices.Contains(got, "more") {
		t.Errorf("fields=text gives %v", got)
	}
	byQuery := c.Do("POST", "/api/v1/query/notes", `{"sort":["-id"],"limit":1,"fields":"id","count":true}`).Want(t, 200)
	byAddress := c.Do("GET", notes+"?sort=-id&limit=1&fields=id&count=true", nil).Want(t, 200)
	if string(byQuery.Body) != string(byAddress.Body) {
		t.Errorf("POST /query gives %s\nGET gives %s", byQuery.Body, byAddress.Body)
	}

	c.Do("DELETE", notes+"/"+id, nil).Want(t, 204)
	c.Do("GET", notes+"/"+id, nil).Want(t, 404)
}

func fields(t *testing.T, r *apptest.Response) []string {
	t.Helper()
	var v map[string]json.RawMessage
	r.JSON(&v)
	var names []string
	for name := range v {
		names = append(names, name)
	}
	return names
}

func TestCollectionsOverHTTP(t *testing.T) {
	s := apptest.Start(t)
	admin := s.Admin()
	const at = "/api/v1/collections/notes"
	dry := admin.Do("PUT", at+"?dry_run=true", open).Want(t, 200)
	admin.Do("GET", at, nil).Want(t, 404)
	if !json.Valid(dry.Body) {
		t.Errorf("the dry run's answer is not JSON: %s", dry.Body)
	}
	r := admin.Do("PUT", at, open).Want(t, 201)
	if r.Header.Get("Location") != at || r.Header.Get("ETag") == "" {
		t.Errorf("headers of a new collection: %v", r.Header)
	}
	again := admin.Do("PUT", at, open).Want(t, 200)
	if again.Header.Get("ETag") != r.Header.Get("ETag") {
		t.Error("the same definition has another revision")
	}
	admin.With("If-None-Match", r.Header.Get("ETag")).Do("GET", at, nil).Want(t, 304)
	admin.With("If-Match", `"stale"`).Do("PUT", at, `{}`).Want(t, 412)
	admin.Do("GET", "/api/v1/collections", nil).Want(t, 200)
	admin.Do("DELETE", at, nil).Want(t, 204)
	admin.Do("GET", at, nil).Want(t, 404)
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", open)
	seen := map[string]bool{}
	for _, c := range []struct {
		method, path string
		by           *apptest.Client
		status       int
	}{
		{"GET", "/healthz", s.Client(), 200},
		{"GET", "/api/v1/records/notes", s.Client(), 200},
		{"GET", "/api/v1/users", s.Client(), 401},
		{"GET", "/api/v1/users", s.Admin(), 200},
		{"GET", "/nothing", s.Client(), 404},
		{"PUT", "/healthz", s.Client(), 405},
		{"OPTIONS", "/healthz", s.Client(), 204},
		{"GET", "/healthz", s.Client().With("Host", "evil.example"), 421},
		{"GET", "/metrics", s.Admin(), 200},
	} {
		r := c.by.With("X-Request-Id", "mine").Do(c.method, c.path, nil).Want(t, c.status)
		for name, want := range map[string]string{
			"X-Content-Type-Options":  "nosniff",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
			"Referrer-Policy":         "no-referrer",
			"X-Frame-Options":         "DENY",
			"Vary":                    "Authorization, Cookie, Origin",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s %s: %s is %q", c.method, c.path, name, got)
			}
		}
		if c.status >= 400 && r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: Cache-Control %q", c.method, c.path, r.Header.Get("Cache-Control"))
		}
		if (c.status == 401) != (r.Header.Get("WWW-Authenticate") == "Bearer") {
			t.Errorf("%s %s: WWW-Authenticate %q", c.method, c.path, r.Header.Get("WWW-Authenticate"))
		}
		id := r.Header.Get("X-Request-Id")
		if len(id) != 16 || seen[id] {
			t.Errorf("%s %s: request id %q", c.method, c.path, id)
		}
		seen[id] = true
	}
}

func TestMethods(t *testing.T) {
	s := apptest.Start(t)
	c := s.Client()
	if got := c.Do("PUT", "/api/v1/auth/me", nil).Want(t, 405).Header.Get("Allow"); got != "GET, HEAD, OPTIONS, PATCH" {
		t.Errorf("Allow of a 405: %q", got)
	}
	if got := c.Do("OPTIONS", "/api/v1/users/x", nil).Want(t, 204).Header.Get("Allow"); got != "DELETE, GET, HEAD, OPTIONS, PATCH" {
		t.Errorf("Allow of OPTIONS: %q", got)
	}
	c.Do("OPTIONS", "/api/v1/nothing", nil).Want(t, 404)
}

// Every route answers with the methods it has, and nothing else is routed.
func TestOnlyTheTableIsRouted(t *testing.T) {
	s := apptest.Start(t)
	admin := s.Admin()
	methods := map[string][]string{}
	for _, rt := range api.Routes() {
		methods[rt.Path] = append(methods[rt.Path], rt.Method)
		if rt.Method == "GET" {
			methods[rt.Path] = append(methods[rt.Path], "HEAD")
		}
	}
	for path, has := range methods {
		path = strings.NewReplacer("{collection}", "c", "{id}", "i").Replace(path)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"} {
			if slices.Contains(has, method) {
				continue
			}
			if r := admin.Do(method, path, nil); r.Status != 405 {
				t.Errorf("%s %s: %d", method, path, r.Status)
			}
		}
	}
	for _, path := range []string{"/index.html", "/api", "/api/v1", "/api/v1/", "/api/v1/records", "/api/v1/records/a/b/c", "/API/v1/users", "//healthz", "/healthz/", "/debug/pprof/", "/api/v1/records/a%2Fb/c/d"} {
		admin.Do("GET", path, nil).Want(t, 404)
	}
}

func TestCORS(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", open)
	const origin = "https://app.example.org"
	page := s.Client().With("Origin", origin)
	for name := range page.Do("GET", "/api/v1/records/notes", nil).Want(t, 200).Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("off by default, but %s is set", name)
		}
	}
	s.Admin().Do("PATCH", "/api/v1/settings", fmt.Sprintf(`{"cors_origins":[%q]}`, origin)).Want(t, 200)

	for _, r := range []*apptest.Response{
		page.Do("GET", "/api/v1/records/notes", nil).Want(t, 200),
		page.Do("GET", "/api/v1/users", nil).Want(t, 401),
	} {
		if got := r.Header.Get("Access-Control-Allow-Origin"); got != origin {
			t.Errorf("Access-Control-Allow-Origin %q", got)
		}
		if got := r.Header.Get("Access-Control-Expose-Headers"); got != "ETag, Location, X-Request-Id, Retry-After" {
			t.Errorf("Access-Control-Expose-Headers %q", got)
		}
		if got := r.Header.Get("Access-Control-Allow-Credentials"); got != "" {
			t.Errorf("credentials are allowed: %q", got)
		}
	}
	pre := page.With("Access-Control-Request-Method", "PATCH").With("Access-Control-Request-Headers", "authorization").
		Do("OPTIONS", "/api/v1/records/notes/x", nil).Want(t, 204)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":  origin,
		"Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
		"Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, If-None-Match",
		"Access-Control-Max-Age":       "600",
	} {
		if got := pre.Header.Get(name); got != want {
			t.Errorf("preflight: %s is %q, want %q", name, got, want)
		}
	}
	for _, other := range []string{"https://app.example.org.evil", "http://app.example.org", "null", "https://app.example.org:8443"} {
		r := s.Client().With("Origin", other).With("Access-Control-Request-Method", "PATCH").Do("OPTIONS", "/api/v1/records/notes/x", nil).Want(t, 204)
		for name := range r.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("origin %s gets %s", other, name)
			}
		}
	}
}

func TestHostRule(t *testing.T) {
	s := apptest.Start(t)
	c := s.Client()
	for host, want := range map[string]int{"localhost": 200, "10.0.0.7:8080": 200, "raspberry": 200, "pi.local": 200, "croft.example.org": 421} {
		c.With("Host", host).Do("GET", "/healthz", nil).Want(t, want)
	}
	s.Admin().Do("PATCH", "/api/v1/settings", `{"host_names":["croft.example.org"]}`).Want(t, 200)
	c.With("Host", "croft.example.org").Do("GET", "/healthz", nil).Want(t, 200)
	s.Local().With("Host", "anything.example").Do("GET", "/healthz", nil).Want(t, 200)
}

func TestHealthAndMetrics(t *testing.T) {
	s := apptest.Start(t)
	if r := s.Client().Do("GET", "/healthz", nil).Want(t, 200); string(r.Body) != `{"status":"ok"}` {
		t.Errorf("healthz: %s", r.Body)
	}
	s.Client().Do("GET", "/metrics", nil).Want(t, http.StatusUnauthorized)
	for _, c := range []*apptest.Client{s.Admin(), s.Local()} {
		r := c.Do("GET", "/metrics", nil).Want(t, 200)
		if got := r.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
			t.Errorf("Content-Type %q", got)
		}
		for _, want := range []string{
			`croft_http_requests_total{route="GET /healthz",status="2xx"} 1`,
			`croft_http_requests_total{route="GET /metrics",status="4xx"} 1`,
			`croft_http_request_duration_seconds_count{route="GET /healthz"} 1`,
			"croft_store_commits_total", "croft_store_bytes", "process_",
		} {
			if !strings.Contains(string(r.Body), want) {
				t.Errorf("no %s in the metrics", want)
			}
		}
	}
}
