package records_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records"
)

// twins are two data files that differ in the values of hidden fields and in nothing else. Whatever somebody who is no admin
// asks, both must answer alike.
type twins struct {
	*rapid.T
	k    [2]*kit
	name string
	said int // answers that were compared
}

// answer shows all that a request told: its result, and of an error what a problem document shows.
func answer(result []byte, err error) string {
	var e *errs.Error
	switch {
	case err == nil:
		return string(result)
	case errors.As(err, &e):
		return fmt.Sprintf("%s %s %v %v", e.Code, e.Text, e.Fields, e.Members)
	}
	return err.Error()
}

// alike does a request in both and compares the answers.
func (w *twins) alike(what string, request func(k *kit) string) {
	a, b := request(w.k[0]), request(w.k[1])
	if a != b {
		w.Fatalf("%s tells of a hidden field:\n%s\n%s", what, a, b)
	}
	if strings.Contains(a, `"pin":`) || strings.Contains(a, `"s":`) {
		w.Fatalf("%s shows a hidden field: %s", what, a)
	}
	w.said++
}

// differ does something in both, with its own values for hidden fields.
func (w *twins) differ(request func(k *kit, hidden string) error) {
	for _, k := range w.k {
		hidden := []string{}
		if !one(w.T, 5) {
			hidden = append(hidden, `"pin":`+drawValue(w.T))
		}
		if !one(w.T, 3) {
			hidden = append(hidden, `"s":`+drawValue(w.T))
		}
		if err := request(k, strings.Join(hidden, ",")); err != nil {
			w.Fatal(err)
		}
	}
}

var hiddenIndexes = []string{
	`{"name":"a","fields":["a"]}`, `{"name":"ap","fields":["a","pin"]}`, `{"name":"bp","fields":["-b","n.x","-pin"]}`, `{"name":"p","fields":["pin"]}`,
	`{"name":"ub","fields":["b"],"unique":true}`, `{"name":"us","fields":["tags","b"],"unique":true,"where":"has(a)"}`, `{"name":"s","fields":["-s"]}`,
	`{"name":"tp","fields":["tags","-s"]}`, `{"name":"wn","fields":["n.x"],"where":"b > 0"}`,
}

func (w *twins) define() {
	var indexes []string
	for _, ix := range hiddenIndexes {
		if one(w.T, 3) {
			indexes = append(indexes, ix)
		}
	}
	read := pick(w.T, "true", "true", "has(auth.id)", "record.owner == auth.id || record.a == 1", `"editor" in auth.roles || record.b > 0`)
	definition := fmt.Sprintf(`{"schema":%s,"hidden":["pin","s"],"indexes":[%s],"checks":[{"name":"c","expr":"record.b != 2 || has(record.a)"}],
		"access":{"read":%q,"create":"true","update":"record.a != 0.1","delete":"has(auth.id)"}}`,
		pick(w.T, "null", `{"properties":{"a":true,"b":true,"n":true,"tags":true,"pin":{"default":"x"},"s":true,"w":true},"additionalProperties":false}`), strings.Join(indexes, ","), read)
	for _, k := range w.k {
		if _, err := k.Define(context.Background(), admin, w.name, []byte(definition), records.DefineOptions{}); err != nil {
			w.Fatalf("%v %v", err, fields(err))
		}
	}
}

