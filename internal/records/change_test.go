package records_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"croft/internal/errs"
	"croft/internal/records"
	"croft/internal/store"
)

// meanwhile does something over and over, in several goroutines, while main runs.
func meanwhile(clients int, do func(client int), main func()) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for !stop.Load() {
				do(client)
			}
		})
	}
	defer func() {
		stop.Store(true)
		wg.Wait()
	}()
	main()
}

// TestOneDefinition makes rules stricter while others read: they never see what was written under a rule that would not let them.
func TestOneDefinition(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	ctx := context.Background()
	reads := []func() ([]byte, error){
		func() ([]byte, error) {
			doc, err := k.Get(ctx, nobody, "notes", "r", "", records.Condition{}, nil)
			return doc.JSON, err
		},
		func() ([]byte, error) {
			doc, err := k.Get(ctx, nobody, "notes", "r", "secret", records.Condition{}, nil)
			return doc.JSON, err
		},
		func() ([]byte, error) { return k.List(ctx, nobody, "notes", records.Query{}, nil) },
		func() ([]byte, error) {
			return k.List(ctx, nobody, "notes", records.Query{Filter: `secret == "s3cret"`, Count: true, Fields: []string{"created"}}, nil)
		},
		func() ([]byte, error) {
			doc, err := k.Patch(ctx, nobody, "notes", "r", []byte(`{}`), records.Condition{})
			return doc.JSON, err
		},
	}
	const loose = `{"access":{"read":"true","update":"true"}}`
	k.define("notes", loose)
	meanwhile(len(reads), func(client int) {
		got, err := reads[client]()
		if strings.Contains(string(got), "s3cret") || strings.Contains(string(got), `"count":1`) {
			t.Errorf("read %d got %s %v", client, got, err)
		}
	}, func() {
		for range 6 {
			for _, strict := range []string{`{}`, `{"access":{"read":"has(auth.id)","update":"has(auth.id)"}}`, `{"access":{"read":"record.open == true","update":"true"}}`, `{"access":{"read":"true","update":"true"},"hidden":["secret"]}`} {
				k.define("notes", strict)
				k.create(admin, "notes", `{"id":"r","secret":"s3cret"}`)
				if err := k.Delete(ctx, admin, "notes", "r", records.Condition{}); err != nil {
					t.Fatal(err)
				}
				k.define("notes", loose)
			}
		}
	})
}

// TestIndexRemovedMeanwhile removes indexes, entries and all, while others list by them: no row is missed.
func TestIndexRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	k.define("notes", byN)
	k.createAll("notes", numbered(40)...)
	meanwhile(3, func(int) {
		p, err := k.tryList(admin, "notes", records.Query{Filter: "n >= 10", Sort: []string{"n"}, Count: true, Explain: true})
		if err != nil || len(p.Items) != 30 || *p.Count != 30 {
			t.Errorf("%+v, %v: want 30 rows", p, err)
		}
	}, func() {
		for range 6 {
			for _, definition := range []string{`{}`, byN, `{"indexes":[{"name":"by_n","fields":["-n"]}]}`, `{"indexes":[{"name":"by_n","fields":["n"],"where":"n > 7"}]}`} {
				k.define("notes", definition)
				k.swept()
			}
		}
	})
	// While the collection itself comes and goes, a list is of one or the other.
	meanwhile(3, func(int) {
		p, err := k.tryList(admin, "notes", records.Query{Filter: "n >= 10", Sort: []string{"n"}, Count: true})
		if err != nil && code(err) != errs.NotFound || err == nil && (*p.Count != len(p.Items) || len(p.Items) != 30 && len(p.Items) > 1) {
			t.Errorf("%+v, %v", p, err)
		}
	}, func() {
		for range 10 {
			if err := k.Drop(context.Background(), admin, "notes", records.Condition{}); err != nil {
				t.Fatal(err)
			}
			k.define("notes", byN)
			k.create(admin, "notes", `{"n":77}`)
			k.swept()
		}
	})
}

// onceAsked is a context that does something at the n-th time it is asked for its error.
type onceAsked struct {
	context.Context
	left int
	do   func()
}

func (c *onceAsked) Err() error {
	if c.left--; c.left == 0 {
		c.do()
	}
	return c.Context.Err()
}

