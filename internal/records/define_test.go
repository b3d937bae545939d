package records_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records"
)

const person = `{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0}},"required":["name"]}`

// put defines a collection and returns what came of it.
func (k *kit) put(name, body string, o records.DefineOptions) (records.DefineResult, error) {
	return k.Define(context.Background(), admin, name, []byte(body), o)
}

func TestDefineAgain(t *testing.T) {
	k := newKit(t, records.Options{})
	body := `{"schema":` + person + `,"indexes":[{"name":"by_age","fields":["-age"],"unique":false}],"access":{"read":"true"},"checks":[{"name":"c","expr":"record.age < 200","message":"m"}],"hidden":["pin"]}`
	first, err := k.put("people", body, records.DefineOptions{})
	if err != nil || !first.Created {
		t.Fatalf("%v, created %v", err, first.Created)
	}
	// The same again, in other words, and as a GET gives it.
	read, err := k.Collection(context.Background(), admin, "people")
	if err != nil {
		t.Fatal(err)
	}
	var spaced strings.Builder
	for _, c := range body {
		spaced.WriteRune(c)
		if c == ',' || c == ':' {
			spaced.WriteString("\n ")
		}
	}
	for what, again := range map[string]string{
		"the same":              body,
		"with white space":      spaced.String(),
		"with defaults said":    strings.Replace(body, `"access":{"read":"true"}`, `"access":{"update":null,"read":"true","create":null},"relations":{}`, 1),
		"as it was read":        string(read.JSON),
		"with the rev it's of":  `{"rev":"` + first.Rev + `",` + body[1:],
		"members in other ways": `{"hidden":["pin"],` + strings.Replace(body[1:], `,"hidden":["pin"]`, "", 1),
	} {
		got, err := k.put("people", again, records.DefineOptions{})
		if err != nil || got.Rev != first.Rev || got.Created || string(got.JSON) != string(read.JSON) {
			t.Errorf("%s: rev %s after %s, created %v, %v %v", what, got.Rev, first.Rev, got.Created, err, fields(err))
		}
	}
	changed, err := k.put("people", strings.Replace(body, "200", "150", 1), records.DefineOptions{})
	if err != nil || changed.Rev <= first.Rev || changed.Created {
		t.Fatalf("a change: rev %s after %s, %v", changed.Rev, first.Rev, err)
	}
	now := objectOf(changed.JSON)
	if before := objectOf(read.JSON); now["created"] != before["created"] || now["name"] != "people" || now["rev"] != changed.Rev {
		t.Errorf("after the change it is %s", changed.JSON)
	}
	if all, err := k.Collections(context.Background(), admin); err != nil || string(all) != `{"items":[`+string(changed.JSON)+`]}` {
		t.Errorf("the collections are %s, %v", all, err)
	}
}

func TestDefineConditions(t *testing.T) {
	k := newKit(t, records.Options{})
	first, err := k.put("notes", open, records.DefineOptions{Cond: records.Condition{IfNoneMatch: "*"}})
	if err != nil {
		t.Fatal(err)
	}
	second, err := k.put("notes", `{}`, records.DefineOptions{Cond: records.Condition{IfMatch: `"` + first.Rev + `"`}})
	if err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		for _, test := range []struct {
			name, body string
			cond       records.Condition
		}{
			{"notes", open, records.Condition{IfMatch: `"` + first.Rev + `"`}},
			{"notes", `{}`, records.Condition{IfMatch: `"` + first.Rev + `"`}}, // also where it changes nothing
			{"notes", open, records.Condition{IfNoneMatch: "*"}},
			{"notes", `{"rev":"` + first.Rev + `"}`, records.Condition{}},
			{"notes", `{"rev":"` + first.Rev + `"}`, records.Condition{IfMatch: `"` + second.Rev + `"`}},
			{"missing", open, records.Condition{IfMatch: "*"}},
			{"missing", `{"rev":"` + second.Rev + `"}`, records.Condition{}},
		} {
			if _, err := k.put(test.name, test.body, records.DefineOptions{Cond: test.cond, DryRun: dry}); code(err) != errs.Stale {
				t.Errorf("%s %s with %+v: %v", test.name, test.body, test.cond, err)
			}
		}
	}
	if err := k.Drop(context.Background(), admin, "notes", records.Condition{IfMatch: `"` + first.Rev + `"`}); code(err) != errs.Stale {
		t.Errorf("a drop with a stale If-Match: %v", err)
	}
	if _, err := k.put("notes", `{"rev":"`+second.Rev+`","access":{"read":"true"}}`, records.DefineOptions{Cond: records.Condition{IfMatch: "*"}}); err != nil {
		t.Errorf("a change of what was read: %v", err)
	}
	if _, err := k.Collection(context.Background(), admin, "missing"); code(err) != errs.NotFound {
		t.Errorf("a refused definition made a collection: %v", err)
	}
}