// ask does one random request.
func (w *twins) ask() {
	ctx := context.Background()
	c := pick(w.T, ada, grace, nobody, reader, &identity.Caller{Kind: identity.User, ID: "u-hopper"})
	id := pick(w.T, ids[:8]...)
	var cond records.Condition
	if one(w.T, 6) {
		cond = pick(w.T, records.Condition{IfMatch: "*"}, records.Condition{IfNoneMatch: "*"}, records.Condition{IfMatch: `"0"`})
	}
	hidden := pick(w.T, "", "", `"pin":1,`, `"s":"a",`, `"pin":null,`, `"pin":{"x":"a"},`)
	switch below(w.T, 9) {
	case 0:
		only := strings.Join(drawFields(w.T, 0, 2), ",")
		only = strings.ReplaceAll(only, "-", "") + pick(w.T, "", "", ",pin", ",pin.x", ",s")
		w.alike("get "+id+" fields "+only, func(k *kit) string {
			doc, err := k.Get(ctx, c, w.name, id, strings.Trim(only, ","), records.Condition{}, nil)
			return answer(doc.JSON, err) + doc.Rev
		})
	case 1:
		body := `{"id":"` + id + `",` + hidden + drawRecord(w.T)[1:]
		w.alike("create "+body, func(k *kit) string {
			doc, err := k.Create(ctx, c, w.name, []byte(body))
			return answer(doc.JSON, err) + doc.Rev
		})
	case 2:
		body := `{` + hidden + drawRecord(w.T)[1:]
		w.alike("put "+id+body, func(k *kit) string {
			doc, created, err := k.Put(ctx, c, w.name, id, []byte(body), cond)
			return fmt.Sprint(answer(doc.JSON, err), created)
		})
	case 3, 4:
		body := `{` + hidden + `"a":` + drawValue(w.T) + `}`
		w.alike("patch "+id+body, func(k *kit) string {
			doc, err := k.Patch(ctx, c, w.name, id, []byte(body), cond)
			return answer(doc.JSON, err) + doc.Rev
		})
	case 5:
		w.alike("delete "+id, func(k *kit) string { return answer(nil, k.Delete(ctx, c, w.name, id, cond)) })
	case 6:
		w.alike("try", func(k *kit) string {
			return answer(k.Try(ctx, c, w.name, []byte(`{"action":"read","record":{"id":"`+id+`"}}`)))
		})
	default:
		w.list(c)
	}
}

// list reads the pages of a random list.
func (w *twins) list(c *identity.Caller) {
	q := records.Query{Limit: between(w.T, 1, 5), Count: one(w.T, 3), Explain: one(w.T, 20), Sort: drawFields(w.T, 0, 2)}
	if !one(w.T, 4) {
		q.Filter = drawFilter(w.T, 1)
	}
	if one(w.T, 6) {
		q.Filter = pick(w.T, "pin == 1", "has(record.pin)", `record["pin"] == 1`, "a == 1 || pin == 1", "[1].exists(x, x == pin)", "s.startsWith('a')", "false && pin == 1", "has(s)", "1 in pin",
			"a == record.pin.x", "(a == 1 ? pin : b) == 1")
	}
	if one(w.T, 8) {
		q.Sort = append(q.Sort, pick(w.T, "pin", "-pin", "pin.x", "s"))
	}
	if one(w.T, 8) {
		q.Fields = []string{"a", pick(w.T, "b", "pin", "pin.x", "s")}
	}
	var cursors [2]string
	for pages := 0; pages < 4; pages++ {
		var next [2]string
		i := 0
		w.alike(fmt.Sprintf("list %+v by %q", q, c.ID), func(k *kit) string {
			mine := q
			mine.Cursor = cursors[i]
			b, err := k.List(context.Background(), c, w.name, mine, nil)
			shown := answer(b, err)
			if err == nil {
				var p page
				if err := json.Unmarshal(b, &p); err != nil {
					w.Fatal(err)
				}
				// Their digests are of the files' ids, which differ.
				for _, cursor := range []*string{p.Next, p.Prev} {
					if cursor != nil {
						shown = strings.Replace(shown, *cursor, opened(*cursor), 1)
					}
				}
				if p.Next != nil {
					next[i] = *p.Next
				}
			}
			i++
			return shown
		})
		if cursors = next; cursors[0] == "" {
			return
		}
	}
}

// opened is what a cursor holds.
func opened(cursor string) string {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) < 8 {
		return cursor
	}
	return string(b[:len(b)-8])
}

