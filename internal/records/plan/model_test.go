package plan_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"croft/internal/records/expr"
	"croft/internal/records/index"
	"croft/internal/records/plan"
	"croft/internal/records/rawjson"
)

// A table is a collection in memory: records by id, and the sorted keys of their index entries.
type table struct {
	ids     []string // sorted
	records map[string][]byte
	indexes []*index.Index
	entries map[*index.Index][][]byte
}

func newTable(indexes []*index.Index) *table {
	return &table{records: map[string][]byte{}, indexes: indexes, entries: map[*index.Index][][]byte{}}
}

func (tb *table) put(t rapid.TB, id string, record []byte) {
	tb.remove(t, id)
	tb.records[id] = record
	at, _ := slices.BinarySearch(tb.ids, id)
	tb.ids = slices.Insert(tb.ids, at, id)
	for _, ix := range tb.indexes {
		for _, key := range tb.keys(t, ix, id) {
			at, found := slices.BinarySearchFunc(tb.entries[ix], key, bytes.Compare)
			if found {
				t.Fatalf("%s of %s has two entries of one key", id, record)
			}
			tb.entries[ix] = slices.Insert(tb.entries[ix], at, key)
		}
	}
}

func (tb *table) remove(t rapid.TB, id string) {
	if tb.records[id] == nil {
		return
	}
	for _, ix := range tb.indexes {
		for _, key := range tb.keys(t, ix, id) {
			at, found := slices.BinarySearchFunc(tb.entries[ix], key, bytes.Compare)
			if !found {
				t.Fatalf("an entry of %s is not there", id)
			}
			tb.entries[ix] = slices.Delete(tb.entries[ix], at, at+1)
		}
	}
	at, _ := slices.BinarySearch(tb.ids, id)
	tb.ids = slices.Delete(tb.ids, at, at+1)
	delete(tb.records, id)
}

func (tb *table) keys(t rapid.TB, ix *index.Index, id string) [][]byte {
	record := tb.records[id]
	if !matcher(ix.Where)(record) {
		return nil
	}
	var keys index.Keys
	if err := keys.Add(ix, nil, id, func(path []string) []byte { return rawjson.Path(record, path...) }); err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for i := range keys.Len() {
		all = append(all, bytes.Clone(keys.Key(i)))
	}
	return all
}

// matcher evaluates a filter, nil being that of all records.
func matcher(e *expr.Expr) func(record []byte) bool {
	if e == nil {
		return func([]byte) bool { return true }
	}
	p := expr.Compile(e)
	return func(record []byte) bool {
		return p.Match(&expr.Env{Record: &expr.Object{Names: p.Fields(), JSON: record}})
	}
}

// read is the ids that a plan reads, in the order it reads them.
func (tb *table) read(p *plan.Plan) []string {
	if p.IDs != nil {
		return slices.DeleteFunc(slices.Clone(p.IDs), func(id string) bool { return tb.records[id] == nil })
	}
	var keys [][]byte
	if p.Index != nil {
		keys = tb.entries[p.Index]
	} else {
		for _, id := range tb.ids {
			keys = append(keys, []byte(id))
		}
	}
	var ids []string
	for _, r := range p.Ranges {
		for _, key := range keys {
			if bytes.Compare(key, r.Lo) < 0 || r.Hi != nil && bytes.Compare(key, r.Hi) >= 0 {
				continue
			}
			if p.Index != nil {
				key = p.Index.ID(key, nil)
			}
			ids = append(ids, string(key))
		}
	}
	if p.Reverse {
		slices.Reverse(ids)
	}
	return ids
}

