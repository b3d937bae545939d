package records_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"croft/internal/errs"
	"croft/internal/records"
)

// TestDocs runs the examples of docs/queries.md.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "queries.md"))
	if err != nil {
		t.Fatal(err)
	}
	k := newKit(t, records.Options{})
	k.define("tasks", open)
	row := regexp.MustCompile("(?m)^\\| `([a-d])` \\| `(\\{.*\\})` \\|$")
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		k.create(admin, "tasks", `{"id":"`+m[1]+`",`+m[2][1:])
	}
	filters := regexp.MustCompile("(?m)^\\| `(.*)` \\| ([a-d, ]+) \\|$").FindAllStringSubmatch(string(text), -1)
	if len(filters) < 20 {
		t.Fatalf("found %d examples of filters", len(filters))
	}
	for _, m := range filters {
		filter := strings.ReplaceAll(m[1], `\|`, `|`)
		got := k.list(admin, "tasks", records.Query{Filter: filter, Sort: []string{"id"}}).ids()
		if diff := cmp.Diff(strings.Split(m[2], ", "), got); diff != "" {
			t.Errorf("%s (-docs +got):\n%s", filter, diff)
		}
	}
	// The definitions: each JSON block is one, of parts that can stand together.
	for _, m := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if _, err := k.Define(context.Background(), admin, "example", []byte(m[1]), records.DefineOptions{}); err != nil {
			t.Errorf("%s: %v %v", m[1], err, fields(err))
		}
	}
	// The rules.
	rules := regexp.MustCompile("(?s)\\| rule \\| who \\|(.*?)\n\n").FindStringSubmatch(string(text))
	for _, m := range regexp.MustCompile("(?m)^\\| `(.*)` \\|").FindAllStringSubmatch(rules[1], -1) {
		rule := strings.ReplaceAll(m[1], `\|`, `|`)
		k.define("ruled", fmt.Sprintf(`{"access":{"read":%q,"update":%q}}`, rule, rule))
	}
}

func TestPages(t *testing.T) {
	for name, indexes := range map[string]string{
		"without an index": `[]`,
		"with an index":    `[{"name":"by_n","fields":["n","-s"]}]`,
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, records.Options{})
			k.define("notes", `{"indexes":`+indexes+`,"access":{"read":"true","create":"true"}}`)
			for i := range 57 {
				k.create(nobody, "notes", fmt.Sprintf(`{"id":"r%02d","n":%d,"s":"x%d"}`, i, i%5, i%3))
			}
			k.create(nobody, "notes", `{"id":"none"}`)
			for _, sort := range [][]string{nil, {"n"}, {"-n"}, {"n", "-s"}, {"-n", "s"}, {"s"}, {"id"}, {"n", "id"}, {"-created"}} {
				whole := k.list(nobody, "notes", records.Query{Sort: sort, Limit: 500}).ids()
				if len(whole) != 58 {
					t.Fatalf("sort %v: %d records", sort, len(whole))
				}
				// Forward through all pages, and back again.
				var forward, backward []string
				q := records.Query{Sort: sort, Limit: 7}
				p := k.list(nobody, "notes", q)
				for {
					forward = append(forward, p.ids()...)
					if p.Next == nil {
						break
					}
					q.Cursor = *p.Next
					p = k.list(nobody, "notes", q)
				}
				for {
					backward = append(p.ids(), backward...)
					if p.Prev == nil {
						break
					}
					q.Cursor = *p.Prev
					p = k.list(nobody, "notes", q)
				}
				if diff := cmp.Diff(whole, forward); diff != "" {
					t.Errorf("sort %v forward (-whole +pages):\n%s", sort, diff)
				}
				if diff := cmp.Diff(whole, backward); diff != "" {
					t.Errorf("sort %v backward (-whole +pages):\n%s", sort, diff)
				}
			}
		})
	}
}

