package records_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records"
)

const open = `{"access":{"read":"true","create":"true","update":"true","delete":"true"}}`

// body decodes a document without its system fields.
func body(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	for _, f := range []string{"id", "rev", "created", "updated", "owner"} {
		if _, ok := m[f]; !ok {
			t.Errorf("no %s in %s", f, raw)
		}
		delete(m, f)
	}
	return m
}

func TestWriteAndRead(t *testing.T) {
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("notes", open)
	made := k.create(ada, "notes", ` { "title" : "Caf\u00e9", "n": 1.50, "deep": {"a": {"b": 1, "c": [1, null]}}, "gone": true} `)
	if want := `"owner":"u-ada","title":"Café","n":1.5,"deep":{"a":{"b":1,"c":[1,null]}},"gone":true}`; !strings.HasSuffix(string(made.JSON), want) {
		t.Errorf("created %s, want it to end in %s", made.JSON, want)
	}
	got, err := k.Get(ctx, nobody, "notes", made.ID, "", records.Condition{}, []byte("before "))
	if err != nil || string(got.JSON) != "before "+string(made.JSON) || got.Rev != made.Rev {
		t.Errorf("Get: %s %v, want %s", got.JSON, err, made.JSON)
	}
	patched, err := k.Patch(ctx, nobody, "notes", made.ID, []byte(`{"deep":{"a":{"b":null,"d":2}},"gone":null,"new":{"x":null,"y":1}}`), records.Condition{IfMatch: `"` + made.Rev + `"`})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"title": "Café", "n": 1.5, "deep": map[string]any{"a": map[string]any{"c": []any{1.0, nil}, "d": 2.0}}, "new": map[string]any{"y": 1.0}}
	if diff := cmp.Diff(want, body(t, patched.JSON)); diff != "" {
		t.Errorf("patched (-want +got):\n%s", diff)
	}
	if patched.Rev <= made.Rev {
		t.Errorf("rev %s after %s", patched.Rev, made.Rev)
	}
	put, created, err := k.Put(ctx, nobody, "notes", made.ID, []byte(`{"title":"New"}`), records.Condition{IfMatch: `"x", "` + patched.Rev + `"`})
	if err != nil || created {
		t.Fatalf("Put: %v, created %v", err, created)
	}
	if diff := cmp.Diff(map[string]any{"title": "New"}, body(t, put.JSON)); diff != "" {
		t.Errorf("put (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(put.JSON), `"owner":"u-ada"`) {
		t.Errorf("a PUT changed the owner: %s", put.JSON)
	}
	if _, created, err = k.Put(ctx, nobody, "notes", "mine", []byte(`{}`), records.Condition{IfNoneMatch: "*"}); err != nil || !created {
		t.Errorf("Put of a new id: %v, created %v", err, created)
	}
	if err := k.Delete(ctx, nobody, "notes", made.ID, records.Condition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Get(ctx, nobody, "notes", made.ID, "", records.Condition{}, nil); code(err) != errs.NotFound {
		t.Errorf("Get after Delete: %v", err)
	}
}

func TestConditions(t *testing.T) {
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("notes", open)
	doc := k.create(nobody, "notes", `{"id":"a"}`)
	tag := `"` + doc.Rev + `"`
	for _, test := range []struct {
		cond records.Condition
		id   string
		want errs.Code
	}{
		{records.Condition{IfMatch: `"000000000000"`}, "a", errs.Stale},
		{records.Condition{IfMatch: "W/" + tag}, "a", errs.Stale}, // weak tags never match strongly
		{records.Condition{IfMatch: "*"}, "b", errs.Stale},
		{records.Condition{IfNoneMatch: "*"}, "a", errs.Stale},
		{records.Condition{IfNoneMatch: tag}, "a", errs.Stale},
		{records.Condition{IfMatch: tag}, "a", ""},
		{records.Condition{IfMatch: "*", IfNoneMatch: `"other"`}, "a", ""},
		{records.Condition{IfNoneMatch: "*"}, "c", ""},
	} {
		_, _, err := k.Put(ctx, nobody, "notes", test.id, []byte(`{}`), test.cond)
		if code(err) != test.want {
			t.Errorf("PUT %s with %+v: %v, want %q", test.id, test.cond, err, test.want)
		}
	}
	doc = k.create(nobody, "notes", `{"id":"g"}`)
	for header, modified := range map[string]bool{`"` + doc.Rev + `"`: false, `W/"` + doc.Rev + `"`: false, "*": false, `"x"`: true, "": true} {
		got, err := k.Get(ctx, nobody, "notes", "g", "", records.Condition{IfNoneMatch: header}, nil)
		if err != nil || got.Modified != modified || (len(got.JSON) > 0) != modified {
			t.Errorf("GET with If-None-Match %s: modified %v, %d bytes, %v", header, got.Modified, len(got.JSON), err)
		}
	}
	for _, err := range []error{
		k.Delete(ctx, nobody, "notes", "g", records.Condition{IfMatch: `"x"`}),
		func() error {
			_, err := k.Patch(ctx, nobody, "notes", "g", []byte(`{}`), records.Condition{IfMatch: `"x"`})
			return err
		}(),
	} {
		if code(err) != errs.Stale {
			t.Errorf("a stale If-Match: %v", err)
		}
	}
}

func TestRefusedBodies(t *testing.T) {
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("notes", open)
	k.create(ada, "notes", `{"id":"a"}`)
	for _, test := range []struct{ body, pointer, field string }{
		{`[]`, "", "type"},
		{`"x"`, "", "type"},
		{`{`, "", "invalid_json"},
		{``, "", "invalid_json"},
		{`{"a":1}{}`, "", "trailing_data"},
		{`{"a":1,"a":2}`, "/a", "duplicate_key"},
		{`{"a":{"b":1,"b":2}}`, "/a/b", "duplicate_key"},
		{`{"$inc":1}`, "/$inc", "reserved_name"},
		{`{"a":[{"$x":1}]}`, "/a/0/$x", "reserved_name"},
		{`{"a":9007199254740993}`, "/a", "number_range"},
		{`{"a":1e999}`, "/a", "number_range"},
		{"{\"a\":\"\xff\"}", "/a", "invalid_utf8"},
		{`{"a":"\ud800"}`, "/a", "invalid_utf8"},
		{`{"a":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, "*", "too_deep"},
		{`{"id":"a b"}`, "/id", "bad_id"},
		{`{"id":""}`, "/id", "bad_id"},
		{`{"id":"` + strings.Repeat("x", 65) + `"}`, "/id", "bad_id"},
		{`{"id":7}`, "/id", "type"},
		{`{"id":"a"}`, "/id", "taken"},
		{`{"rev":"1"}`, "/rev", "read_only"},
		{`{"created":"2020-01-01T00:00:00.000Z"}`, "/created", "read_only"},
		{`{"updated":null}`, "/updated", "read_only"},
		{`{"owner":"u-grace"}`, "/owner", "read_only"},
		{`{"owner":7}`, "/owner", "type"},
	} {
		_, err := k.Create(ctx, ada, "notes", []byte(test.body))
		f := fields(err)
		if len(f) != 1 || test.pointer != "*" && f[0].Pointer != test.pointer || f[0].Code != test.field {
			t.Errorf("%.60s: %v %+v, want %s at %q", test.body, err, f, test.field, test.pointer)
		}
	}
	for _, c := range []*identity.Caller{ada, nobody} {
		if _, err := k.Patch(ctx, c, "notes", "a", []byte(`{"owner":"u-grace"}`), records.Condition{}); len(fields(err)) != 1 {
			t.Errorf("%s gave a record away: %v", c.ID, err)
		}
	}
	if _, err := k.Patch(ctx, admin, "notes", "a", []byte(`{"owner":"u-grace"}`), records.Condition{}); err != nil {
		t.Errorf("an admin may give a record to somebody: %v", err)
	}
	// A record that was read can be sent back whole.
	got, err := k.Get(ctx, grace, "notes", "a", "", records.Condition{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Put(ctx, grace, "notes", "a", got.JSON, records.Condition{}); err != nil {
		t.Errorf("PUT of what GET gave: %v %v", err, fields(err))
	}
	if _, _, err := k.Put(ctx, grace, "notes", "a", got.JSON, records.Condition{}); code(err) != errs.Invalid {
		t.Errorf("PUT of an old rev: %v", err)
	}
	if _, _, err := k.Put(ctx, grace, "notes", "zz", []byte(`{"id":"a"}`), records.Condition{}); code(err) != errs.Invalid {
		t.Errorf("PUT of another id: %v", err)
	}
	big := `{"x":"` + strings.Repeat("x", 1<<19) + `"}`
	k.create(admin, "notes", `{"id":"big","y":"`+strings.Repeat("y", 1<<19)+`"}`)
	if _, err := k.Patch(ctx, admin, "notes", "big", []byte(big), records.Condition{}); code(err) != errs.TooLarge {
		t.Errorf("a patch past the largest record: %v", err)
	}
}

// TestConcurrentPatches has many clients count in one record: none of their patches is lost or made on an old state.
func TestConcurrentPatches(t *testing.T) {
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("notes", open)
	k.create(nobody, "notes", `{"id":"a","n":0}`)
	const clients, each = 8, 20
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for j := range each {
				if _, err := k.Patch(ctx, nobody, "notes", "a", fmt.Appendf(nil, `{"c%d_%d":true}`, i, j), records.Condition{}); err != nil {
					t.Error(err)
				}
				for { // a counter by optimistic concurrency
					doc, err := k.Get(ctx, nobody, "notes", "a", "", records.Condition{}, nil)
					if err != nil {
						t.Error(err)
						return
					}
					n := body(t, doc.JSON)["n"].(float64)
					_, err = k.Patch(ctx, nobody, "notes", "a", fmt.Appendf(nil, `{"n":%v}`, n+1), records.Condition{IfMatch: `"` + doc.Rev + `"`})
					if err == nil {
						break
					}
					if code(err) != errs.Stale {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	doc, err := k.Get(ctx, nobody, "notes", "a", "", records.Condition{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := body(t, doc.JSON)
	if m["n"] != float64(clients*each) || len(m) != clients*each+1 {
		t.Errorf("n is %v and there are %d fields, want %d and %d", m["n"], len(m), clients*each, clients*each+1)
	}
}
