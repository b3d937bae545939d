package records_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records"
	"croft/internal/records/expr"
)

// world is a collection beside a model of it: what it must answer to writes.
type world struct {
	*rapid.T
	k       *kit
	clock   *clock
	name    string
	access  map[string]string // the rules; one that is missing is for admins only
	checks  []string
	indexes []modelIndex
	records map[string]object // with their system fields
	changed map[string]bool   // the records that were written since it was made new
}

// clock is a time that stands still until it is told to go on.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(time.Millisecond)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// definition is the collection's, with or without its indexes.
func (w *world) definition(indexes bool) []byte {
	checks := []object{}
	for i, text := range w.checks {
		checks = append(checks, object{"name": fmt.Sprintf("check%d", i), "expr": text})
	}
	d := object{"access": w.access, "checks": checks}
	if indexes && w.indexes != nil {
		d["indexes"] = w.indexes
	}
	return rawOf(d)
}

// define makes the collection, or changes it. Unique indexes over records that collide must be refused, and are left out.
func (w *world) define(indexes bool) {
	ctx := context.Background()
	_, err := w.k.Define(ctx, admin, w.name, w.definition(indexes), records.DefineOptions{})
	collide := indexes && w.collide()
	if err != nil && code(err) == errs.NotUnique && collide {
		for i := range w.indexes {
			w.indexes[i].Unique = false
		}
		_, err = w.k.Define(ctx, admin, w.name, w.definition(true), records.DefineOptions{})
	} else if collide {
		w.Fatalf("unique indexes over records that collide: %v\n%s", err, w)
	}
	if err != nil {
		w.Fatalf("define: %v %v\n%s", err, fields(err), w)
	}
}

// collide reports whether two records claim the same.
func (w *world) collide() bool {
	for i := range w.indexes {
		taken := map[string]bool{}
		for _, o := range w.records {
			for claim := range w.indexes[i].claims(w, o) {
				if taken[claim] {
					return true
				}
				taken[claim] = true
			}
		}
	}
	return false
}

// load creates records, many in one commit. Of those that collide, some must win and stand in the way of the others.
func (w *world) load(bodies map[string]string) {
	c := pick(w.T, admin, admin, ada)
	results := make(map[string]error, len(bodies))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for id, body := range bodies {
		wg.Go(func() {
			_, err := w.k.Create(context.Background(), c, w.name, []byte(body))
			mu.Lock()
			defer mu.Unlock()
			results[id] = err
		})
	}
	wg.Wait()
	var refused []object
	for id, err := range results {
		o := w.created(c, id, objectOf([]byte(bodies[id])))
		switch want := w.judgeCreate(c, o); {
		case want != "":
			w.answered("create "+bodies[id], c, code(err), want)
		case err == nil:
			w.put(o)
		case code(err) == errs.NotUnique:
			refused = append(refused, o)
		default:
			w.Fatalf("create %s: %v\n%s", bodies[id], err, w)
		}
	}
	for _, o := range refused {
		if !w.collides(o) {
			w.Fatalf("%v was refused as not unique\n%s", o, w)
		}
	}
}

// created is a new record.
func (w *world) created(c *identity.Caller, id string, body object) object {
	o := maps.Clone(body)
	now := stamp(w.clock.now())
	o["id"], o["created"], o["updated"], o["owner"] = id, now, now, nil
	if c.ID != "" {
		o["owner"] = c.ID
	}
	return o
}

// changedTo is the state of a record with other fields.
func (w *world) changedTo(before, fields object) object {
	o := maps.Clone(fields)
	for _, system := range []string{"id", "created", "owner"} {
		o[system] = before[system]
	}
	o["updated"] = stamp(w.clock.now())
	return o
}

// put takes a record into the model, as it must now be stored.
func (w *world) put(o object) {
	id := o["id"].(string)
	doc, err := w.k.Get(context.Background(), admin, w.name, id, "", records.Condition{}, nil)
	if err != nil {
		w.Fatalf("get %s: %v\n%s", id, err, w)
	}
	got := objectOf(doc.JSON)
	o["rev"] = got["rev"]
	if diff := cmp.Diff(o, got); diff != "" {
		w.Fatalf("%s is stored wrongly (-want +got):\n%s\n%s", id, diff, w)
	}
	w.records[id] = o
}

// never reports whether a rule can't ever hold for a caller.
func (w *world) never(c *identity.Caller, action string) bool {
	if !c.InScope(w.name, action) {
		return true
	}
	if c.IsAdmin() {
		return false
	}
	text, ok := w.access[action]
	if !ok {
		return true
	}
	e, err := expr.Parse(text, modeOf(action))
	if err != nil {
		w.Fatalf("%s: %v", text, err)
	}
	return expr.Bind(e, authOf(c), w.clock.now()).AlwaysFalse()
}

func modeOf(action string) expr.Mode {
	if action == identity.Update || action == identity.Delete {
		return expr.RuleUpdate
	}
	return expr.Rule
}

// holds reports whether a rule gives the caller a record, whatever the scopes of its token.
func (w *world) holds(c *identity.Caller, action string, record, before object) bool {
	if c.IsAdmin() {
		return true
	}
	text, ok := w.access[action]
	return ok && judge(w, text, modeOf(action), c, w.clock.now()).holds(rawOf(record), rawOf(before))
}

func (w *world) judgeCreate(c *identity.Caller, o object) errs.Code {
	switch {
	case w.never(c, identity.Create) || !w.holds(c, identity.Create, o, nil):
		return denied(c)
	case !w.passes(o):
		return errs.Invalid
	}
	return ""
}