// run is what a caller makes of a plan: the ids of a page, behind the record of that id if there is one.
func (tb *table) run(t rapid.TB, p *plan.Plan, filter *expr.Expr, after [][]byte, afterID string, limit int) []string {
	type row struct {
		id  string
		key []byte
	}
	var rows []row
	seen := map[string]bool{}
	matches := matcher(filter)
	if after != nil {
		p.After(after, afterID)
	}
	for _, id := range tb.read(p) {
		record := tb.records[id]
		if record == nil {
			t.Fatalf("an entry of %s, which is not there", id)
		}
		match := matches(record)
		if p.Exact && !match {
			t.Fatalf("%s\nplan %v\nis exact but reads %s", filter, p, record)
		}
		if !match {
			continue
		}
		if seen[id] {
			if !p.Distinct {
				t.Fatalf("%s\nplan %v\nmeets %s twice", filter, p, record)
			}
			continue
		}
		seen[id] = true
		rows = append(rows, row{id, p.Sort.AppendKey(nil, values(p.Sort, record), []byte(id))})
	}
	if !p.Ordered {
		slices.SortFunc(rows, func(a, b row) int { return bytes.Compare(a.key, b.key) })
		if after != nil {
			key := p.Sort.AppendKey(nil, after, []byte(afterID))
			rows = slices.DeleteFunc(rows, func(r row) bool { return bytes.Compare(r.key, key) <= 0 })
		}
	}
	var ids []string
	for _, r := range rows[:min(limit, len(rows))] {
		ids = append(ids, r.id)
	}
	return ids
}

func values(o plan.Order, record []byte) [][]byte {
	all := [][]byte{}
	for _, f := range o[:len(o)-1] {
		all = append(all, rawjson.Path(record, f.Path...))
	}
	return all
}

// scan is the truth: all records that match, sorted.
func (tb *table) scan(filter *expr.Expr, o plan.Order) []string {
	var ids []string
	matches := matcher(filter)
	for _, id := range tb.ids {
		if matches(tb.records[id]) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		for _, f := range o {
			if c := compareValues(rawjson.Path(tb.records[a], f.Path...), rawjson.Path(tb.records[b], f.Path...)); c != 0 {
				if f.Desc {
					return -c
				}
				return c
			}
		}
		return 0
	})
	return ids
}

// compareValues is the order of lists, written down without package index.
func compareValues(a, b []byte) int {
	rank := func(v []byte) int { return min(int(rawjson.KindOf(v)), int(rawjson.Array)) }
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	switch rawjson.KindOf(a) {
	case rawjson.Num:
		x, _ := rawjson.Number(a)
		y, _ := rawjson.Number(b)
		return cmp.Compare(x, y)
	case rawjson.String:
		return cmp.Compare(rawjson.Text(a), rawjson.Text(b))
	}
	return 0
}

// What records, filters and sorts are drawn from: so little that they meet.
var (
	scalars  = []string{`null`, `true`, `false`, `-1`, `0`, `1`, `1.5`, `2`, `9007199254740992`, `9007199254740996`, `""`, `"a"`, `"ab"`, `"b"`, `"a\u0000"`, `"id1"`}
	literals = append([]string{`-0.0`, `9007199254740993`, `9007199254740995`, `-9223372036854775807`, `"c"`, `3.0`}, scalars...)
	paths    = []string{"a", "b", "n.x", "n", "tags", "id", "created"}
	idPool   = []string{"id1", "a", "ab", "b", "-", "_z", "A", "a-b", "01932f5e-7b6c-7000-8000-000000000001", "01932f5e-7b6c-7000-8000-000000000002", "0", "zz"}
	times    = []string{"2026-11-20T09:30:00.000Z", "2026-11-20T09:30:00.001Z", "2026-11-20T09:30:01.000Z", "2027-01-01T00:00:00.000Z"}
)

func pick(t *rapid.T, from ...string) string { return rapid.SampledFrom(from).Draw(t, "pick") }

func one(t *rapid.T, n int) bool { return rapid.IntRange(1, n).Draw(t, "one") == 1 }

