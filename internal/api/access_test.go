package api_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"croft/internal/api"
	"croft/internal/app/apptest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// notes is a collection whose records belong to those who made them.
const notes = `{"access":{"read":"record.owner == auth.id","create":"has(auth.id)","update":"record.owner == auth.id","delete":"record.owner == auth.id"}}`

// TestAccess walks every route as every kind of caller, and compares with testdata/access.golden. Each request is made by a
// new caller on things of its own, so that none changes what the next one meets. What belongs to someone is alice's:
// user is alice, token is alice's with the scope to read and create notes.
func TestAccess(t *testing.T) {
	s := apptest.Start(t)
	w := &walk{t: t, s: s, admin: s.Local()}
	w.define("notes")
	var b strings.Builder
	for _, rt := range api.Routes() {
		fmt.Fprintf(&b, "%s %s (%s)\n", rt.Method, rt.Path, rt.Access)
		var outcomes []string
		who := map[string][]string{}
		for _, kind := range []string{"anonymous", "user", "other user", "token", "disabled user", "admin", "local"} {
			w.begin()
			path, body := w.fixture(rt)
			caller := w.caller(kind)
			if strings.HasSuffix(path, "/restore") {
				caller = caller.With("Content-Type", "application/octet-stream")
			}
			r := caller.Do(rt.Method, path, body)
			outcome := strings.TrimSpace(fmt.Sprintf("%d %s", r.Status, r.Code()))
			if who[outcome] == nil {
				outcomes = append(outcomes, outcome)
			}
			who[outcome] = append(who[outcome], kind)
		}
		for _, outcome := range outcomes {
			fmt.Fprintf(&b, "  %s: %s\n", outcome, strings.Join(who[outcome], ", "))
		}
	}
	golden(t, "access.golden", b.String())
}

// A walk makes what one request needs.
type walk struct {
	t     *testing.T
	s     *apptest.Server
	admin *apptest.Client
	n     int
	alice *account
}

type account struct{ id, email, password string }

const walkPassword = "orchard-in-winter-51"

func (w *walk) begin() {
	w.n++
	w.alice = w.account("alice")
}

func (w *walk) account(name string, roles ...string) *account {
	a := &account{email: fmt.Sprintf("%s%d@example.com", name, w.n), password: walkPassword}
	if roles == nil {
		roles = []string{}
	}
	a.id = w.admin.Do("POST", "/api/v1/users", map[string]any{"email": a.email, "password": a.password, "roles": roles}).
		Want(w.t, 201).String("id")
	return a
}

func (w *walk) signIn(a *account) *apptest.Client { return w.s.As(w.s.Login(a.email, a.password)) }

func (w *walk) define(name string) {
	if r := w.admin.Do("PUT", "/api/v1/collections/"+name, notes); r.Status/100 != 2 {
		w.t.Fatalf("define: %d %s", r.Status, r.Body)
	}
}

// caller returns a new caller of a kind.
func (w *walk) caller(kind string) *apptest.Client {
	switch kind {
	case "anonymous":
		return w.s.Client()
	case "user":
		return w.signIn(w.alice)
	case "other user":
		return w.signIn(w.account("bob"))
	case "token":
		return w.s.As(w.token().String("token"))
	case "disabled user":
		carol := w.account("carol")
		client := w.signIn(carol)
		w.admin.Do("PATCH", "/api/v1/users/"+carol.id, map[string]any{"disabled": true}).Want(w.t, 200)
		return client
	case "admin":
		return w.signIn(w.account("dora", "admin"))
	case "local":
		return w.admin
	}
	panic(kind)
}

func (w *walk) token() *apptest.Response {
	return w.signIn(w.alice).Do("POST", "/api/v1/auth/tokens", map[string]any{
		"name": "walk", "scopes": []any{map[string]any{"collection": "notes", "actions": []string{"read", "create"}}},
	}).Want(w.t, 201)
}

// fixture returns an address and a body that would do for who may.
func (w *walk) fixture(rt api.Route) (path string, body any) {
	path = rt.Path
	fill := func(name, value string) { path = strings.Replace(path, "{"+name+"}", value, 1) }
	switch {
	case strings.HasSuffix(path, "/users/{id}"):
		fill("id", w.account("victim").id)
	case strings.HasSuffix(path, "/invites/{id}"):
		fill("id", w.admin.Do("POST", "/api/v1/invites", `{}`).Want(w.t, 201).String("id"))
	case strings.HasSuffix(path, "/tokens/{id}"):
		fill("id", w.token().String("id"))
	case strings.HasSuffix(path, "/sessions/{id}"):
		var sessions struct{ Items []struct{ ID string } }
		w.signIn(w.alice).Do("GET", "/api/v1/auth/sessions", nil).Want(w.t, 200).JSON(&sessions)
		fill("id", sessions.Items[0].ID)
	case strings.HasSuffix(path, "/records/{collection}/{id}"):
		fill("id", w.signIn(w.alice).Do("POST", "/api/v1/records/notes", `{"text":"mine"}`).Want(w.t, 201).String("id"))
		fill("collection", "notes")
	case strings.HasSuffix(path, "/collections/{collection}"):
		w.define("spare")
		fill("collection", "spare")
	default:
		fill("collection", "notes")
	}
	if !rt.Body {
		return path, nil
	}
	email := fmt.Sprintf("new%d@example.com", w.n)
	switch rt.Method + " " + strings.TrimPrefix(rt.Path, "/api/v1") {
	case "POST /setup":
		return path, map[string]any{"token": w.s.SetupToken, "email": email, "password": walkPassword}
	case "POST /auth/signup":
		invite := w.admin.Do("POST", "/api/v1/invites", `{}`).Want(w.t, 201).String("token")
		return path, map[string]any{"email": email, "password": walkPassword, "invite": invite}
	case "POST /auth/login":
		return path, map[string]any{"email": w.alice.email, "password": walkPassword}
	case "PATCH /auth/me":
		return path, `{"name":"N"}`
	case "POST /auth/password":
		return path, map[string]any{"current": walkPassword, "new": "quarry-under-rain-88"}
	case "POST /auth/tokens":
		return path, `{"name":"t","scopes":[{"collection":"notes","actions":["read"]}]}`
	case "POST /users":
		return path, map[string]any{"email": email, "password": walkPassword}
	case "PATCH /users/{id}":
		return path, `{"name":"N"}`
	case "POST /invites":
		return path, `{}`
	case "PATCH /settings":
		return path, `{"signup":"invite"}`
	case "PUT /collections/{collection}":
		return path, notes
	case "POST /collections/{collection}/try":
		return path, `{"as":null,"action":"create","record":{"text":"x"}}`
	case "POST /records/{collection}", "PUT /records/{collection}/{id}":
		return path, `{"text":"new"}`
	case "PATCH /records/{collection}/{id}":
		return path, `{"text":"changed"}`
	case "POST /restore":
		return path, "a data file"
	case "POST /query/{collection}":
		return path, `{"limit":1}`
	}
	w.t.Fatalf("the walk knows no body for %s %s: add one", rt.Method, rt.Path)
	return "", nil
}

// golden compares with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if it should, run the test with -update:\n%s", path, diff)
	}
}