// TestMisfitsMeanwhile writes a record that doesn't fit a new schema after Define has looked at the records and before it stores
// the definition.
func TestMisfitsMeanwhile(t *testing.T) {
	for _, test := range []struct {
		before, meanwhile string
		keep, refused     bool
	}{
		{`{"id":"a","name":"Ada"}`, `{"id":"b","name":7}`, false, true},
		{`{"id":"a","name":"Ada"}`, `{"id":"b","name":7}`, true, false},
		{`{"id":"a","name":"Ada"}`, `{"id":"b","name":"Bob"}`, false, false},
	} {
		k := newKit(t, records.Options{})
		k.define("people", open)
		k.create(admin, "people", test.before)
		happened := false
		// Asked first within the look at the records, of which there are few; then before the writer is.
		ctx := &onceAsked{context.Background(), 2, func() {
			happened = true
			k.create(admin, "people", test.meanwhile)
		}}
		_, err := k.Define(ctx, admin, "people", []byte(`{"schema":`+person+`}`), records.DefineOptions{Keep: test.keep})
		if !happened {
			t.Fatal("nothing was written meanwhile")
		}
		if !test.refused {
			if err != nil {
				t.Errorf("%+v: %v", test, err)
			}
			continue
		}
		if n, ids := misfits(t, err); n != 1 || ids[0] != "b" {
			t.Errorf("%+v: misfits %v", test, ids)
		}
	}
}

// TestWritesMeetNewRules prepares writes under one definition and has them stored under the next: the new one decides.
func TestWritesMeetNewRules(t *testing.T) {
	k := newKit(t, records.Options{})
	for _, test := range []struct {
		after string
		want  errs.Code
	}{
		{`{"access":{"read":"true"}}`, errs.Unauthenticated},
		{`{"access":{"read":"true","create":"record.n > 5"}}`, errs.Unauthenticated},
		{`{"schema":{"properties":{"n":{"type":"string"}}},"access":{"read":"true","create":"true"}}`, errs.Invalid},
		{`{"checks":[{"name":"c","expr":"record.n > 5"}],"access":{"read":"true","create":"true"}}`, errs.Invalid},
		{`{"indexes":[{"name":"by_n","fields":["n"],"unique":true}],"access":{"read":"true","create":"true"}}`, errs.NotUnique},
		{`{"indexes":[{"name":"by_n","fields":["n"]}],"access":{"read":"true","create":"true"}}`, ""},
	} {
		k.define("notes", open)
		ctx := &onceAsked{context.Background(), 1, func() {
			k.createAll("notes", `{"id":"other","n":1}`)
			if _, err := k.Define(context.Background(), admin, "notes", []byte(test.after), records.DefineOptions{Keep: true}); err != nil {
				t.Error(err, fields(err))
			}
		}}
		_, err := k.Create(ctx, nobody, "notes", []byte(`{"n":1}`))
		if code(err) != test.want || ctx.left > 0 {
			t.Errorf("under %s: %v, want %q", test.after, err, test.want)
		}
		if err := k.Drop(context.Background(), admin, "notes", records.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDropAndMakeAnew has nothing of a dropped collection in the one that takes its name, whatever is written meanwhile.
func TestDropAndMakeAnew(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("kept", byN)
	k.create(admin, "kept", `{"n":1}`)
	k.define("notes", byN)
	k.createAll("notes", numbered(2300)...)
	if err := k.Drop(ctx, admin, "notes", records.Condition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.tryList(admin, "notes", records.Query{}); code(err) != errs.NotFound {
		t.Errorf("a list of what was dropped: %v", err)
	}
	if err := k.Drop(ctx, admin, "notes", records.Condition{}); code(err) != errs.NotFound {
		t.Errorf("a drop of what was dropped: %v", err)
	}
	reopen(k) // the rest is deleted after a restart
	k.define("notes", `{"indexes":[{"name":"by_n","fields":["n"],"unique":true}]}`)
	k.createAll("notes", `{"id":"r00001","n":5}`, `{"id":"r00002","n":6}`)
	if p := k.list(admin, "notes", records.Query{Filter: "n >= 0", Count: true}); *p.Count != 2 {
		t.Errorf("the new one has %v", p.ids())
	}
	k.swept()
	for _, space := range []store.Space{store.Records, store.Indexes} {
		if n := k.count(space.Key()); n != 3 {
			t.Errorf("%d keys in %s, want 3", n, space)
		}
	}
	// Writers that hold on while it comes and goes.
	var n atomic.Int64
	meanwhile(4, func(client int) {
		i := n.Add(1) % 10
		_, _, err := k.Put(ctx, admin, "notes", fmt.Sprintf("w%d", i), fmt.Appendf(nil, `{"n":%d}`, int64(client)*10+i), records.Condition{})
		if c := code(err); err != nil && c != errs.NotFound && c != errs.NotUnique {
			t.Error(err)
		}
	}, func() {
		for range 15 {
			if err := k.Drop(ctx, admin, "notes", records.Condition{}); err != nil {
				t.Fatal(err)
			}
			k.define("notes", byN)
		}
	})
	k.swept()
	p := k.list(admin, "notes", records.Query{Count: true, Limit: 500})
	if *p.Count != len(p.Items) {
		t.Errorf("it counts %d records and lists %d", *p.Count, len(p.Items))
	}
}
