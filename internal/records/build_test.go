package records_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"croft/internal/errs"
	"croft/internal/records"
	"croft/internal/store"
)

// indexState is what a collection tells of an index.
type indexState struct {
	Name, State, Error string
	Done, Of           int
}

func (k *kit) states(collection string) []indexState {
	k.Helper()
	d, err := k.Collection(context.Background(), admin, collection)
	if err != nil {
		k.Fatal(err)
	}
	return statesOf(k, d.JSON)
}

func statesOf(k *kit, raw []byte) []indexState {
	k.Helper()
	var told struct {
		States []indexState `json:"index_states"`
	}
	if err := json.Unmarshal(raw, &told); err != nil {
		k.Fatal(err)
	}
	return told.States
}

// patience ends a wait for what will never be. It is far longer than anything here takes.
const patience = time.Minute

// until waits for what happens in the background.
func (k *kit) until(what string, done func() bool) {
	k.Helper()
	for give := time.Now().Add(patience); !done(); runtime.Gosched() {
		if time.Now().After(give) {
			k.Fatalf("waited in vain until %s", what)
		}
	}
}

// built waits until no index of a collection is under way.
func (k *kit) built(collection string) {
	k.Helper()
	k.until("the indexes of "+collection+" are built", func() bool {
		return !slices.ContainsFunc(k.states(collection), func(s indexState) bool { return s.State == "building" })
	})
}

// count is how many keys begin with a prefix.
func (k *kit) count(prefix []byte) (n int) {
	k.Helper()
	err := k.db.View(func(tx *store.Tx) error {
		n = 0
		c := tx.Scan(store.Prefix(prefix))
		for c.Next() {
			n++
		}
		return c.Err()
	})
	if err != nil {
		k.Fatal(err)
	}
	return n
}

// swept waits until all that was discarded is deleted.
func (k *kit) swept() {
	k.Helper()
	k.until("what was discarded is deleted", func() bool { return k.count(store.Catalog.Key([]byte{'d'})) == 0 })
}

// numbered makes bodies of records with n from 0 up.
func numbered(count int) []string {
	bodies := make([]string, count)
	for i := range bodies {
		bodies[i] = fmt.Sprintf(`{"id":"r%05d","n":%d,"m":%d}`, i, i*7919%count, i)
	}
	return bodies
}

const byN = `{"indexes":[{"name":"by_n","fields":["n"]}]}`

// byIndex lists by n, and returns the index that was used.
func byIndex(k *kit) (index any) {
	k.Helper()
	p := k.list(admin, "notes", records.Query{Sort: []string{"-n"}, Limit: 5, Explain: true})
	if len(p.Items) == 0 {
		k.Fatal("an empty list")
	}
	return p.Plan["index"]
}