// TestOnlyAdminsDefine has others try: users, and API tokens of admins, which are for records alone.
func TestOnlyAdminsDefine(t *testing.T) {
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("notes", open)
	for _, test := range []struct {
		c    *identity.Caller
		want errs.Code
	}{{nobody, errs.Unauthenticated}, {ada, errs.Forbidden}, {token(admin, "*", identity.Actions...), errs.Forbidden}, {admin, ""}, {operator, ""}} {
		_, define := k.Define(ctx, test.c, "notes", []byte(open), records.DefineOptions{})
		_, dry := k.Define(ctx, test.c, "notes", []byte(`{}`), records.DefineOptions{DryRun: true})
		_, get := k.Collection(ctx, test.c, "notes")
		_, all := k.Collections(ctx, test.c)
		_, try := k.Try(ctx, test.c, "notes", []byte(`{"action":"read","record":{}}`))
		drop := k.Drop(ctx, test.c, "missing", records.Condition{})
		if test.want == "" && code(drop) == errs.NotFound {
			drop = nil
		}
		for what, err := range map[string]error{"define": define, "dry run": dry, "get": get, "list": all, "try": try, "drop": drop} {
			if code(err) != test.want {
				t.Errorf("%s by %q: %v, want %q", what, test.c.ID, err, test.want)
			}
		}
	}
}

