package records_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records"
	"croft/internal/records/expr"
)

var (
	reader = &identity.Caller{Kind: identity.User, ID: "u-ada", Email: "ada2@example.com", Token: &identity.Token{ID: "t1",
		Scopes: []identity.Scope{{Collection: "*", Actions: []string{identity.Read, identity.Update}}}}}
	operator = &identity.Caller{Kind: identity.Local}
	callers  = []*identity.Caller{admin, ada, ada, grace, grace, nobody, reader, operator}
)

var ids = []string{"a", "b", "c", "aa", "ab", "a1", "a-", "a_", "A", "B", "Z", "z", "0", "1", "01", "10", "-", "_", "--",
	"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "rr"}

// Values that lie close together in the order of lists.
var (
	scalars  = []string{`null`, `true`, `false`, `0`, `-0`, `1`, `1.5`, `2`, `-1`, `1e21`, `0.1`, `9007199254740992`, `"a"`, `"ab"`, `"b"`, `""`, `"é"`, `"a\u0000"`, `"a\u0000b"`, `"𝄞"`, `"10"`, `"u-ada"`}
	literals = []string{"null", "true", "false", "0", "1", "1.5", "2.0", "-1", "1e21", "0.1", `"a"`, `"ab"`, `"b"`, `""`, `"é"`, `"a\u0000"`, `"10"`, `"u-ada"`, "auth.id", "[]", `["a"]`, "record.b"}
	paths    = []string{"a", "b", "n.x", "tags", "a", "tags", "id", "created", "updated", "owner", "n"}
	rules    = []string{"true", "true", "has(auth.id)", "record.owner == auth.id", `"editor" in auth.roles`, "record.a == 1 || has(auth.id)",
		"record.owner == auth.id || record.b > 0", "auth.id in record.tags", `record.n.x != "a"`, "!has(record.b)", "record.created <= record.updated", "has(auth.token)", "now < timestamp('2000-01-01T00:00:00Z')"}
	changeRules = append([]string{"before.a == record.a", "before.owner == auth.id && has(record.a)", "!has(before.b) || record.b != before.b"}, rules...)
	checks      = []string{"!has(record.b) || record.b != 2", `record.a != "ab" || has(record.n)`, "record.updated >= record.created"}
	wheres      = []string{"a == 1", "has(b)", "a != null && b > 0", "!has(a)", `"a" in tags`, `id > "a"`, "b > 0"}
)

// below draws a number from 0 to n-1, all as likely: rapid's own numbers are mostly small, which makes small collections.
func below(t *rapid.T, n int) int {
	v := 0
	for bit := 1; bit < 4*n; bit <<= 1 {
		v <<= 1
		if rapid.Bool().Draw(t, "bit") {
			v |= 1
		}
	}
	return v % n
}

func between(t *rapid.T, least, most int) int { return least + below(t, most-least+1) }

func pick[T any](t *rapid.T, from ...T) T { return from[below(t, len(from))] }

// one is true one time in n.
func one(t *rapid.T, n int) bool { return below(t, n) == n-1 }

func drawValue(t *rapid.T) string {
	switch between(t, 0, 9) {
	case 0, 1:
		var elements []string
		for range between(t, 0, 3) {
			elements = append(elements, pick(t, append([]string{`["a"]`, `{"x":1}`, `1`, `"a"`, `"b"`}, scalars...)...))
		}
		return "[" + strings.Join(elements, ",") + "]"
	case 2:
		return pick(t, `{}`, `{"a":1}`, `{"x":"a","a":[]}`, `{"x":2}`, `{"x":[1,"a"]}`, `{"x":true,"ab":null}`)
	}
	return pick(t, scalars...)
}

func drawRecord(t *rapid.T) string {
	var members []string
	for _, name := range []string{"a", "b", "n", "tags"} {
		if !one(t, 4) {
			members = append(members, `"`+name+`":`+drawValue(t))
		}
	}
	if len(members) == 0 {
		return `{"w":0}`
	}
	return "{" + strings.Join(members, ",") + "}"
}

func drawPatch(t *rapid.T) string {
	var members []string
	for _, name := range []string{"a", "b", "n", "tags"} {
		if one(t, 2) {
			members = append(members, `"`+name+`":`+drawValue(t))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func drawFilter(t *rapid.T, depth int) string {
	field := func() string {
		return pick(t, "a", "a", "record.b", "b", "n.x", "n", "tags", "id", "created", "updated", "owner", "record.rev")
	}
	literal := func() string { return pick(t, literals...) }
	list := func() string {
		all := []string{}
		for range between(t, 0, 4) {
			all = append(all, literal())
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	comparison := func() string { return pick(t, "==", "==", "==", "!=", "<", "<=", ">", ">=") }
	if depth > 0 {
		switch between(t, 0, 7) {
		case 0, 1, 2:
			return drawFilter(t, depth-1) + " && " + drawFilter(t, depth-1)
		case 3, 4:
			return "(" + drawFilter(t, depth-1) + " || " + drawFilter(t, depth-1) + ")"
		case 5:
			return "!(" + drawFilter(t, depth-1) + ")"
		}
	}
	switch between(t, 0, 16) {
	case 0:
		return field() + " in " + list()
	case 1, 2:
		return literal() + " in " + pick(t, "tags", "a", "b", "n")
	case 3:
		return field() + ".startsWith(" + pick(t, `""`, `"a"`, `"a\u0000"`, `"r"`, `"é"`) + ")"
	case 4:
		return pick(t, "", "!") + "has(" + pick(t, "a", "record.b", "n.x", "tags") + ")"
	case 5:
		return literal() + " " + comparison() + " " + field()
	case 6:
		return pick(t, "tags", "a", "n") + ".exists(t, t " + comparison() + " " + literal() + pick(t, "", " && t != null", " || a == 1") + ")"
	case 7:
		return pick(t, "a", `id in ["a", "r1", "zz"]`, "a + 1 > 2", "size(tags) > 1", "a == b", "(a == 1 ? b == 1 : true)", "tags[0] == 'a'", "true", "false",
			"tags.all(t, t == 'a')", "a.contains('b')", "1 < a + 0", "null < a", "owner == auth.id", "timestamp(updated) < now", "updated > created")
	case 8:
		return `id == "` + pick(t, ids...) + `"`
	}
	return field() + " " + comparison() + " " + literal()
}

func drawFields(t *rapid.T, least, most int) []string {
	var fields []string
	names := slices.Clone(paths)
	for range between(t, least, most) {
		name := pick(t, names...)
		names = slices.DeleteFunc(names, func(n string) bool { return n == name })
		fields = append(fields, pick(t, "", "-")+name)
	}
	return fields
}

func drawWorld(t *rapid.T, k *kit, clock *clock, name string) *world {
	w := &world{T: t, k: k, clock: clock, name: name, access: map[string]string{}, records: map[string]object{}, changed: map[string]bool{}}
	for _, action := range identity.Actions {
		if one(t, 10) {
			continue
		}
		w.access[action] = pick(t, rules...)
		if modeOf(action) == expr.RuleUpdate {
			w.access[action] = pick(t, changeRules...)
		}
	}
	if one(t, 3) {
		w.checks = append(w.checks, pick(t, checks...))
	}
	for i := range between(t, 0, 4) {
		ix := modelIndex{Name: fmt.Sprintf("ix%d", i), Fields: drawFields(t, 1, 3), Unique: one(t, 5)}
		if one(t, 4) {
			ix.Where = pick(t, wheres...)
		}
		w.indexes = append(w.indexes, ix)
	}
	bodies := map[string]string{}
	for range between(t, 0, 40) {
		id := pick(t, ids...)
		bodies[id] = `{"id":"` + id + `",` + drawRecord(t)[1:]
	}
	// Indexes are built over what is there, or kept in step from the first record on.
	late := one(t, 2)
	if late {
		all := w.indexes
		w.indexes = nil
		w.define(false)
		w.load(bodies)
		w.indexes = all
		w.define(true)
	} else {
		w.define(true)
		w.load(bodies)
	}
	return w
}

// asked is a list that was asked for, and the truth about it: all records, tested one by one and sorted.
type asked struct {
	*world
	c    *identity.Caller
	q    records.Query
	want []object
}

func (w *world) ask() *asked {
	w.clock.tick() // so that time going on between the pages changes nothing: all was updated before now
	a := &asked{world: w, c: pick(w.T, callers...)}
	if !one(w.T, 6) {
		a.q.Filter = drawFilter(w.T, below(w.T, 3))
	}
	a.q.Sort = drawFields(w.T, 0, 3)
	if len(w.indexes) > 0 && one(w.T, 2) {
		a.aim(pick(w.T, w.indexes...))
	}
	a.q.Limit = between(w.T, 1, 8)
	a.q.Count = one(w.T, 3)
	a.q.Explain = a.c.IsAdmin()
	if e, err := expr.Parse(a.q.Filter, expr.Filter); err == nil {
		for _, p := range expr.Check(e, nil) {
			if p.Fails { // a list refuses what is an error over any record: see TestRefusedLists
				a.q.Filter = ""
			}
		}
	}
	var filter *judgement
	if a.q.Filter != "" {
		filter = judge(w, a.q.Filter, expr.Filter, a.c, w.clock.now())
	}
	var read *judgement
	if text := w.access[identity.Read]; !a.c.IsAdmin() && text != "" {
		read = judge(w, text, expr.Rule, a.c, w.clock.now())
	}
	for _, o := range w.records {
		raw := rawOf(o)
		if (filter == nil || filter.holds(raw, nil)) && (a.c.IsAdmin() || read != nil && read.holds(raw, nil)) {
			a.want = append(a.want, o)
		}
	}
	slices.SortFunc(a.want, inOrder(a.q.Sort))
	return a
}

// aim makes the list one that an index may serve.
func (a *asked) aim(ix modelIndex) {
	flip := one(a.T, 2)
	if !one(a.T, 3) {
		a.q.Sort = nil
	}
	var terms []string
	if ix.Where != "" && !one(a.T, 4) {
		terms = append(terms, ix.Where)
	}
	bind := below(a.T, len(ix.Fields)+1)
	for i, field := range ix.Fields {
		path, desc := strings.CutPrefix(field, "-")
		if i >= bind {
			if len(a.q.Sort) < 3 && !slices.Contains(a.q.Sort, path) && !slices.Contains(a.q.Sort, "-"+path) {
				a.q.Sort = append(a.q.Sort, map[bool]string{true: "-", false: ""}[desc != flip]+path)
			}
			if i > bind || one(a.T, 2) {
				continue
			}
		}
		literal := func() string { return pick(a.T, literals...) }
		terms = append(terms, pick(a.T,
			path+" == "+literal(), path+" == "+literal(), path+" in ["+literal()+", "+literal()+"]", path+" >= "+literal()+" && "+path+" < "+literal(),
			path+" < "+literal(), literal()+" in "+path, literal()+" in "+path+" || "+literal()+" in "+path, path+" == "+literal()+" || "+path+" == "+literal(), path+`.startsWith("a")`, "has(record."+path+")"))
	}
	if one(a.T, 3) {
		terms = append(terms, drawFilter(a.T, 1))
	}
	for i := range terms {
		terms[i] = "(" + terms[i] + ")"
	}
	a.q.Filter = strings.Join(terms, " && ")
}

func (a *asked) String() string {
	return fmt.Sprintf("list %+v by %q\n%s", a.q, a.c.ID, a.world)
}

// page asks for one page.
func (a *asked) page(cursor *string) *page {
	q := a.q
	if cursor != nil {
		q.Cursor = *cursor
	}
	p, err := a.k.tryList(a.c, a.name, q)
	if err != nil {
		a.Fatalf("%v %v\n%s", err, fields(err), a)
	}
	return p
}

// idsOf names records.
func idsOf(all []object) []string {
	ids := []string{}
	for _, o := range all {
		ids = append(ids, o["id"].(string))
	}
	return ids
}

// answered reads the list through, forward and back, and holds it to the truth.
func (a *asked) answered(lists *tally) {
	if a.never(a.c, identity.Read) {
		if _, err := a.k.tryList(a.c, a.name, a.q); code(err) != denied(a.c) {
			a.Fatalf("a list of what can never be read: %v\n%s", err, a)
		}
		return
	}
	var forward, backward []object
	p := a.page(nil)
	lists.add(p)
	for {
		forward = append(forward, p.Items...)
		if a.q.Count && *p.Count != len(a.want) {
			a.Fatalf("counted %d of %d, plan %v\n%s", *p.Count, len(a.want), p.Plan, a)
		}
		if p.Next == nil {
			break
		}
		p = a.page(p.Next)
		lists.add(p)
	}
	if diff := cmp.Diff(a.want, forward); diff != "" && len(a.want)+len(forward) > 0 {
		a.Fatalf("got %q, want %q, plan %v\n%s\n%s", idsOf(forward), idsOf(a.want), p.Plan, diff, a)
	}
	for {
		backward = append(slices.Clone(p.Items), backward...)
		if p.Prev == nil {
			break
		}
		p = a.page(p.Prev)
		lists.add(p)
	}
	if got := idsOf(backward); !slices.Equal(got, idsOf(a.want)) {
		a.Fatalf("backward: got %q, want %q, plan %v\n%s", got, idsOf(a.want), p.Plan, a)
	}
}

// answeredWhileWritten reads the list in one direction with writes between the pages: no row comes twice, and none is missed
// that was there all along.
func (a *asked) answeredWhileWritten(lists *tally) {
	if a.never(a.c, identity.Read) {
		return
	}
	want := idsOf(a.want)
	p := a.page(nil)
	back := one(a.T, 2)
	if back {
		for p.Next != nil {
			p = a.page(p.Next)
		}
		slices.Reverse(want)
	}
	a.changed = map[string]bool{}
	var got []string
	for {
		ids := p.ids()
		next := p.Next
		if back {
			slices.Reverse(ids)
			next = p.Prev
		}
		got = append(got, ids...)
		lists.add(p)
		if next == nil {
			break
		}
		for range between(a.T, 0, 2) {
			a.write()
		}
		p = a.page(next)
	}
	stayed := func(ids []string) []string {
		return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return a.changed[id] })
	}
	if !slices.Equal(stayed(got), stayed(want)) {
		a.Fatalf("back %v, changed %q: got %q, want %q\n%s", back, slices.Sorted(maps.Keys(a.changed)), got, want, a)
	}
}

// tally counts what a run of the model covered.
type tally struct{ lists, rows, indexed, ordered int }

func (l *tally) add(p *page) {
	l.lists++
	l.rows += len(p.Items)
	if p.Plan["index"] != nil {
		l.indexed++
	}
	if p.Plan["order"] == "index" {
		l.ordered++
	}
}

// TestModel has random collections do random writes and lists, and holds them to a model that scans all records.
func TestModel(t *testing.T) {
	t.Parallel()
	clock := newClock()
	k := newKit(t, records.Options{Now: clock.now})
	lists, writes, pages := 60, 20, 8
	if raceEnabled {
		lists, writes, pages = 10, 6, 2
	}
	var covered tally
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		w := drawWorld(t, k, clock, fmt.Sprintf("world%d", n))
		for range between(t, 0, writes) {
			w.write()
		}
		for range lists {
			w.ask().answered(&covered)
		}
		for range pages {
			w.ask().answeredWhileWritten(&covered)
		}
		w.close()
	})
	t.Logf("%d pages of %d rows, of %d collections; of those of admins, %d by an index and %d in its order", covered.lists, covered.rows, n, covered.indexed, covered.ordered)
}

// TestDenied makes sure that a request for a collection that is not there is told apart from one that is refused.
func TestNoCollection(t *testing.T) {
	k := newKit(t, records.Options{})
	ctx := context.Background()
	for _, c := range callers {
		_, err := k.Create(ctx, c, "missing", []byte(`{}`))
		if code(err) != errs.NotFound {
			t.Errorf("create by %q: %v", c.ID, err)
		}
	}
}