// TestBuildAndRestart builds an index over more than one slice's records, stops in the middle and goes on after a restart. Until it is
// complete no list uses it; what is written meanwhile is in it.
func TestBuildAndRestart(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	k.define("notes", open)
	k.createAll("notes", numbered(3200)...)
	ctx := context.Background()
	var state indexState
	for try := 0; state.State != "building"; try++ {
		if try == 20 {
			t.Skip("this machine builds indexes before they can be stopped")
		}
		k.define("notes", `{}`)
		got, err := k.put("notes", byN, records.DefineOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if s := statesOf(k, got.JSON); len(s) != 1 || s[0].State != "building" || s[0].Done != 2000 || s[0].Of != 3200 {
			t.Fatalf("over 3,200 records it is at first %+v", s)
		}
		if err := k.Records.Close(); err != nil {
			t.Fatal(err)
		}
		if state = k.states("notes")[0]; state.State != "building" {
			reopen(k)
		}
	}
	if index := byIndex(k); index != nil {
		t.Errorf("a list uses %v, which is %+v", index, state)
	}
	// Written on both sides of where the building stands, and by other callers than the building.
	for _, id := range []string{"r00001", "r01999", "r02001", "r02600", "r03199"} {
		if _, err := k.Patch(ctx, admin, "notes", id, []byte(`{"n":99999}`), records.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"r00002", "r03198"} {
		if err := k.Delete(ctx, admin, "notes", id, records.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	k.createAll("notes", `{"id":"a","n":99999}`, `{"id":"r02600x","n":99999}`, `{"id":"z","n":99999}`)
	reopen(k)
	if s := k.states("notes")[0]; s.Done < 2000 {
		t.Errorf("after the restart it began anew: %+v", s)
	}
	k.built("notes")
	if index := byIndex(k); index != "by_n" {
		t.Errorf("a list uses %v, which is %+v", index, k.states("notes"))
	}
	if p := k.list(admin, "notes", records.Query{Filter: "n == 99999", Count: true}); *p.Count != 8 {
		t.Errorf("%d of 8 are found: %v", *p.Count, p.ids())
	}
	if s := k.states("notes")[0]; s.State != "ready" || s.Done != 0 || s.Error != "" {
		t.Errorf("when built it is %+v", s)
	}
}

// reopen closes the collections and opens them anew, on the same data file.
func reopen(k *kit) {
	k.Helper()
	if err := k.Records.Close(); err != nil {
		k.Fatal(err)
	}
	var err error
	if k.Records, err = records.New(k.db, records.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
		k.Fatal(err)
	}
}

// TestBuildBesideWriters has writers and readers at work while indexes are built and removed.
func TestBuildBesideWriters(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("notes", open)
	k.createAll("notes", numbered(3200)...)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				id := fmt.Sprintf("r%05d", (i*37+w*811)%3600)
				var err error
				switch i % 3 {
				case 0:
					err = k.Delete(ctx, admin, "notes", id, records.Condition{})
				case 1:
					_, _, err = k.Put(ctx, admin, "notes", id, fmt.Appendf(nil, `{"n":%d,"m":%d}`, i%500, i), records.Condition{})
				case 2:
					_, err = k.Patch(ctx, admin, "notes", id, fmt.Appendf(nil, `{"n":"%d"}`, i%500), records.Condition{})
				}
				if err != nil && code(err) != errs.NotFound {
					t.Errorf("a write to %s: %v", id, err)
					return
				}
			}
		})
	}
	definitions := []string{
		byN, `{"indexes":[{"name":"by_n","fields":["n"]},{"name":"by_m","fields":["-m","n"]}]}`, `{"indexes":[{"name":"by_m","fields":["-m","n"]}]}`, `{}`,
		`{"indexes":[{"name":"by_n","fields":["-n"],"where":"n > 100"}],"access":{"read":"record.n > 7"}}`,
	}
	rounds := 2
	if raceEnabled {
		rounds = 1
	}
	for round := range rounds {
		for i, definition := range definitions {
			k.define("notes", definition)
			for used := 0; used < 6; used++ {
				p := k.list(admin, "notes", records.Query{Sort: []string{"n"}, Limit: 500, Explain: true})
				for _, s := range k.states("notes") {
					// What was used was ready then, so it is ready now.
					if s.Name == p.Plan["index"] && s.State != "ready" {
						t.Errorf("round %d, definition %d: a list used %+v", round, i, s)
					}
				}
				if len(p.Items) != 500 {
					t.Errorf("round %d, definition %d: %d of 500 rows by %v", round, i, len(p.Items), p.Plan)
				}
			}
			if i%2 == 0 {
				k.built("notes")
				if err := k.Check(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	stop.Store(true)
	wg.Wait()
	k.built("notes")
	k.swept()
}

func TestUniqueThatCannotBe(t *testing.T) {
	t.Parallel()
	const unique = `{"indexes":[{"name":"by_n","fields":["n"],"unique":true}]}`
	t.Run("small", func(t *testing.T) {
		k := newKit(t, records.Options{})
		first, err := k.put("notes", `{}`, records.DefineOptions{})
		if err != nil {
			t.Fatal(err)
		}
		k.createAll("notes", `{"id":"a","n":1}`, `{"id":"b","n":2}`, `{"id":"c","n":1}`, `{"id":"d"}`, `{"id":"e","n":null}`, `{"id":"f"}`)
		_, err = k.put("notes", unique, records.DefineOptions{})
		var e *errs.Error
		if !errors.As(err, &e) || e.Code != errs.NotUnique || fmt.Sprint(e.Members["ids"]) != "[a c]" || !strings.Contains(e.Text, "by_n") {
			t.Errorf("over records that collide: %v %+v", err, e)
		}
		if d, err := k.Collection(context.Background(), admin, "notes"); err != nil || d.Rev != first.Rev {
			t.Errorf("the refused change left rev %s of %s, %v", d.Rev, first.Rev, err)
		}
		if err := k.Delete(context.Background(), admin, "notes", "c", records.Condition{}); err != nil {
			t.Fatal(err)
		}
		k.define("notes", unique)
		if _, err := k.Create(context.Background(), admin, "notes", []byte(`{"n":1}`)); !errors.As(err, &e) || e.Code != errs.NotUnique || e.Members["id"] != "a" {
			t.Errorf("a second record of one value: %v", err)
		}
	})
	t.Run("large", func(t *testing.T) {
		k := newKit(t, records.Options{})
		ctx := context.Background()
		k.define("notes", `{}`)
		k.createAll("notes", append(numbered(2700), `{"id":"x","n":5}`, `{"id":"y","n":-1}`, `{"id":"z","n":-1}`)...)
		first, err := k.put("notes", unique, records.DefineOptions{})
		if err != nil {
			t.Fatal(err)
		}
		k.built("notes")
		s := k.states("notes")[0]
		if s.State != "failed" || !strings.Contains(s.Error, "x") || !strings.Contains(s.Error, " n") {
			t.Errorf("over records that collide: %+v", s)
		}
		if index := byIndex(k); index != nil {
			t.Errorf("a list uses %v", index)
		}
		k.createAll("notes", `{"n":5}`) // it keeps nothing out
		k.swept()
		if n := k.count(store.Indexes.Key()); n != 0 {
			t.Errorf("%d entries are left of an index that failed", n)
		}
		reopen(k)
		if again := k.states("notes")[0]; again != s {
			t.Errorf("after a restart: %+v, was %+v", again, s)
		}
		// Defined again it is tried again.
		for _, id := range k.list(admin, "notes", records.Query{Filter: "n == 5 || n == -1", Limit: 500}).ids()[1:] {
			if err := k.Delete(ctx, admin, "notes", id, records.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		again, err := k.put("notes", unique, records.DefineOptions{})
		if err != nil || again.Rev <= first.Rev {
			t.Fatalf("the same again: rev %s after %s, %v", again.Rev, first.Rev, err)
		}
		k.built("notes")
		if s := k.states("notes")[0]; s.State != "ready" || byIndex(k) != "by_n" {
			t.Errorf("when nothing collides: %+v", s)
		}
	})
}

// TestValueThatCannotBeIndexed refuses the write, or the index, and names the field and the record.
func TestValueThatCannotBeIndexed(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	ctx := context.Background()
	long := strings.Repeat("x", 4097)
	k.define("notes", `{"indexes":[{"name":"by_a","fields":["o.a"]}]}`)
	for _, body := range []string{`{"o":{"a":"` + long + `"}}`, `{"o":{"a":["x","` + long + `"]}}`, `{"o":{"a":[0` + strings.Repeat(",0", 1000) + `]}}`} {
		if _, err := k.Create(ctx, admin, "notes", []byte(body)); code(err) != errs.Invalid || len(fields(err)) != 1 || fields(err)[0].Pointer != "/o/a" {
			t.Errorf("%.40s…: %v %v", body, err, fields(err))
		}
	}
	k.create(admin, "notes", `{"id":"most","o":{"a":"`+long[1:]+`"},"b":"`+long+`"}`)
	if _, err := k.put("notes", `{"indexes":[{"name":"by_b","fields":["b"]}]}`, records.DefineOptions{}); code(err) != errs.Conflict || !strings.Contains(err.Error(), "most") || !strings.Contains(err.Error(), "by_b") {
		t.Errorf("an index over what can't be indexed: %v", err)
	}
	if p := k.list(admin, "notes", records.Query{Filter: `o.a == "` + long[:3000] + `"`, Explain: true}); len(p.Items) != 0 || p.Plan["index"] != "by_a" {
		t.Errorf("found %v by %v", p.ids(), p.Plan)
	}
}