// judgeChange judges a change of a record that the caller may read.
func (w *world) judgeChange(c *identity.Caller, before, after object) errs.Code {
	switch {
	case !w.holds(c, identity.Update, after, before):
		return denied(c)
	case !w.passes(after):
		return errs.Invalid
	case w.collides(after):
		return errs.NotUnique
	}
	return ""
}

func denied(c *identity.Caller) errs.Code {
	if c.SignedIn() {
		return errs.Forbidden
	}
	return errs.Unauthenticated
}

func (w *world) passes(o object) bool {
	for _, text := range w.checks {
		if !judge(w, text, expr.Rule, nobody, w.clock.now()).holds(rawOf(o), nil) {
			return false
		}
	}
	return true
}

// collides reports whether a record can't stand beside the others.
func (w *world) collides(o object) bool {
	for i := range w.indexes {
		claims := w.indexes[i].claims(w, o)
		if len(claims) == 0 {
			continue
		}
		for id, other := range w.records {
			if id == o["id"] {
				continue
			}
			for claim := range w.indexes[i].claims(w, other) {
				if claims[claim] {
					return true
				}
			}
		}
	}
	return false
}

// answered holds a write's answer to the model's.
func (w *world) answered(what string, c *identity.Caller, got, want errs.Code) {
	if got != want {
		w.Fatalf("%s by %q: %q, want %q\n%s", what, c.ID, got, want, w)
	}
}

// write does one random write by a random caller, and holds its answer and its effect to the model.
func (w *world) write() {
	w.clock.tick()
	ctx := context.Background()
	c := pick(w.T, callers...)
	id := pick(w.T, ids...)
	if known := slices.Sorted(maps.Keys(w.records)); len(known) > 0 && !one(w.T, 4) {
		id = pick(w.T, known...)
	}
	before := w.records[id]
	there := before != nil && w.holds(c, identity.Read, before, nil)
	var cond records.Condition
	stale := false
	if before != nil && one(w.T, 8) {
		stale = one(w.T, 2)
		cond.IfMatch = `"` + before["rev"].(string) + `"`
		if stale {
			cond.IfMatch = `"000000000000"`
		}
	}
	var want errs.Code
	var err error
	var after object
	var what string
	switch between(w.T, 0, 5) {
	case 0:
		body := drawRecord(w.T)
		what = fmt.Sprintf("create %s %s", id, body)
		after = w.created(c, id, objectOf([]byte(body)))
		if want = w.judgeCreate(c, after); want == "" && before != nil {
			want = errs.IDTaken
		} else if want == "" && w.collides(after) {
			want = errs.NotUnique
		}
		_, err = w.k.Create(ctx, c, w.name, []byte(`{"id":"`+id+`",`+body[1:]))
	case 1:
		body := drawRecord(w.T)
		what = fmt.Sprintf("put %s %s %+v", id, body, cond)
		o := objectOf([]byte(body))
		switch {
		case w.never(c, identity.Create) && w.never(c, identity.Update):
			want = denied(c)
		case !there && w.never(c, identity.Create):
			want = errs.NotFound
		case !there:
			after = w.created(c, id, o)
			if want = w.judgeCreate(c, after); want == "" && before != nil {
				want = errs.IDTaken
			} else if want == "" && w.collides(after) {
				want = errs.NotUnique
			}
		case stale:
			want = errs.Stale
		case w.never(c, identity.Update):
			want = denied(c)
		default:
			after = w.changedTo(before, o)
			want = w.judgeChange(c, before, after)
		}
		_, _, err = w.k.Put(ctx, c, w.name, id, []byte(body), cond)
	case 2, 3, 4:
		patch := drawPatch(w.T)
		what = fmt.Sprintf("patch %s %s %+v", id, patch, cond)
		switch {
		case w.never(c, identity.Update):
			want = denied(c)
		case !there:
			want = errs.NotFound
		case stale:
			want = errs.Stale
		default:
			after = w.changedTo(before, mergePatch(before, any(objectOf([]byte(patch)))).(object))
			want = w.judgeChange(c, before, after)
		}
		_, err = w.k.Patch(ctx, c, w.name, id, []byte(patch), cond)
	case 5:
		what = fmt.Sprintf("delete %s %+v", id, cond)
		switch {
		case w.never(c, identity.Delete):
			want = denied(c)
		case !there:
			want = errs.NotFound
		case stale:
			want = errs.Stale
		case !w.holds(c, identity.Delete, before, before):
			want = denied(c)
		}
		err = w.k.Delete(ctx, c, w.name, id, cond)
	}
	w.answered(what, c, code(err), want)
	if want != "" {
		return
	}
	w.changed[id] = true
	if after != nil {
		w.put(after)
		return
	}
	delete(w.records, id)
	if _, err := w.k.Get(ctx, admin, w.name, id, "", records.Condition{}, nil); code(err) != errs.NotFound {
		w.Fatalf("%s is deleted, and Get says %v\n%s", id, err, w)
	}
}

// String shows the world for the report of a fault.
func (w *world) String() string {
	b := fmt.Appendf(nil, "%s\n", w.definition(true))
	for _, id := range slices.Sorted(maps.Keys(w.records)) {
		b = append(append(b, rawOf(w.records[id])...), '\n')
	}
	return string(b)
}

// close checks what is stored and drops the collection.
func (w *world) close() {
	ctx := context.Background()
	d, err := w.k.Collection(ctx, admin, w.name)
	if err != nil {
		w.Fatal(err)
	}
	var told struct{ Records int }
	err = errors.Join(json.Unmarshal(d.JSON, &told), w.k.Check(ctx))
	if err != nil || told.Records != len(w.records) {
		w.Fatalf("at the end: %v; it says it has %d records\n%s", err, told.Records, w)
	}
	if err := w.k.Drop(ctx, admin, w.name, records.Condition{}); err != nil {
		w.Fatal(err)
	}
}