func drawValue(t *rapid.T) string {
	switch {
	case one(t, 5):
		var elements []string
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			elements = append(elements, pick(t, append([]string{`["a"]`, `{"x":1}`}, scalars...)...))
		}
		return "[" + strings.Join(elements, ",") + "]"
	case one(t, 8):
		return pick(t, `{}`, `{"a":1}`, `{"x":"a","a":[]}`, `{"x":2}`, `{"x":[1,"a"]}`, `{"ab":null,"x":true}`)
	}
	return pick(t, scalars...)
}

func drawRecord(t *rapid.T, id string) []byte {
	record := `{"id":"` + id + `","created":"` + pick(t, times...) + `"`
	for _, name := range []string{"a", "b", "n", "tags"} {
		if !one(t, 4) {
			record += `,"` + name + `":` + drawValue(t)
		}
	}
	return []byte(record + "}")
}

func drawFilter(t *rapid.T, depth int) string {
	field := func() string { return pick(t, "a", "record.b", "n.x", "tags", "b", "a", "n", "id", "created") }
	literal := func() string { return pick(t, literals...) }
	list := func() string {
		all := []string{}
		for range rapid.IntRange(0, 4).Draw(t, "list") {
			all = append(all, literal())
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	comparison := func() string { return pick(t, "==", "==", "==", "!=", "<", "<=", ">", ">=") }
	if depth > 0 {
		switch rapid.IntRange(0, 7).Draw(t, "connective") {
		case 0, 1, 2:
			return drawFilter(t, depth-1) + " && " + drawFilter(t, depth-1)
		case 3, 4:
			return "(" + drawFilter(t, depth-1) + " || " + drawFilter(t, depth-1) + ")"
		case 5:
			return "!(" + drawFilter(t, depth-1) + ")"
		}
	}
	switch rapid.IntRange(0, 20).Draw(t, "atom") {
	case 0:
		return field() + " in " + list()
	case 1, 2:
		return literal() + " in " + pick(t, "tags", "a", "b", "n")
	case 3:
		return field() + ".startsWith(" + pick(t, `""`, `"a"`, `"a\u0000"`, `"id"`, `"0"`) + ")"
	case 4:
		return "has(" + field() + ")"
	case 5:
		return "!has(" + field() + ")"
	case 6:
		return field()
	case 12:
		return "id in ['" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(idPool), 3, 9).Draw(t, "ids"), "', '") + "']"
	case 7:
		return literal() + " " + comparison() + " " + field()
	case 8, 11:
		return pick(t, "tags", "a", "b", "n") + ".exists(t, t " + comparison() + " " + literal() +
			pick(t, "", " && t != null", " || t == 2", " && has(record.a)", " || a == 1", " && t in [1, 'a', 'ab']") + ")"
	case 9:
		return "timestamp(" + pick(t, "created", "created", "a") + ") " + comparison() + " " +
			pick(t, `timestamp("2026-11-20T09:30:00.001Z")`, `timestamp("2026-11-20T09:30:00.0005Z")`, `timestamp("2027-01-01T01:00:00+01:00")`)
	case 10:
		return pick(t, "a + 1 > 2", "size(tags) > 1", "tags == ['b']", "!has(n.x)", "a == b", "(a == 1 ? b : true)", "tags == ['a']", "tags[0] == 'a'", "true", "false",
			"tags.all(t, t == 'a')", "a.contains('b')", "timestamp(b) > now", "1 < a + 0", "n == []", "null < a", "0.0/0.0 == a", "a != 0.0/0.0")
	}
	return field() + " " + comparison() + " " + literal()
}

func drawFields(t *rapid.T, least, most int) plan.Order {
	var o plan.Order
	names := slices.Clone(paths)
	for range rapid.IntRange(least, most).Draw(t, "fields") {
		name := pick(t, names...)
		names = slices.DeleteFunc(names, func(n string) bool { return n == name })
		o = append(o, index.Field{Path: strings.Split(name, "."), Desc: one(t, 2)})
	}
	return o
}

func parse(t rapid.TB, text string) *expr.Expr {
	e, err := expr.Parse(text, expr.Filter)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return expr.Bind(e, &expr.Auth{}, time.Unix(1_800_000_000, 0))
}