func TestListAnswers(t *testing.T) {
	k := newKit(t, records.Options{Scan: 40})
	k.define("notes", `{"indexes":[{"name":"by_n","fields":["n"]},{"name":"by_tags","fields":["tags"]}],"access":{"read":"true","create":"true"}}`)
	for i := range 30 {
		k.create(nobody, "notes", fmt.Sprintf(`{"id":"r%02d","n":%d,"tags":["t%d","t%d"],"o":{"p":%d,"q":1}}`, i, i, i%3, i%7, i))
	}
	p := k.list(admin, "notes", records.Query{Filter: "n >= 10 && n < 20", Sort: []string{"-n"}, Limit: 3, Count: true, Explain: true, Fields: []string{"o.p", "n"}})
	if diff := cmp.Diff([]string{"r19", "r18", "r17"}, p.ids()); diff != "" {
		t.Error(diff)
	}
	if p.Count == nil || *p.Count != 10 || p.Plan["index"] != "by_n" {
		t.Errorf("count %v, plan %v", p.Count, p.Plan)
	}
	if diff := cmp.Diff(map[string]any{"id": "r19", "o": map[string]any{"p": 19.0}, "n": 19.0}, p.Items[0]); diff != "" {
		t.Error(diff)
	}
	p = k.list(admin, "notes", records.Query{Filter: `"t2" in tags`, Explain: true, Count: true, Limit: 500})
	if *p.Count != len(p.Items) || p.Plan["index"] != "by_tags" {
		t.Errorf("%d items, count %d, plan %v", len(p.Items), *p.Count, p.Plan)
	}
	for i := range 20 {
		k.create(nobody, "notes", fmt.Sprintf(`{"n":"s%d"}`, i))
	}
	if n := *k.list(nobody, "notes", records.Query{Count: true}).Count; n != 50 {
		t.Errorf("counted %d of 50", n)
	}
	_, err := k.tryList(nobody, "notes", records.Query{Filter: `o.q == 2`, Sort: []string{"-o.p"}})
	if code(err) != errs.NeedsIndex {
		t.Fatalf("a list past limits.scan: %v", err)
	}
	if got := fmt.Sprint(err.(*errs.Error).Members["index"]); !strings.Contains(got, "[o.q -o.p]") {
		t.Errorf("it proposes %s", got)
	}
}

// TestLargePages: a page ends before it gets too large to be kept in memory, and the pages still have every record.
func TestLargePages(t *testing.T) {
	k := newKit(t, records.Options{})
	k.define("notes", open)
	big := strings.Repeat("x", 400<<10)
	for i := range 7 {
		k.create(nobody, "notes", fmt.Sprintf(`{"id":"r%d","n":%d,"big":%q}`, i, i, big))
	}
	for _, sort := range []string{"id", "-n"} {
		q := records.Query{Sort: []string{sort}, Limit: 500}
		var all, back []string
		p := k.list(nobody, "notes", q)
		for {
			if len(p.Items) != 2 && len(all) < 6 {
				t.Errorf("sort %s: a page of %d records", sort, len(p.Items))
			}
			all = append(all, p.ids()...)
			if p.Next == nil {
				break
			}
			q.Cursor = *p.Next
			p = k.list(nobody, "notes", q)
		}
		for {
			back = append(p.ids(), back...)
			if p.Prev == nil {
				break
			}
			q.Cursor = *p.Prev
			p = k.list(nobody, "notes", q)
		}
		if len(all) != 7 || !slices.Equal(all, back) {
			t.Errorf("sort %s: forward %v, backward %v", sort, all, back)
		}
		if p := k.list(nobody, "notes", records.Query{Sort: []string{sort}, Fields: []string{"n"}}); len(p.Items) != 7 {
			t.Errorf("%d records without their large field", len(p.Items))
		}
	}
}

