package expr_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"croft/internal/records/expr"
)

var now = time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)

var ann = &expr.Auth{SignedIn: true, ID: "u1", Email: "ann@example.org", Roles: []string{"editor", "admin"}, Verified: true}

// visitor has an API token besides.
var visitor = &expr.Auth{SignedIn: true, ID: "u2", Token: []byte(`{"scopes":[{"collection":"notes","actions":["read"]}]}`)}

func parse(t testing.TB, text string, mode expr.Mode) *expr.Expr {
	t.Helper()
	e, err := expr.Parse(text, mode)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

// environment is an Env of objects given as JSON, in any spelling; empty is none.
func environment(t testing.TB, p *expr.Program, record, before string, auth *expr.Auth) *expr.Env {
	t.Helper()
	env := &expr.Env{Auth: auth, Now: now}
	if record != "" {
		env.Record = &expr.Object{Names: p.Fields(), JSON: compact(t, record)}
	}
	if before != "" {
		env.Before = &expr.Object{Names: p.Fields(), JSON: compact(t, before)}
	}
	return env
}

func compact(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return b.Bytes()
}

// eval is the value of e, or its error, as text.
func eval(t testing.TB, e *expr.Expr, record, before string, auth *expr.Auth) string {
	t.Helper()
	p := expr.Compile(e)
	env := environment(t, p, record, before, auth)
	v, err := p.Eval(env)
	matched := p.Match(env)
	if want := err == nil && v.Bool(); matched != want {
		t.Errorf("%s over %s: Match %v, Eval %v, %v", e, record, matched, v, err)
	}
	if (err != nil || v.Type() != expr.TypeBool) != (p.Err() != nil) {
		t.Errorf("%s over %s: Match's Err %v, Eval %v, %v", e, record, p.Err(), v, err)
	}
	if err != nil {
		return err.Error()
	}
	return v.String()
}