func drawTable(t *rapid.T) *table {
	var indexes []*index.Index
	for i := range rapid.IntRange(0, 4).Draw(t, "indexes") {
		ix := &index.Index{Number: uint32(i), Name: fmt.Sprintf("ix%d", i), Fields: drawFields(t, 1, 3), Unique: one(t, 4)}
		if one(t, 4) {
			ix.Where = parse(t, pick(t, "a == 1", "has(b)", "a != null && b > 0", "tags == ['a']", "!has(a)", "'a' in tags", "id > 'a'", "!has(n.x)"))
		}
		indexes = append(indexes, ix)
	}
	tb := newTable(indexes)
	for range rapid.IntRange(0, 25).Draw(t, "records") {
		id := pick(t, idPool...) + pick(t, "", "", "1", "2", "a")
		tb.put(t, id, drawRecord(t, id))
	}
	return tb
}

// queries is how many queries are run over each random table.
const queries = 100

func TestPlanEqualsScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tb := drawTable(t)
		for range queries {
			in := plan.Input{Sort: drawFields(t, 0, 3), Indexes: tb.indexes, Count: one(t, 4)}
			if !one(t, 10) {
				in.Filter = parse(t, drawFilter(t, rapid.IntRange(0, 2).Draw(t, "depth")))
			}
			if len(tb.indexes) > 0 && one(t, 2) { // the order of an index, or nearly so
				in.Sort = rapid.SampledFrom(tb.indexes).Draw(t, "like").Fields
				in.Sort = in.Sort[rapid.IntRange(0, len(in.Sort)-1).Draw(t, "from"):]
				if one(t, 2) {
					in.Sort = in.Sort.Flip()
				}
			}
			tb.checkPages(t, in, tb.check(t, in))
		}
	})
}

// check compares the plans of a query, the Narrow one too, with a scan of all records, and returns what the scan found.
func (tb *table) check(t rapid.TB, in plan.Input) (want []string) {
	p := plan.Make(in)
	want = tb.scan(in.Filter, p.Sort)
	if p.Empty() && len(want) > 0 {
		t.Fatalf("%v is planned as empty but %d records match", in.Filter, len(want))
	}
	for ; p != nil; p = p.Narrow {
		if got := tb.run(t, p, in.Filter, nil, "", len(tb.ids)); !slices.Equal(got, want) {
			t.Fatalf("%v\nsort %v\nplan %v\ngot  %q\nwant %q", in.Filter, in.Sort, p, got, want)
		}
	}
	return want
}

