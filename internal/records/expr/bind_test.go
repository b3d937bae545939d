package expr_test

import (
	"testing"

	"croft/internal/records/expr"
)

func TestBind(t *testing.T) {
	const anonymous = "nobody is signed in, so there is no auth.id: test has(auth.id) first"
	for _, test := range []struct {
		text   string
		auth   *expr.Auth
		want   string
		always string // true or false, if it is
	}{
		{`record.owner == auth.id`, ann, `record.owner == "u1"`, ``},
		{`record.owner == auth.id`, nil, `error("` + anonymous + `")`, `false`},
		{`record.public || record.owner == auth.id`, nil, `record.public || error("` + anonymous + `")`, ``},
		{`record.public && record.owner == auth.id`, nil, `record.public && error("` + anonymous + `")`, `false`},
		{`record.a == 1 && !(record.owner == auth.id)`, nil, `record.a == 1 && error("` + anonymous + `")`, `false`},
		{`has(auth.id)`, nil, `false`, `false`},
		{`has(auth.id)`, ann, `true`, `true`},
		{`has(auth.id) && record.owner == auth.id`, nil, `false`, `false`},
		{`"admin" in auth.roles || record.owner == auth.id`, ann, `true`, `true`},
		{`"admin" in auth.roles || record.owner == auth.id`, visitor, `record.owner == "u2"`, ``},
		{`record.role in auth.roles`, ann, `record.role in ["editor", "admin"]`, ``},
		{`auth.roles.exists(r, r == record.role)`, ann, `["editor", "admin"].exists(r, r == record.role)`, ``},
		{`auth.roles.exists(r, r.startsWith("adm"))`, ann, `true`, `true`},
		{`auth.verified && record.n > 1`, ann, `record.n > 1`, ``},
		{`auth.verified && record.flag`, ann, `record.flag && true`, ``},
		{`auth.verified ? record.a == 1 : record.b == 1`, visitor, `record.b == 1`, ``},
		{`timestamp(record.due) < now + duration("24h")`, nil, `timestamp(record.due) < timestamp("2026-11-21T09:30:00Z")`, ``},
		{`record.a == 1 + 2 * 3 && record.b == "x" + auth.email`, ann, `record.a == 7 && record.b == "xann@example.org"`, ``},
		{`record.tags.exists(x, x == auth.id && x != "a" + "b")`, ann, `record.tags.exists(x, x == "u1" && x != "ab")`, ``},
		{`record.tags.exists(x, x == auth.id)`, nil, `record.tags.exists(x, error("` + anonymous + `"))`, ``},
		{`record.members[auth.id] == "x"`, ann, `record.members.u1 == "x"`, ``},
		{`record.l[0].members[auth.id] == "x"`, ann, `record.l[0].members["u1"] == "x"`, ``},
		{`has(record.l[1 - 1].a)`, ann, `has(record.l[0].a)`, ``},
		{`has(auth.token) && auth.token.scopes.exists(s, s.collection == "notes")`, visitor, `true`, `true`},
		{`auth.token.scopes.exists(s, s.collection == record.kind)`, visitor, `auth.token.scopes.exists(s, s.collection == record.kind)`, ``},
		{`auth.token.scopes[0].actions == record.actions`, visitor, `["read"] == record.actions`, ``},
		{`1 / 0 == record.a`, nil, `error("division by zero")`, `false`},
		{`record.a == 1.0 / 0.0`, nil, `record.a == 1.0 / 0.0`, ``},
		{`true ? record.a == 1 : false`, nil, `record.a == 1`, ``},
		{`"x" || record.a == 1`, nil, `record.a == 1 || error("expected true or false here")`, ``},
		{`"x" && record.a == 1`, nil, `record.a == 1 && error("expected true or false here")`, `false`},
		{`(record.a == 1 && true) && (true && record.b == 2)`, nil, `record.a == 1 && record.b == 2`, ``},
		{`record.a ? false : 1 == 2`, nil, `record.a ? false : false`, `false`},
		{`1`, nil, `1`, `false`},
	} {
		e := parse(t, test.text, expr.Rule)
		bound := expr.Bind(e, test.auth, now)
		if bound.String() != test.want {
			t.Errorf("%s\n\t%s\nwant\t%s", test.text, bound, test.want)
		}
		if bound.AlwaysTrue() != (test.always == "true") || bound.AlwaysFalse() != (test.always == "false") {
			t.Errorf("%s: always true %v, always false %v; want %q", test.text, bound.AlwaysTrue(), bound.AlwaysFalse(), test.always)
		}
		for _, record := range []string{`{}`, document, `{"a":1,"b":2,"public":true,"owner":"u1","role":"admin","n":2,"flag":true,"due":"2026-11-20T00:00:00Z",
			"tags":["u1"],"members":{"u1":"x"},"l":[{"a":1,"members":{"u1":"x"}}],"kind":"notes","actions":["read"]}`,
			`{"public":1,"a":true,"flag":2,"owner":"u2","tags":[],"l":[1]}`} {
			was, is, trimmed := eval(t, e, record, "", test.auth), eval(t, bound, record, "", test.auth), eval(t, expr.Trim(bound), record, "", test.auth)
			if isValue(was) != isValue(is) || isValue(was) && was != is {
				t.Errorf("%s over %s: %s, bound: %s", test.text, record, was, is)
			}
			if (was == "true") != (trimmed == "true") {
				t.Errorf("%s over %s: %s, trimmed: %s", test.text, record, was, trimmed)
			}
		}
	}
}

func isValue(s string) bool { return s == "true" || s == "false" || s == "1" }

func TestBoth(t *testing.T) {
	a, b := parse(t, `a == 1 && b || c`, expr.Filter), parse(t, `record.d == 1 && record.e == 2`, expr.Rule)
	for _, test := range []struct {
		got  *expr.Expr
		want string
	}{
		{expr.Both(a, b), `(record.a == 1 && record.b || record.c) && record.d == 1 && record.e == 2`},
		{expr.Both(b, b), `record.d == 1 && record.e == 2 && record.d == 1 && record.e == 2`},
		{expr.Both(nil, b), b.String()},
		{expr.Both(a, nil), a.String()},
	} {
		if test.got.String() != test.want {
			t.Errorf("%s, want %s", test.got, test.want)
		}
	}
	if expr.Both(nil, nil) != nil {
		t.Error("two times nothing is something")
	}
	if got := eval(t, expr.Both(a, b), `{"c":true,"d":1,"e":2}`, "", nil); got != "true" {
		t.Error(got)
	}
}

func TestTrim(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`record.a == 1 || record.owner == auth.id`, `record.a == 1`},
		{`record.a == 1 || (record.b == 2 || record.owner == auth.id) && record.c == 3`, `record.a == 1 || record.b == 2 && record.c == 3`},
		{`record.a == 1 && (record.owner == auth.id || auth.verified)`, `false`},
		{`record.a == 1 && record.b == 2`, `record.a == 1 && record.b == 2`},
	} {
		if got := expr.Trim(expr.Bind(parse(t, test.text, expr.Rule), nil, now)); got.String() != test.want {
			t.Errorf("%s: %s, want %s", test.text, got, test.want)
		}
	}
}