func TestCollectionNames(t *testing.T) {
	k := newKit(t, records.Options{})
	for name, good := range map[string]bool{
		"notes": true, "n": true, "shop.orders": true, "a1_b.c2_d": true, strings.Repeat("n", 64): true,
		"": false, "Notes": false, "1a": false, "_a": false, "a.b.c": false, "a.": false, ".a": false, "a.1": false, "a-b": false, "a b": false,
		"é": false, "a/b": false, "a\x00": false, strings.Repeat("n", 65): false,
	} {
		if _, err := k.put(name, open, records.DefineOptions{}); good != (err == nil) || !good && code(err) != errs.Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestRefusedDefinitions(t *testing.T) {
	k := newKit(t, records.Options{})
	const closed = `"schema":{"properties":{"title":{"type":"string"},"n":{"properties":{"x":true},"additionalProperties":false}},"additionalProperties":false}`
	many := func(n int, each string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = strings.ReplaceAll(each, "#", fmt.Sprint(i))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	for _, test := range []struct{ body, pointer, code, says string }{
		{`{"schema":7}`, "/schema", "type", "object"},
		{`{"schema":{"type":"strin"}}`, "/schema/type", "enum", `"string"`},
		{`{"schema":{"minimum":"7"}}`, "/schema/minimum", "type", "number"},
		{`{"schema":{"propertis":{}}}`, "/schema/propertis", "unknown_keyword", `"properties"`},
		{`{"schema":{"properties":{"a":{"$ref":"https://example.com/x.json"}}}}`, "/schema/properties/a/$ref", "remote_ref", "nothing is ever fetched"},
		{`{"schema":{"$ref":"file:///etc/passwd"}}`, "/schema/$ref", "remote_ref", "nothing is ever fetched"},
		{`{"schema":{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}}`, "/schema/$defs/a", "endless_ref", "for ever"},
		{`{"schema":{"properties":{"rev":true}}}`, "/schema/properties/rev", "system_field", "system field"},
		{`{"schema":{"pattern":"("}}`, "/schema/pattern", "*", ""},
		{`{` + closed + `,"indexes":[{"name":"a","fields":["titel"]}]}`, "/indexes/0/fields/0", "unknown_field", "titel"},
		{`{` + closed + `,"indexes":[{"name":"a","fields":["title","-n.y"]}]}`, "/indexes/0/fields/1", "unknown_field", "n.y"},
		{`{` + closed + `,"indexes":[{"name":"a","fields":["title"],"where":"titel == ''"}]}`, "/indexes/0/where", "bad_expression", `did you mean "title"?`},
		{`{"indexes":[{"name":"a","fields":["b"]},{"name":"a","fields":["c"]}]}`, "/indexes/1", "duplicate", "twice"},
		{`{"indexes":[{"name":"a","fields":["b","-b"]}]}`, "/indexes/0/fields/1", "duplicate", "twice"},
		{`{"indexes":[{"name":"a","fields":[]}]}`, "/indexes/0/fields", "required", "field"},
		{`{"indexes":[{"name":"a"}]}`, "/indexes/0/fields", "required", "field"},
		{`{"indexes":[{"fields":["a"]}]}`, "/indexes/0/name", "required", "name"},
		{`{"indexes":[{"name":"A b","fields":["a"]}]}`, "/indexes/0/name", "bad_name", "small letters"},
		{`{"indexes":[{"name":"a","fields":["b..c"]}]}`, "/indexes/0/fields/0", "bad_field", "dots"},
		{`{"indexes":[{"name":"a","fields":["-"]}]}`, "/indexes/0/fields/0", "bad_field", ""},
		{`{"indexes":[{"name":"a","fields":["rev"]}]}`, "/indexes/0/fields/0", "not_supported", "updated"},
		{`{"indexes":[{"name":"a","fields":["owner.x"]}]}`, "/indexes/0/fields/0", "bad_field", "system field"},
		{`{"indexes":[{"name":"a","fields":["a","b","c","d","e","f","g","h"]}]}`, "/indexes/0/fields", "too_many", "7"},
		{`{"indexes":` + many(33, `{"name":"i#","fields":["a"]}`) + `}`, "/indexes", "too_many", "32"},
		{`{"indexes":[{"name":"a","fields":["b"],"where":"b =="}]}`, "/indexes/0/where", "bad_expression", "column 5"},
		{`{"indexes":[{"name":"a","fields":["b"],"where":"b == auth.id"}]}`, "/indexes/0/where", "bad_expression", "auth"},
		{`{"indexes":[{"name":"a","fields":["b"],"where":"timestamp(b) > now"}]}`, "/indexes/0/where", "bad_expression", "now"},
		{`{"hidden":["b"],"indexes":[{"name":"a","fields":["b"],"unique":true}]}`, "/indexes/0/fields/0", "hidden", "find out"},
		{`{"hidden":["b"],"indexes":[{"name":"a","fields":["b.c"],"unique":true}]}`, "/indexes/0/fields/0", "hidden", "find out"},
		{`{"hidden":["b"],"indexes":[{"name":"a","fields":["c"],"unique":true,"where":"b == 1"}]}`, "/indexes/0/where", "hidden", "find out"},
		{`{"indexes":[{"name":"a","fields":["b"],"uniqe":true}]}`, "/indexes/0/uniqe", "unknown_field", "unique"},
		{`{"indexes":[{"name":"a","fields":["b"],"unique":1}]}`, "/indexes/0/unique", "type", "true or false"},
		{`{"indexes":{}}`, "/indexes", "type", "array"},
		{`{"access":{"read":"record.owner == auth.id &&"}}`, "/access/read", "bad_expression", "column 27"},
		{`{"access":{"read":"\nrecord.owner ==== auth.id"}}`, "/access/read", "bad_expression", "line 2"},
		{`{"access":{"read":"recrd.owner == auth.id"}}`, "/access/read", "bad_expression", "recrd"},
		{`{` + closed + `,"access":{"read":"record.titel == auth.id"}}`, "/access/read", "bad_expression", `did you mean "title"?`},
		{`{` + closed + `,"access":{"update":"before.titel == record.title"}}`, "/access/update", "bad_expression", `did you mean "title"?`},
		{`{` + closed + `,"checks":[{"name":"c","expr":"record.titel != ''"}]}`, "/checks/0/expr", "bad_expression", `did you mean "title"?`},
		{`{"access":{"read":"before.x == 1"}}`, "/access/read", "bad_expression", "before"},
		{`{"access":{"create":"before.x == 1"}}`, "/access/create", "bad_expression", "before"},
		{`{"access":{"red":"true"}}`, "/access/red", "unknown_field", "read"},
		{`{"access":{"read":true}}`, "/access/read", "type", "string"},
		{`{"access":{"read":""}}`, "/access/read", "bad_expression", ""},
		{`{"access":{"read":"` + strings.Repeat("!", 60) + `true"}}`, "/access/read", "bad_expression", ""},
		{`{"access":{"read":"true` + strings.Repeat(" || true", 300) + `"}}`, "/access/read", "bad_expression", ""},
		{`{"access":{"read":"record.x == '` + strings.Repeat("x", 5000) + `'"}}`, "/access/read", "bad_expression", ""},
		{`{"access":{"read":"record.x.matches('(')"}}`, "/access/read", "bad_expression", ""},
		{`{"access":"true"}`, "/access", "type", "object"},
		{`{"checks":[{"name":"a","expr":"record.a >"}]}`, "/checks/0/expr", "bad_expression", "column 11"},
		{`{"checks":[{"expr":"true"}]}`, "/checks/0/name", "required", "name"},
		{`{"checks":[{"name":"a"}]}`, "/checks/0/expr", "required", "expression"},
		{`{"checks":[{"name":"a","expr":"true"},{"name":"a","expr":"true"}]}`, "/checks/1", "duplicate", "twice"},
		{`{"checks":` + many(65, `{"name":"c#","expr":"true"}`) + `}`, "/checks", "too_many", "64"},
		{`{"hidden":["owner"]}`, "/hidden/0", "system_field", "system field"},
		{`{"hidden":["a.b"]}`, "/hidden/0", "not_supported", "top-level"},
		{`{"hidden":["a","a"]}`, "/hidden/1", "duplicate", "twice"},
		{`{"hidden":[1]}`, "/hidden/0", "type", "string"},
		{`{"hidden":` + many(65, `"h#"`) + `}`, "/hidden", "too_many", "64"},
		{`{"acess":{}}`, "/acess", "unknown_field", "access"},
		{`{"relations":{"a":{"to":"b"}}}`, "/relations", "not_supported", "relations"},
		{`{"relations":1}`, "/relations", "*", ""},
		{`{"rev":7}`, "/rev", "type", "string"},
		{`{"hidden":["a"],"hidden":["b"]}`, "/hidden", "duplicate_key", ""},
		{`[]`, "", "type", "object"},
		{`{`, "", "invalid_json", ""},
		{``, "", "invalid_json", ""},
	} {
		shown := test.body
		if len(shown) > 120 {
			shown = shown[:120] + "…"
		}
		_, err := k.put("notes", test.body, records.DefineOptions{})
		f := fields(err)
		if len(f) != 1 || f[0].Pointer != test.pointer || test.code != "*" && f[0].Code != test.code || !strings.Contains(f[0].Message, test.says) {
			t.Errorf("%s: %v %q, want %s at %q that says %q", shown, err, f, test.code, test.pointer, test.says)
		}
	}
	// All faults are told at once.
	_, err := k.put("notes", `{"schema":{"type":"strin"},"access":{"read":"(","update":")"},"checks":[{"name":"c","expr":"1 +"}],"indexes":[{"name":"a","fields":["b..c"]}]}`, records.DefineOptions{})
	if len(fields(err)) != 5 {
		t.Errorf("5 faults: %v %v", err, fields(err))
	}
	if _, err := k.Collection(context.Background(), admin, "notes"); code(err) != errs.NotFound {
		t.Errorf("a refused definition made a collection: %v", err)
	}
}

// TestOddSchemas takes schemas that are unusual and right.
func TestOddSchemas(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	k.define("trees", `{"schema":{"properties":{"name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#"}}},"additionalProperties":false},"access":{"create":"true"}}`)
	if _, err := k.Create(context.Background(), ada, "trees", []byte(`{"children":[{"children":[{"name":7}]}]}`)); len(fields(err)) != 1 || fields(err)[0].Pointer != "/children/0/children/0/name" {
		t.Errorf("a fault deep in a recursive schema: %v %v", err, fields(err))
	}
	k.create(ada, "trees", `{"children":[{"children":[{"name":"leaf"}]}]}`)
	// Large ones, up to a limit.
	large := func(size int) string {
		var b strings.Builder
		b.WriteString(`{"schema":{"properties":{`)
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, `"field%d":{"type":"string","maxLength":%d,"description":"the field of number %d"},`, i, i, i)
		}
		b.WriteString(`"last":{"type":"integer"}},"additionalProperties":false},"access":{"create":"record.last > 1"}}`)
		return b.String()
	}
	size := 250_000
	if raceEnabled {
		size = 50_000
	}
	k.define("large", large(size))
	k.create(ada, "large", `{"last":2,"field9":"123456789"}`)
	if _, err := k.Create(context.Background(), ada, "large", []byte(`{"last":2,"field9":"1234567890"}`)); code(err) != errs.Invalid {
		t.Errorf("a record that doesn't fit: %v", err)
	}
	if _, err := k.put("larger", large(1<<20), records.DefineOptions{}); len(fields(err)) != 1 || fields(err)[0].Pointer != "/schema" {
		t.Errorf("a schema of a MiB: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	k := newKit(t, records.Options{})
	body := `{"schema":` + person + `,"access":{"read":"record.name > 1","update":"1 < 'a'"},"checks":[{"name":"c","expr":"record.age == 'x'"}]}`
	for _, dry := range []bool{true, false} {
		got, err := k.put("people", body, records.DefineOptions{DryRun: dry})
		if err != nil {
			t.Fatal(err)
		}
		var told struct{ Warnings []errs.Field }
		if err := json.Unmarshal(got.JSON, &told); err != nil {
			t.Fatal(err)
		}
		var at []string
		for _, w := range told.Warnings {
			at = append(at, w.Pointer)
		}
		if diff := cmp.Diff([]string{"/access/read", "/access/update", "/checks/0/expr"}, at); diff != "" {
			t.Errorf("dry run %v: %v\n%s", dry, told.Warnings, diff)
		}
	}
	if _, err := k.tryList(ada, "people", records.Query{}); err != nil && code(err) != errs.Forbidden {
		t.Errorf("a list under a rule that is always an error: %v", err)
	}
}

func TestDryRun(t *testing.T) {
	k := newKit(t, records.Options{})
	type told struct {
		Would         string
		Build, Remove []string
		Misfits       struct {
			Count   int
			Records []struct {
				ID     string
				Errors []errs.Field
			}
		}
	}
	dry := func(body string) (a told) {
		t.Helper()
		got, err := k.put("people", body, records.DefineOptions{DryRun: true})
		if err != nil {
			t.Fatal(err, fields(err))
		}
		if err := json.Unmarshal(got.JSON, &a); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(got.JSON), "null") {
			t.Errorf("a dry run says null: %s", got.JSON)
		}
		return a
	}
	const two = `{"indexes":[{"name":"a","fields":["a"]},{"name":"b","fields":["b"]}]}`
	if a := dry(two); a.Would != "create" || len(a.Build) != 2 {
		t.Errorf("of what isn't there: %+v", a)
	}
	if _, err := k.Collection(context.Background(), admin, "people"); code(err) != errs.NotFound {
		t.Errorf("a dry run made a collection: %v", err)
	}
	first, err := k.put("people", two, records.DefineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if a := dry(two); a.Would != "nothing" || len(a.Build)+len(a.Remove) != 0 {
		t.Errorf("of the same: %+v", a)
	}
	a := dry(`{"indexes":[{"name":"b","fields":["b"],"unique":true},{"name":"c","fields":["c"]},{"name":"a","fields":["a"]}]}`)
	if a.Would != "change" || cmp.Diff([]string{"b", "c"}, a.Build) != "" || cmp.Diff([]string{"b"}, a.Remove) != "" {
		t.Errorf("of other indexes: %+v", a)
	}
	var bodies []string
	for i := range 130 {
		bodies = append(bodies, fmt.Sprintf(`{"id":"r%03d","name":"n"}`, i))
		if i >= 7 {
			bodies[i] = fmt.Sprintf(`{"id":"r%03d","age":-1}`, i)
		}
	}
	k.createAll("people", bodies...)
	a = dry(`{"schema":` + person + `}`)
	if m := a.Misfits; m.Count != 123 || len(m.Records) != 100 || m.Records[0].ID != "r007" || len(m.Records[0].Errors) != 2 {
		t.Errorf("%d misfits, %d told, of %+v", m.Count, len(m.Records), m.Records[:1])
	}
	now, err := k.Collection(context.Background(), admin, "people")
	if err != nil || now.Rev != first.Rev {
		t.Errorf("after dry runs its rev is %s, was %s; %v", now.Rev, first.Rev, err)
	}
}

// misfits are those that a refused change tells.
func misfits(t *testing.T, err error) (count int, ids []string) {
	t.Helper()
	var e *errs.Error
	if !errors.As(err, &e) || e.Code != errs.Conflict {
		t.Fatalf("%v, want a conflict", err)
	}
	raw, err := json.Marshal(e.Members["misfits"])
	if err != nil {
		t.Fatal(err)
	}
	var told struct {
		Count   int
		Records []struct{ ID string }
	}
	if err := json.Unmarshal(raw, &told); err != nil {
		t.Fatal(err)
	}
	for _, r := range told.Records {
		ids = append(ids, r.ID)
	}
	return told.Count, ids
}

func TestMisfits(t *testing.T) {
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("people", open)
	k.createAll("people", `{"id":"good","name":"Ada"}`, `{"id":"young","name":"Bob","age":-1}`, `{"id":"nameless"}`)
	schema := `{"schema":` + person + `,"access":{"read":"true","update":"true"}}`
	_, err := k.put("people", schema, records.DefineOptions{})
	if n, ids := misfits(t, err); n != 2 || cmp.Diff([]string{"nameless", "young"}, ids) != "" {
		t.Errorf("%d misfits: %v", n, ids)
	}
	if _, err := k.put("people", schema, records.DefineOptions{Keep: true}); err != nil {
		t.Fatal(err)
	}
	// What was kept can be read, but every change must mend it.
	if got := k.list(ada, "people", records.Query{}).ids(); len(got) != 3 {
		t.Errorf("%v are left", got)
	}
	for _, test := range []struct {
		body string
		want errs.Code
	}{{`{"note":"x"}`, errs.Invalid}, {`{"age":5}`, ""}, {`{"note":"x"}`, ""}} {
		if _, err := k.Patch(ctx, ada, "people", "young", []byte(test.body), records.Condition{}); code(err) != test.want {
			t.Errorf("patch %s of a misfit: %v", test.body, err)
		}
	}
	// The same schema again asks nothing; another one does.
	if _, err := k.put("people", schema, records.DefineOptions{}); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if _, err := k.put("people", strings.Replace(schema, `"minimum":0`, `"minimum":1`, 1), records.DefineOptions{}); code(err) != errs.Conflict {
		t.Errorf("another schema over what was kept: %v", err)
	}
	if err := k.Delete(ctx, admin, "people", "nameless", records.Condition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.put("people", strings.Replace(schema, `"minimum":0`, `"minimum":1`, 1), records.DefineOptions{}); err != nil {
		t.Errorf("when all fit: %v", err)
	}
}