// TestEveryAtom compares plans with scans for every operator and value, alone and negated, over records of every kind of
// value, with indexes of each shape.
func TestEveryAtom(t *testing.T) {
	values := append([]string{`["a"]`, `["ab","b",1]`, `[]`, `[["a"],{"x":1},null]`, `[1,9007199254740992]`, `9223372036854775808`, `{}`, `{"a":1,"b":2}`, `{"x":{"y":1}}`}, scalars...)
	var filters []string
	for _, op := range []string{"==", "!=", "<", "<=", ">", ">="} {
		for _, v := range append([]string{"['a']", "0.0/0.0", "9007199254740991", "-9007199254740993", "9223372036854775807"}, literals...) {
			filters = append(filters, "a "+op+" "+v, v+" "+op+" a", "a.exists(t, t "+op+" "+v+")", "id "+op+" "+v, "n.x "+op+" "+v)
		}
		for _, v := range []string{"2026-11-20T09:30:00.001Z", "2026-11-20T09:30:00.0005Z", "2026-11-20T09:30:00.0000000001Z"} {
			filters = append(filters, "timestamp(created) "+op+` timestamp("`+v+`")`)
		}
	}
	for _, v := range literals {
		filters = append(filters, v+" in a", v+" in n.x", "a in ["+v+`, "a", 1]`, "id in ["+v+`, "a"]`, "a.exists(t, t in ["+v+"])")
	}
	for _, v := range []string{`""`, `"a"`, `"a\u0000"`, `"ab"`, `"id"`, `"-"`, `"zzz"`} {
		filters = append(filters, "a.startsWith("+v+")", "id.startsWith("+v+")", "a.exists(t, t.startsWith("+v+"))", "created > "+v)
	}
	filters = append(filters, "a", "has(a)", "has(n.x)", "has(n)", "a.exists(t, t)", "a.exists(t, !t)", "a.exists(t, t == 1 || t == 'b')",
		"a.exists(t, t > 'a' && t < 'b')", "a.exists(t, has(n))", "a.exists(t, t == 1 && has(n))", "a.exists(t, t == 1 || has(n))",
		"a == 1 || a == ['a']", "a == 1 && b == 1 || a == 2 && b == 1", "a == 1 && b > 0 || a == 2 && b > 0", "a.exists(t, t == b)", "'a' in a && 'b' in a", "'ab' in a || 'b' in a")

	tables := []*table{}
	for _, fields := range []string{"", "a", "-a", "n.x", "-n.x", "a,-b", "-a,b", "b,a", "-id", "created", "-created,a"} {
		var indexes []*index.Index
		if fields != "" {
			indexes = append(indexes, &index.Index{Name: fields, Fields: fieldList(fields)})
		}
		tb := newTable(indexes)
		for i, v := range values {
			id := fmt.Sprintf("%s%d", idPool[i%len(idPool)], i/len(idPool))
			tb.put(t, id, []byte(`{"id":"`+id+`","created":"`+times[i%len(times)]+`","a":`+v+`,"b":1}`))
			id += "b" // all else: other ids, b has arrays, n is there
			tb.put(t, id, []byte(`{"id":"`+id+`","created":"`+times[i%len(times)]+`","a":`+v+`,"b":["a",1],"n":`+values[len(values)-1-i]+`}`))
			id += "x"
			tb.put(t, id, []byte(`{"id":"`+id+`","created":"`+times[i%len(times)]+`","n":{"x":`+v+`}}`))
		}
		tb.put(t, "a", []byte(`{"id":"a","created":"`+times[0]+`"}`))
		tables = append(tables, tb)
	}
	sorts := []plan.Order{fieldList("-id"), fieldList("a"), fieldList("b,-a"), fieldList("-a"), fieldList("created,a")}
	n := 0
	for _, text := range filters {
		for _, filter := range []*expr.Expr{parse(t, text), parse(t, "!("+text+")"), parse(t, "b == 1 && "+text)} {
			for _, tb := range tables {
				n++ // the sorts take turns, so that the test stays short
				tb.check(t, plan.Input{Filter: filter, Sort: sorts[n%len(sorts)], Indexes: tb.indexes, Count: n%4 == 0})
			}
		}
	}
}