func TestRefusedLists(t *testing.T) {
	k := newKit(t, records.Options{})
	k.define("notes", `{"schema":{"type":"object","properties":{"title":{"type":"string"},"tags":{"type":"array"}},"additionalProperties":false},
		"hidden":["pin"],"access":{"read":"true"}}`)
	k.define("other", open)
	next := func(collection string, q records.Query) string {
		for range 3 {
			k.create(admin, collection, `{}`)
		}
		return *k.list(nobody, collection, q).Next
	}
	cursor := next("notes", records.Query{Limit: 1, Sort: []string{"title"}})
	changed := cursor[:len(cursor)-3] + "AAA"
	if changed == cursor {
		changed = cursor[:len(cursor)-3] + "BBB"
	}
	for _, test := range []struct {
		q       records.Query
		code    errs.Code
		pointer string
	}{
		{records.Query{Limit: -1}, errs.Invalid, "/limit"},
		{records.Query{Limit: 501}, errs.Invalid, "/limit"},
		{records.Query{Filter: "title =="}, errs.Invalid, "/filter"},
		{records.Query{Filter: `titel == "x"`}, errs.Invalid, "/filter"},
		{records.Query{Filter: strings.Repeat("(", 60) + "true" + strings.Repeat(")", 60)}, errs.Invalid, "/filter"},
		{records.Query{Filter: "true" + strings.Repeat(" || true", 300)}, errs.Invalid, "/filter"},
		{records.Query{Filter: `title == "` + strings.Repeat("x", 5000) + `"`}, errs.Invalid, "/filter"},
		{records.Query{Filter: `title.matches("(a{1000}){1000}")`}, errs.Invalid, "/filter"},
		{records.Query{Filter: `title.matches("(")`}, errs.Invalid, "/filter"},
		{records.Query{Filter: `pin == 1`}, errs.FieldNotAllowed, "/filter"},
		{records.Query{Filter: `has(record.pin)`}, errs.FieldNotAllowed, "/filter"},
		{records.Query{Filter: `record["pin"] == 1`}, errs.FieldNotAllowed, "/filter"},
		{records.Query{Filter: `title < 1`}, errs.Invalid, "/filter"},
		{records.Query{Filter: `1 < "a"`}, errs.Invalid, "/filter"},
		{records.Query{Filter: `title + 1 == 2`}, errs.Invalid, "/filter"},
		{records.Query{Filter: `size(1) == 2`}, errs.Invalid, "/filter"},
		{records.Query{Filter: `1`}, errs.Invalid, "/filter"},
		{records.Query{Filter: `title`}, errs.Invalid, "/filter"},
		{records.Query{Filter: `before.title == "x"`}, errs.Invalid, "/filter"},
		{records.Query{Sort: []string{"pin"}}, errs.FieldNotAllowed, "/sort"},
		{records.Query{Sort: []string{"-pin.x"}}, errs.FieldNotAllowed, "/sort"},
		{records.Query{Sort: []string{"tags"}}, errs.Invalid, "/sort"},
		{records.Query{Sort: []string{"titel"}}, errs.Invalid, "/sort"},
		{records.Query{Sort: []string{"title", "-title"}}, errs.Invalid, "/sort"},
		{records.Query{Sort: []string{""}}, errs.Invalid, "/sort"},
		{records.Query{Sort: []string{"--title"}}, errs.Invalid, "/sort"},
		{records.Query{Fields: []string{"pin"}}, errs.FieldNotAllowed, "/fields"},
		{records.Query{Fields: []string{"a..b"}}, errs.Invalid, "/fields"},
		{records.Query{Cursor: "nonsense"}, errs.BadCursor, "/cursor"},
		{records.Query{Cursor: cursor}, errs.BadCursor, "/cursor"},
		{records.Query{Cursor: cursor, Sort: []string{"-title"}}, errs.BadCursor, "/cursor"},
		{records.Query{Cursor: cursor, Sort: []string{"title"}, Filter: "true"}, errs.BadCursor, "/cursor"},
		{records.Query{Cursor: changed, Sort: []string{"title"}}, errs.BadCursor, "/cursor"},
		{records.Query{Cursor: "A" + cursor, Sort: []string{"title"}}, errs.BadCursor, "/cursor"},
		{records.Query{Cursor: next("other", records.Query{Limit: 1, Sort: []string{"title"}}), Sort: []string{"title"}}, errs.BadCursor, "/cursor"},
		{records.Query{Explain: true}, errs.Forbidden, "/explain"},
	} {
		_, err := k.tryList(nobody, "notes", test.q)
		if f := fields(err); code(err) != test.code || len(f) != 1 || f[0].Pointer != test.pointer {
			t.Errorf("%+v: %v %+v, want %s at %s", test.q, err, f, test.code, test.pointer)
		}
	}
	if _, err := k.tryList(nobody, "missing", records.Query{}); code(err) != errs.NotFound {
		t.Errorf("a list of no collection: %v", err)
	}
	if got := k.list(nobody, "notes", records.Query{Cursor: cursor, Sort: []string{"title"}, Limit: 2}).ids(); len(got) != 2 {
		t.Errorf("the cursor is good for %v", slices.Clone(got))
	}
}