// TestHiddenFieldsTellNothing has somebody who is no admin ask anything of twins, and demands equal answers.
func TestHiddenFieldsTellNothing(t *testing.T) {
	t.Parallel()
	clock := newClock()
	// So few that lists run into the limit, too.
	w := &twins{k: [2]*kit{newKit(t, records.Options{Now: clock.now, Scan: 9}), newKit(t, records.Options{Now: clock.now, Scan: 9})}}
	requests := 25
	if raceEnabled {
		requests = 12
	}
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		w.T, w.name = t, fmt.Sprintf("twin%d", n)
		w.define()
		for range between(t, 0, 6) {
			body := `"id":"` + pick(t, ids[:8]...) + `","owner":"` + pick(t, "u-ada", "u-grace") + `",` + drawRecord(t)[1:]
			w.differ(func(k *kit, hidden string) error {
				if hidden != "" {
					hidden += ","
				}
				_, err := k.Create(context.Background(), admin, w.name, []byte("{"+hidden+body))
				if c := code(err); c == errs.IDTaken || c == errs.Invalid || c == errs.NotUnique {
					return nil
				}
				return err
			})
		}
		for range requests {
			clock.tick()
			w.ask()
			if one(t, 10) {
				id := pick(t, ids[:8]...)
				w.differ(func(k *kit, hidden string) error {
					_, err := k.Patch(context.Background(), admin, w.name, id, []byte("{"+hidden+"}"), records.Condition{})
					if code(err) == errs.NotFound || code(err) == errs.Invalid {
						return nil
					}
					return err
				})
			}
		}
		for _, k := range w.k {
			if err := errors.Join(k.Check(context.Background()), k.Drop(context.Background(), admin, w.name, records.Condition{})); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Logf("%d answers were alike", w.said)
}

// TestHiddenReadOnly guesses a field that only admins may set, by whether it is refused.
func TestHiddenReadOnly(t *testing.T) {
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("notes", `{"schema":{"properties":{"pin":{"readOnly":true},"s":{"properties":{"x":{"readOnly":true}}}}},"hidden":["pin","s"],"access":{"read":"true","create":"true","update":"true"}}`)
	for _, body := range []string{`{"pin":1234}`, `{"pin":0}`, `{"pin":null}`, `{"pin":[]}`, `{"s":{"x":1}}`, `{"s":{"x":2}}`, `{"s":{}}`, `{"s":{"y":1}}`, `{"s":null}`, `{"s":7}`, `{"a":1}`, `{}`} {
		for _, method := range []string{"patch", "put"} {
			answers := []string{}
			for _, stored := range []string{`{"pin":1234,"s":{"x":1}}`, `{"pin":0}`, `{"s":{"y":1}}`, `{"pin":null,"s":7}`} {
				doc := k.create(admin, "notes", stored)
				var err error
				if method == "patch" {
					_, err = k.Patch(ctx, ada, "notes", doc.ID, []byte(body), records.Condition{})
				} else {
					_, _, err = k.Put(ctx, ada, "notes", doc.ID, []byte(body), records.Condition{})
				}
				answers = append(answers, answer(nil, err))
			}
			if len(slices.Compact(slices.Clone(answers))) > 1 {
				t.Errorf("%s of %s tells what is stored: %q", method, body, answers)
			}
			if strings.Contains(body, "pin") && !strings.HasPrefix(answers[0], string(errs.Invalid)) {
				t.Errorf("%s of %s by no admin: %s", method, body, answers[0])
			}
			if (body == `{}` || body == `{"a":1}`) && answers[0] != "" {
				t.Errorf("%s of %s, which names no such field: %s", method, body, answers[0])
			}
		}
	}
	// Admins may.
	doc := k.create(admin, "notes", `{"pin":1}`)
	if _, err := k.Patch(ctx, admin, "notes", doc.ID, []byte(`{"pin":2,"s":{"x":3}}`), records.Condition{}); err != nil {
		t.Error(err)
	}
}

// TestHiddenLength looks for the length of a hidden field in the limit of a record's.
func TestHiddenLength(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("notes", `{"hidden":["pin"],"access":{"read":"true","update":"true"}}`)
	const most = 1 << 20
	k.create(admin, "notes", `{"id":"short","pin":""}`)
	k.create(admin, "notes", `{"id":"later","pin":"`+strings.Repeat("x", 1000)+`"}`)
	for _, length := range []int{most - 1300, most - 1100, most - 600, most - 200, most - 100, most} {
		body := []byte(`{"a":"` + strings.Repeat("a", length) + `"}`)
		_, errShort := k.Patch(ctx, ada, "notes", "short", body, records.Condition{})
		_, errLater := k.Patch(ctx, ada, "notes", "later", body, records.Condition{})
		if a, b := answer(nil, errShort), answer(nil, errLater); a != b {
			t.Errorf("%d bytes: %q and %q", length, a, b)
		}
	}
}

// TestHiddenLengthInPages looks for it in where pages end that are full by their bytes.
func TestHiddenLengthInPages(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	for name, hidden := range map[string]int{"short": 0, "later": 60_000} {
		k.define(name, `{"hidden":["pin"],"access":{"read":"true"}}`)
		for i := range 20 {
			k.create(admin, name, fmt.Sprintf(`{"id":"r%02d","pin":"%s","a":"%s"}`, i, strings.Repeat("x", hidden), strings.Repeat("a", 90_000)))
		}
	}
	for _, q := range []records.Query{{Limit: 20}, {Limit: 20, Filter: "true"}, {Limit: 20, Sort: []string{"a"}}, {Limit: 20, Fields: []string{"a"}}, {Limit: 20, Fields: []string{"created"}}} {
		short, later := k.list(ada, "short", q).ids(), k.list(ada, "later", q).ids()
		if !slices.Equal(short, later) {
			t.Errorf("%+v: %d and %d rows", q, len(short), len(later))
		}
	}
}

// TestHiddenIndexErrors looks for a hidden field in what indexes refuse.
func TestHiddenIndexErrors(t *testing.T) {
	ctx := context.Background()
	long := `{"a":"` + strings.Repeat("a", 5000) + `"}`
	many := `{"a":[` + strings.Repeat("0,", 1500) + `0]}`
	for _, test := range []struct{ index, body string }{
		{`{"name":"w","fields":["a"],"where":"pin == 1"}`, long},
		{`{"name":"w","fields":["a"],"where":"pin == 1"}`, many},
		{`{"name":"p","fields":["pin","a"]}`, many},
		{`{"name":"p","fields":["pin","a"]}`, long},
		{`{"name":"p","fields":["a","pin"],"where":"a != ''"}`, `{"a":"x"}`},
	} {
		k := newKit(t, records.Options{})
		_, err := k.Define(ctx, admin, "notes", []byte(`{"hidden":["pin"],"indexes":[`+test.index+`],"access":{"read":"true","update":"true"}}`), records.DefineOptions{})
		if code(err) == errs.Invalid {
			continue // such an index is refused: as good
		}
		if err != nil {
			t.Fatal(err)
		}
		answers := map[string]string{}
		for _, pin := range []string{"1", "2", "[]", `"x"`, "null"} {
			doc := k.create(admin, "notes", `{"a":"","pin":`+pin+`}`)
			_, err := k.Patch(ctx, ada, "notes", doc.ID, []byte(test.body), records.Condition{})
			answers[answer(nil, err)] = pin
		}
		if len(answers) != 1 {
			t.Errorf("%s: %v", test.index, answers)
		}
	}
}

// TestHiddenFieldsStay tells what others may do with hidden fields: write them, and leave them as they are.
func TestHiddenFieldsStay(t *testing.T) {
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("notes", `{"hidden":["pin"],"access":{"read":"true","create":"true","update":"true"}}`)
	doc := k.create(ada, "notes", `{"a":1,"pin":{"x":1}}`)
	if strings.Contains(string(doc.JSON), "pin") {
		t.Errorf("the answer to a create shows %s", doc.JSON)
	}
	for _, step := range []struct {
		c            *identity.Caller
		method, body string
		want         object
	}{
		{ada, "put", `{"a":2}`, object{"a": 2.0, "pin": object{"x": 1.0}}},
		{ada, "put", `{}`, object{"pin": object{"x": 1.0}}},
		{ada, "patch", `{"pin":{"y":2}}`, object{"pin": object{"x": 1.0, "y": 2.0}}},
		{ada, "put", `{"pin":3}`, object{"pin": 3.0}},
		{ada, "patch", `{"pin":null}`, object{}},
		{ada, "put", `{"pin":null}`, object{"pin": nil}},
		{admin, "put", `{"a":1}`, object{"a": 1.0}},
	} {
		var err error
		if step.method == "put" {
			_, _, err = k.Put(ctx, step.c, "notes", doc.ID, []byte(step.body), records.Condition{})
		} else {
			_, err = k.Patch(ctx, step.c, "notes", doc.ID, []byte(step.body), records.Condition{})
		}
		if err != nil {
			t.Fatal(err)
		}
		now, err := k.Get(ctx, admin, "notes", doc.ID, "", records.Condition{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, body(t, now.JSON)); diff != "" {
			t.Errorf("%s of %s (-want +got):\n%s", step.method, step.body, diff)
		}
		seen, err := k.Get(ctx, ada, "notes", doc.ID, "", records.Condition{}, nil)
		if err != nil || strings.Contains(string(seen.JSON), "pin") {
			t.Errorf("another sees %s, %v", seen.JSON, err)
		}
	}
}
