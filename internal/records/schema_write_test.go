package records_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records"
)

// step is one write and what must come of it.
type step struct {
	c            *identity.Caller
	method, body string
	want         object // the fields afterwards; nil where it is refused
	faults       string // pointers and codes of the refusal
}

// steps does writes to one record after another.
func (k *kit) steps(collection string, steps []step) {
	k.Helper()
	ctx := context.Background()
	id := ""
	for _, s := range steps {
		var doc records.Document
		var err error
		switch s.method {
		case "create":
			if doc, err = k.Create(ctx, s.c, collection, []byte(s.body)); err == nil {
				id = doc.ID
			}
		case "put":
			_, _, err = k.Put(ctx, s.c, collection, id, []byte(s.body), records.Condition{})
		case "patch":
			_, err = k.Patch(ctx, s.c, collection, id, []byte(s.body), records.Condition{})
		}
		if s.want == nil {
			var faults []string
			for _, f := range fields(err) {
				faults = append(faults, f.Pointer+" "+f.Code)
			}
			if got := strings.Join(faults, ", "); code(err) != errs.Invalid || got != s.faults {
				k.Errorf("%s %s by %q: %v, faults %s, want %s", s.method, s.body, s.c.ID, err, got, s.faults)
			}
			continue
		}
		if err != nil {
			k.Errorf("%s %s by %q: %v %v", s.method, s.body, s.c.ID, err, fields(err))
			continue
		}
		if doc, err = k.Get(ctx, admin, collection, id, "", records.Condition{}, nil); err != nil {
			k.Fatal(err)
		}
		got := objectOf(doc.JSON)
		for _, system := range []string{"id", "rev", "created", "updated", "owner"} {
			delete(got, system)
		}
		if diff := cmp.Diff(s.want, got); diff != "" {
			k.Errorf("%s %s by %q (-want +got):\n%s", s.method, s.body, s.c.ID, diff)
		}
	}
}

func TestDefaults(t *testing.T) {
	k := newKit(t, records.Options{})
	k.define("notes", `{"schema":{"properties":{"state":{"enum":["open","done"],"default":"open"},"o":{"properties":{"n":{"type":"integer","default":1}}},"deep":{"default":{"list":[1,2]}}},"required":["state"]},
		"indexes":[{"name":"by_state","fields":["state"]}],"checks":[{"name":"c","expr":"record.state != 'done' || has(record.by)"}],
		"access":{"read":"true","create":"record.state == 'open'","update":"true"}}`)
	deep := object{"list": []any{1.0, 2.0}}
	k.steps("notes", []step{
		{ada, "create", `{}`, object{"state": "open", "deep": deep}, ""},
		{ada, "put", `{"state":"open"}`, object{"state": "open"}, ""}, // defaults are for creates
		{ada, "put", `{}`, nil, "/state required"},
		{ada, "patch", `{"o":{}}`, object{"state": "open", "o": object{}}, ""},
		{ada, "create", `{"o":{"n":7},"deep":null}`, object{"state": "open", "o": object{"n": 7.0}, "deep": nil}, ""},
		{ada, "create", `{"o":{}}`, object{"state": "open", "o": object{"n": 1.0}, "deep": deep}, ""},
		{ada, "patch", `{"state":null}`, nil, "/state required"},
		{ada, "patch", `{"state":"done"}`, nil, " c"},
		{ada, "patch", `{"state":"done","by":"ada"}`, object{"state": "done", "by": "ada", "o": object{"n": 1.0}, "deep": deep}, ""},
	})
	if p := k.list(ada, "notes", records.Query{Filter: `state == "open"`, Explain: false}); len(p.Items) != 2 {
		t.Errorf("by an index over a default: %v", p.ids())
	}
	// A PUT that creates is a create.
	doc, created, err := k.Put(context.Background(), ada, "notes", "put", []byte(`{}`), records.Condition{})
	if err != nil || !created || objectOf(doc.JSON)["state"] != "open" {
		t.Errorf("a PUT that creates: %s %v", doc.JSON, err)
	}
}

func TestReadOnlyFields(t *testing.T) {
	k := newKit(t, records.Options{})
	k.define("notes", `{"schema":{"properties":{"state":{"readOnly":true,"default":"new"},"o":{"properties":{"by":{"readOnly":true}}},"a":{}}},"access":{"read":"true","create":"true","update":"true"}}`)
	k.steps("notes", []step{
		{ada, "create", `{"state":"new"}`, nil, "/state read_only"}, // also what it would be
		{ada, "create", `{"o":{"by":"me"},"state":"x"}`, nil, "/o/by read_only, /state read_only"},
		{ada, "create", `{"o":{"to":"you"}}`, object{"state": "new", "o": object{"to": "you"}}, ""},
		{ada, "patch", `{"a":1}`, object{"state": "new", "o": object{"to": "you"}, "a": 1.0}, ""},
		{ada, "patch", `{"state":"x"}`, nil, "/state read_only"},
		{ada, "patch", `{"state":null}`, nil, "/state read_only"},
		{ada, "patch", `{"o":{"by":"me"}}`, nil, "/o/by read_only"},
		{ada, "put", `{"state":"new","a":2}`, object{"state": "new", "a": 2.0}, ""}, // what was read may be sent back
		{ada, "put", `{"a":2}`, nil, "/state read_only"},
		{admin, "patch", `{"state":"done","o":{"by":"admin"}}`, object{"state": "done", "a": 2.0, "o": object{"by": "admin"}}, ""},
		{ada, "patch", `{"o":null}`, nil, "/o/by read_only"},
		{ada, "put", `{"state":"done","o":{"by":"admin","more":1}}`, object{"state": "done", "o": object{"by": "admin", "more": 1.0}}, ""},
		{admin, "put", `{}`, object{}, ""},
		{operator, "create", `{"state":"x"}`, object{"state": "x"}, ""},
		{token(admin, "*", identity.Actions...), "patch", `{"state":"y"}`, object{"state": "y"}, ""},
	})
}

func TestChecks(t *testing.T) {
	k := newKit(t, records.Options{})
	k.define("notes", `{"schema":{"properties":{"a":{"type":"integer"}}},"checks":[{"name":"small","expr":"!has(record.a) || record.a < 10","message":"a must be small"},{"name":"text","expr":"record.b != ''"},
		{"name":"mine","expr":"!has(record.for) || record.for == auth.id"}],"access":{"read":"true","create":"true","update":"true"}}`)
	k.steps("notes", []step{
		{ada, "create", `{"a":10,"b":""}`, nil, " small,  text"},
		{ada, "create", `{"a":"x","b":""}`, nil, "/a type"}, // the schema first
		{ada, "create", `{"a":1}`, nil, " text"},            // an error is no yes
		{admin, "create", `{"a":10,"b":"x"}`, nil, " small"},
		{operator, "create", `{"a":10,"b":"x"}`, nil, " small"},
		{nobody, "create", `{"b":"x","for":"u-ada"}`, nil, " mine"},
		{ada, "create", `{"b":"x","for":"u-ada"}`, object{"b": "x", "for": "u-ada"}, ""},
		{grace, "patch", `{"a":1}`, nil, " mine"},
		{ada, "patch", `{"a":11}`, nil, " small"},
		{ada, "put", `{"a":9,"b":"y"}`, object{"a": 9.0, "b": "y"}, ""},
	})
	_, err := k.Create(context.Background(), ada, "notes", []byte(`{"a":10,"b":""}`))
	if f := fields(err); len(f) != 2 || f[0].Message != "a must be small" || !strings.Contains(f[1].Message, "text") {
		t.Errorf("the messages are %+v", f)
	}
}