// checkPages reads the query in pages, forward or back from the end, with writes between them: no row comes twice, and none is
// missed that was there all along.
func (tb *table) checkPages(t *rapid.T, in plan.Input, want []string) {
	if len(want) == 0 {
		return
	}
	in.Sort = in.Sort.Total()
	if one(t, 3) {
		in.Sort = in.Sort.Flip()
		want = slices.Clone(want)
		slices.Reverse(want)
	}
	limit := rapid.IntRange(1, 4).Draw(t, "limit")
	changed, got := map[string]bool{}, map[string]bool{}
	var after [][]byte
	var last string
	var order []string
	for {
		p := plan.Make(in)
		narrow := p.Narrow != nil && one(t, 2)
		if after != nil {
			p.After(after, last) // the Narrow one goes with it
		}
		if narrow {
			p = p.Narrow
		}
		var page []string
		if p.Ordered {
			page = tb.run(t, p, in.Filter, nil, "", limit)
		} else {
			page = tb.run(t, p, in.Filter, after, last, limit)
		}
		for _, id := range page {
			if got[id] && !changed[id] {
				t.Fatalf("%s\nsort %v\nplan %v\n%s comes twice", in.Filter, in.Sort, p, id)
			}
			got[id] = true
			if !changed[id] {
				order = append(order, id)
			}
		}
		if len(page) < limit {
			break
		}
		last = page[len(page)-1]
		after = values(p.Sort, tb.records[last])
		if one(t, 2) { // a write between the pages
			id := rapid.SampledFrom(append(slices.Clone(tb.ids), idPool...)).Draw(t, "id")
			changed[id] = true
			if one(t, 2) {
				id = last
				changed[id] = true
			}
			if one(t, 2) {
				tb.remove(t, id)
			} else {
				tb.put(t, id, drawRecord(t, id))
			}
		}
	}
	stayed := func(ids []string) []string {
		return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return changed[id] })
	}
	if !slices.Equal(stayed(order), stayed(want)) {
		t.Fatalf("%s\nsort %v, pages of %d\ngot  %q\nwant %q", in.Filter, in.Sort, limit, stayed(order), stayed(want))
	}
}

// TestEveryCondition compares plans with scans where an index has a condition, for pairs of conditions and filters.
func TestEveryCondition(t *testing.T) {
	atoms := []string{"a == 1", "a > 0", "a > 1", "a >= 1 && a < 2", "a != null", "has(a)", "!has(a)", "has(n.x)", "!has(n.x)", "a == ['a']", "a == []",
		"'a' in a", "'ab' in a", "a.contains('a')", "a.startsWith('a')", "a in [1, 2]", "a == 1 || a == 2", "a", "!a", "true", "false"}
	for _, where := range atoms {
		tb := newTable([]*index.Index{{Name: "conditional", Fields: fieldList("-created"), Where: parse(t, where)}})
		for i, v := range append([]string{`["a"]`, `[]`, `["ab"]`, `{"a":1}`}, scalars...) {
			id := fmt.Sprintf("r%d", i)
			tb.put(t, id, []byte(`{"id":"`+id+`","created":"`+times[i%len(times)]+`","a":`+v+`}`))
			id = fmt.Sprintf("n%d", i)
			tb.put(t, id, []byte(`{"id":"`+id+`","created":"`+times[i%len(times)]+`","n":{"x":`+v+`}}`))
		}
		for _, filter := range atoms {
			for _, text := range []string{filter, filter + " && b == null", "(" + filter + ") && (" + where + ")", where + " || " + filter} {
				tb.check(t, plan.Input{Filter: parse(t, text), Sort: fieldList("-created"), Indexes: tb.indexes})
			}
		}
	}
}

// Needs must propose what Make then uses: with the proposed index, a query is bounded or ordered by it.
func TestNeedsServes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for range queries {
			text := drawFilter(t, 1)
			in := plan.Input{Filter: parse(t, text), Sort: drawFields(t, 0, 2)}
			if p := plan.Make(in); p.Empty() || len(p.IDs) > 0 || strings.Contains(text, "id") {
				continue // bounded by the id as it is
			}
			fields := plan.Needs(in)
			if fields == nil {
				continue
			}
			ix := &index.Index{Name: "needed"}
			for _, f := range fields {
				name, desc := strings.CutPrefix(f, "-")
				ix.Fields = append(ix.Fields, index.Field{Path: strings.Split(name, "."), Desc: desc})
			}
			in.Indexes = []*index.Index{ix}
			p := plan.Make(in)
			if p.Index == nil && len(p.IDs) == 0 && len(p.Ranges) == 1 && len(p.Ranges[0].Lo) == 0 && p.Ranges[0].Hi == nil && p.Narrow == nil {
				t.Fatalf("%s, sort %v: %v does not serve: %v", text, in.Sort, fields, p)
			}
			if slices.Equal(plan.Needs(in), fields) {
				t.Fatalf("%s: %v is proposed again", text, fields)
			}
		}
	})
}
