package auth_test

import (
	"encoding/json"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"croft/internal/auth"
	"croft/internal/errs"
	"croft/internal/identity"
)

func TestTokens(t *testing.T) {
	k := newKit(t)
	c := k.as(k.login2())
	k.user("cy@example.org")
	stranger := k.as(k.login("cy@example.org", home))
	expires := &auth.Time{Time: k.now().Add(time.Hour)}
	scopes := []identity.Scope{{Collection: "shop.orders", Actions: []string{"read", "create"}}, {Collection: "*", Actions: []string{"read"}}}

	_, err := k.CreateToken(t.Context(), c, auth.TokenIn{Expires: &auth.Time{Time: k.now()}, Scopes: []identity.Scope{
		{Collection: "Notes", Actions: []string{"read"}}, {Collection: "a.b.c"}, {Collection: "notes", Actions: []string{"write", "read", "read"}}}})
	wants(t, "bad values", err, errs.Invalid, "/scopes/0/collection invalid", "/scopes/1/collection invalid", "/scopes/1/actions required",
		"/scopes/2/actions/0 invalid", "/scopes/2/actions/2 duplicate", "/name required", "/expires out_of_range")
	_, err = k.CreateToken(t.Context(), c, auth.TokenIn{Name: "x"})
	wants(t, "no scopes", err, errs.Invalid, "/scopes required")
	_, err = k.CreateToken(t.Context(), c, auth.TokenIn{Name: "x", Scopes: scopes, User: "cy@example.org"})
	wants(t, "for someone else", err, errs.Invalid, "/user not_allowed")
	for user, want := range map[string]string{"": "/user required", "eve@example.org": "/user unknown"} {
		_, err = k.CreateToken(t.Context(), local, auth.TokenIn{Name: "x", Scopes: scopes, User: user})
		wants(t, "by the operator for "+user, err, errs.Invalid, want)
	}

	api, err := k.CreateToken(t.Context(), c, auth.TokenIn{Name: "backup", Scopes: scopes, Expires: expires})
	must(t, err)
	caller := k.as(api.Token)
	if caller.ID != c.ID || caller.Session != "" || !caller.InScope("shop.orders", "create") || !caller.InScope("any", "read") || caller.InScope("any", "create") {
		t.Errorf("the caller is %+v %+v", caller, caller.Token)
	}
	// It is for records alone.
	_, err = k.Tokens(t.Context(), caller)
	wants(t, "list tokens", err, errs.Forbidden)
	_, err = k.CreateToken(t.Context(), caller, auth.TokenIn{Name: "x", Scopes: scopes})
	wants(t, "make a token", err, errs.Forbidden)
	_, err = k.Sessions(t.Context(), caller)
	wants(t, "list sessions", err, errs.Forbidden)
	wants(t, "log out", k.Logout(t.Context(), caller), errs.Forbidden)

	list, err := k.Tokens(t.Context(), c)
	must(t, err)
	if len(list.Items) != 1 || list.Items[0].ID != api.ID || list.Items[0].Name != "backup" || list.Items[0].LastUsed == nil {
		t.Errorf("tokens: %+v", list.Items)
	}
	list, err = k.Tokens(t.Context(), stranger)
	must(t, err)
	if len(list.Items) != 0 {
		t.Errorf("someone else sees %+v", list.Items)
	}
	wants(t, "someone else's", k.RevokeToken(t.Context(), stranger, api.ID), errs.NotFound)
	k.pass(time.Hour)
	k.refused(api.Token)

	second, err := k.CreateToken(t.Context(), local, auth.TokenIn{Name: "x", Scopes: scopes, User: c.ID})
	must(t, err)
	k.as(second.Token)
	must(t, k.RevokeToken(t.Context(), c, second.ID))
	k.refused(second.Token)
	wants(t, "again", k.RevokeToken(t.Context(), c, second.ID), errs.NotFound)
	must(t, k.RevokeToken(t.Context(), local, api.ID))

	for range 100 {
		k.token("ben@example.org")
	}
	_, err = k.CreateToken(t.Context(), c, auth.TokenIn{Name: "x", Scopes: scopes})
	wants(t, "one too many", err, errs.Conflict)
}

// What is told and taken is the same with both JSON packages.
func TestJSON(t *testing.T) {
	at := auth.Time{Time: time.Date(2026, 11, 20, 10, 30, 0, 123456789, time.FixedZone("", 3600))}
	u := auth.User{ID: "1", Email: "a@b", Roles: []string{}, Created: at, Updated: at}
	const want = `{"id":"1","email":"a@b","name":"","roles":[],"disabled":false,"verified":false,"created":"2026-11-20T09:30:00.123Z","updated":"2026-11-20T09:30:00.123Z"}`
	for name, marshal := range map[string]func(any) ([]byte, error){
		"v1": json.Marshal, "v2": func(v any) ([]byte, error) { return jsonv2.Marshal(v) }} {
		got, err := marshal(u)
		must(t, err)
		if string(got) != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	for name, unmarshal := range map[string]func([]byte, any) error{
		"v1": json.Unmarshal, "v2": func(b []byte, v any) error { return jsonv2.Unmarshal(b, v) }} {
		var p auth.UserPatch
		must(t, unmarshal([]byte(`{"name":null,"roles":["a"],"disabled":false}`), &p))
		if !p.Name.Set || p.Name.Value != "" || !p.Roles.Set || len(p.Roles.Value) != 1 || !p.Disabled.Set || p.Email.Set || p.Password.Set {
			t.Errorf("%s: %+v", name, p)
		}
		var in auth.TokenIn
		must(t, unmarshal([]byte(`{"expires":"2026-11-20T10:30:00.5+01:00"}`), &in))
		if in.Expires == nil || !in.Expires.Equal(time.Date(2026, 11, 20, 9, 30, 0, 5e8, time.UTC)) {
			t.Errorf("%s: %v", name, in.Expires)
		}
		for _, bad := range []string{`{"roles":"a"}`, `{"name":1}`} {
			if err := unmarshal([]byte(bad), &p); err == nil {
				t.Errorf("%s takes %s", name, bad)
			}
		}
		if err := unmarshal([]byte(`{"expires":"tomorrow"}`), &in); err == nil {
			t.Errorf("%s takes tomorrow", name)
		}
	}
}
