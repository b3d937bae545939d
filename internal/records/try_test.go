package records_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records"
)

// tries asks what an action would get.
func (k *kit) tries(collection, body string) (allowed bool, because string) {
	k.Helper()
	raw, err := k.Try(context.Background(), admin, collection, []byte(body))
	if err != nil {
		k.Fatalf("try %s: %v %v", body, err, fields(err))
	}
	var a struct {
		Allowed bool
		Because string
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		k.Fatal(err)
	}
	return a.Allowed, a.Because
}

// TestTry holds the answers that people read to what they must say. That they are right is TestAccess's, which tries all it does.
func TestTry(t *testing.T) {
	clock := newClock()
	k := newKit(t, records.Options{CallerByID: callerByID, Now: clock.now})
	k.define("notes", `{"schema":{"properties":{"open":{"default":true},"title":true,"n":true}},
		"access":{"read":"record.owner == auth.id || record.open == true","create":"record.open && has(auth.id)","update":"record.owner == auth.id && record.updated > before.updated && record.n == before.n + 1"}}`)
	k.create(ada, "notes", `{"id":"a","n":1}`)
	k.create(admin, "notes", `{"id":"closed","owner":"u-ada","open":false,"n":1}`)
	clock.tick()
	for _, test := range []struct {
		body    string
		allowed bool
		says    []string
	}{
		{`{"as":"u-admin","action":"delete","record":{"id":"a"}}`, true, []string{"admins"}},
		{`{"as":null,"action":"read","record":{"id":"a"}}`, true, []string{"record.open == true"}},
		{`{"action":"read","record":{"id":"a"}}`, true, []string{"record.open == true"}},
		{`{"as":"u-grace","action":"read","record":{"id":"closed"}}`, false, []string{"record.owner == auth.id", "record.open == true"}},
		{`{"as":null,"action":"read","record":{"id":"closed"}}`, false, []string{"nobody is signed in"}},
		{`{"as":"u-ada","action":"read","record":{"id":"closed"}}`, true, nil},
		{`{"as":"u-grace","action":"read","record":{"title":"of no one","owner":"u-grace"}}`, true, nil},
		{`{"as":"u-ada","action":"create","record":{}}`, true, nil}, // by a default
		{`{"as":"u-ada","action":"create","record":{"open":false}}`, false, []string{"record.open"}},
		{`{"as":null,"action":"create","record":{}}`, false, []string{"has(auth.id)"}},
		{`{"as":"u-ada","action":"update","record":{"id":"a","n":2}}`, true, nil},
		{`{"as":"u-ada","action":"update","record":{"id":"a","n":3}}`, false, []string{"record.n == before.n + 1"}},
		{`{"as":"u-ada","action":"update","record":{"id":"a","n":null}}`, false, []string{"record.n"}},
		{`{"as":"u-grace","action":"update","record":{"id":"a","n":2}}`, false, []string{"record.owner == auth.id"}},
		{`{"as":"u-grace","action":"update","record":{"id":"closed","n":2}}`, false, []string{"404", "read"}},
		{`{"as":"u-ada","action":"delete","record":{"id":"a"}}`, false, []string{"no delete rule", "admins"}},
	} {
		allowed, because := k.tries("notes", test.body)
		if allowed != test.allowed || because == "" {
			t.Errorf("%s: %v, %s", test.body, allowed, because)
		}
		for _, says := range test.says {
			if !strings.Contains(because, says) {
				t.Errorf("%s: it says %q, without %q", test.body, because, says)
			}
		}
	}
	// Nothing is changed.
	if p := k.list(admin, "notes", records.Query{Sort: []string{"id"}}); len(p.Items) != 2 || p.Items[0]["n"] != 1.0 || p.Items[0]["updated"] != p.Items[0]["created"] {
		t.Errorf("after the tries there are %v", p.Items)
	}
	raw, err := k.Try(context.Background(), admin, "notes", []byte(`{"as":"u-ada","action":"create","record":{"open":false}}`))
	if err != nil || strings.Contains(string(raw), `\u00`) {
		t.Errorf("the answer is %s, %v", raw, err)
	}
}

func TestRefusedTries(t *testing.T) {
	k := newKit(t, records.Options{CallerByID: callerByID})
	ctx := context.Background()
	k.define("notes", open)
	for _, test := range []struct{ body, pointer, code string }{
		{`{"action":"read"}`, "/record", "required"},
		{`{"action":"read","record":[]}`, "/record", "*"},
		{`{"action":"read","record":"a"}`, "/record", "*"},
		{`{"record":{}}`, "/action", "bad_action"},
		{`{"action":"list","record":{}}`, "/action", "bad_action"},
		{`{"action":7,"record":{}}`, "/action", "*"},
		{`{"as":7,"action":"read","record":{}}`, "/as", "type"},
		{`{"as":"u-nobody","action":"read","record":{}}`, "/as", "unknown_user"},
		{`{"as":"u-ada","action":"read","record":{},"recrod":{}}`, "/recrod", "unknown_field"},
		{`{"action":"read","record":{"a":1,"a":2}}`, "/record/a", "duplicate_key"},
		{`[]`, "", "*"},
		{`{`, "", "invalid_json"},
	} {
		_, err := k.Try(ctx, admin, "notes", []byte(test.body))
		f := fields(err)
		if len(f) == 0 || f[0].Pointer != test.pointer || test.code != "*" && f[0].Code != test.code {
			t.Errorf("%s: %v %v, want %s at %s", test.body, err, f, test.code, test.pointer)
		}
	}
	if _, err := k.Try(ctx, admin, "missing", []byte(`{"action":"read","record":{}}`)); code(err) != errs.NotFound {
		t.Errorf("a try in no collection: %v", err)
	}
	// A user who can't be looked up for another reason than not being there is not told as unknown.
	failing := newKit(t, records.Options{CallerByID: func(context.Context, string) (*identity.Caller, error) {
		return nil, errs.New(errs.Busy, "try again soon")
	}})
	failing.define("notes", open)
	if _, err := failing.Try(ctx, admin, "notes", []byte(`{"as":"u-ada","action":"read","record":{}}`)); code(err) != errs.Busy {
		t.Errorf("a try as a user who can't be looked up: %v", err)
	}
	// More fields than a record can have: refused, or judged rightly.
	k.define("wide", `{"access":{"read":"record.last == 1"}}`)
	var b strings.Builder
	for i := range 70_000 {
		fmt.Fprintf(&b, `"f%d":0,`, i)
	}
	raw, err := k.Try(ctx, admin, "wide", []byte(`{"action":"read","record":{`+b.String()+`"last":1}}`))
	if err == nil && !strings.Contains(string(raw), `"allowed":true`) || err != nil && code(err) != errs.TooLarge {
		t.Errorf("a try of a record of 70,001 fields: %s %v", raw, err)
	}
}
