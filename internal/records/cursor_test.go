package records_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"croft/internal/errs"
	"croft/internal/records"
)

// TestForgedCursors sends cursors whose digest is right, as someone could make who knows the file's id, and whose body is not: they
// are refused, or at most give a page.
func TestForgedCursors(t *testing.T) {
	k := newKit(t, records.Options{})
	k.define("notes", open)
	for range 3 {
		k.create(admin, "notes", `{"a":1}`)
	}
	q := records.Query{Sort: []string{"a"}, Limit: 1}
	sealed, err := base64.RawURLEncoding.DecodeString(*k.list(admin, "notes", q).Next)
	if err != nil {
		t.Fatal(err)
	}
	const head = 2 + 8 + 1 // version, direction, digest of the query, length of the id
	good := sealed[:len(sealed)-8]
	idEnd := head + int(good[head-1])
	id := k.db.FileID()
	forge := func(body []byte) error {
		sum := sha256.Sum256(append(slices.Clone(body), id[:]...))
		q.Cursor = base64.RawURLEncoding.EncodeToString(append(slices.Clone(body), sum[:8]...))
		_, err := k.List(context.Background(), admin, "notes", q, nil)
		return err
	}
	if err := forge(good); err != nil {
		t.Fatalf("a cursor that is as it was: %v", err)
	}
	with := func(b []byte, more string) []byte { return append(slices.Clone(b), more...) }
	long := slices.Clone(good)
	long[head-1] = 255
	strange := slices.Clone(good)
	copy(strange[head:], "a b/c\x00")
	for _, body := range [][]byte{
		long, good[:head], good[:idEnd], with(good[:idEnd], "{}"), with(good[:idEnd], "[]"), with(good[:idEnd], "[[1],[1]]"),
		with(good[:idEnd], "[[\"]"), with(good[:idEnd], "[[[[["), with(good[:idEnd], "7"), with(good[:idEnd], "[[1]]x"), strange,
	} {
		if err := forge(body); code(err) != errs.BadCursor {
			t.Errorf("a forged cursor %q: %v", body, err)
		}
	}
	for i := range good {
		for _, bit := range []byte{1, 0x80} {
			body := slices.Clone(good)
			body[i] ^= bit
			if err := forge(body); err != nil && code(err) != errs.BadCursor {
				t.Errorf("a forged cursor %q: %v", body, err)
			}
		}
	}
}

// TestCursorsOfOneListOnly takes pairs of queries that are easily confused.
func TestCursorsOfOneListOnly(t *testing.T) {
	k := newKit(t, records.Options{})
	k.define("notes", open)
	for range 3 {
		k.create(admin, "notes", `{"a":1,"b":1,"a,b":1}`)
	}
	for _, pair := range [][2]records.Query{
		{{Sort: []string{"a,b"}}, {Sort: []string{"a", "b"}}},
		{{Sort: []string{"a", "b"}}, {Sort: []string{"a,b"}}},
		{{Filter: "a == 1", Sort: []string{"b"}}, {Filter: "a == 1b"}},
		{{Filter: "true"}, {Sort: []string{"true"}}},
		{{}, {Filter: "true"}},
		{{Sort: []string{"-id"}}, {}},
		{{Sort: []string{"a"}}, {Sort: []string{"a", "id"}}},
	} {
		pair[0].Limit, pair[1].Limit = 1, 1
		pair[1].Cursor = *k.list(admin, "notes", pair[0]).Next
		if _, err := k.tryList(admin, "notes", pair[1]); code(err) != errs.BadCursor && code(err) != errs.Invalid {
			t.Errorf("a cursor of %+v passes for %+v: %v", pair[0], pair[1], err)
		}
	}
	// One of a collection that was dropped is none of its successor.
	q := records.Query{Limit: 1}
	q.Cursor = *k.list(admin, "notes", q).Next
	if err := k.Drop(context.Background(), admin, "notes", records.Condition{}); err != nil {
		t.Fatal(err)
	}
	k.define("notes", open)
	if _, err := k.tryList(admin, "notes", q); code(err) != errs.BadCursor {
		t.Errorf("a cursor of a collection that was dropped: %v", err)
	}
}

// TestPagesOfLargeRecords has pages end by their bytes: all rows come, and at least one on each page.
func TestPagesOfLargeRecords(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	k.define("notes", open)
	var want []string
	for i, size := range []int{0, 10, 700_000, 700_000, 300_000, 20, 1_000_000, 1_000_000, 5, 0, 400_000, 400_000, 400_000} {
		want = append(want, fmt.Sprintf("r%02d", i))
		k.create(admin, "notes", fmt.Sprintf(`{"id":%q,"n":%d,"text":"%s"}`, want[i], i, strings.Repeat("x", size)))
	}
	for _, q := range []records.Query{{Sort: []string{"n"}, Filter: "n >= 0"}, {Sort: []string{"id"}, Fields: []string{"text"}}} {
		q.Limit = 500
		var forward, backward []string
		p := k.list(admin, "notes", q)
		for pages := 1; ; pages++ {
			forward = append(forward, p.ids()...)
			if p.Next == nil {
				if pages < 5 {
					t.Errorf("%+v: 4.9 MB in %d pages", q, pages)
				}
				break
			}
			if len(p.Items) == 0 {
				t.Fatalf("%+v: an empty page", q)
			}
			q.Cursor = *p.Next
			p = k.list(admin, "notes", q)
		}
		for {
			backward = append(p.ids(), backward...)
			if p.Prev == nil {
				break
			}
			q.Cursor = *p.Prev
			p = k.list(admin, "notes", q)
		}
		if !slices.Equal(forward, want) || !slices.Equal(backward, want) {
			t.Errorf("%+v:\nforward  %v\nbackward %v", q, forward, backward)
		}
	}
	if p := k.list(admin, "notes", records.Query{Limit: 500, Fields: []string{"n"}}); len(p.Items) != len(want) {
		t.Errorf("%d rows without what is large", len(p.Items))
	}
}

// TestListWhileOthersWrite walks through lists while writers move, add and delete other records all the time: each record
// that stays as it is comes once, in its place.
func TestListWhileOthersWrite(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	k.define("notes", `{"indexes":[{"name":"by_n","fields":["n"]}]}`)
	var want, bodies []string
	for i := range 60 {
		want = append(want, fmt.Sprintf("stay%02d", i))
		bodies = append(bodies, fmt.Sprintf(`{"id":%q,"n":%d,"m":%d,"stay":true}`, want[i], i/4, i/4))
	}
	k.createAll("notes", bodies...)
	var wg sync.WaitGroup
	var stop atomic.Bool
	var writes atomic.Int64
	for w := range 6 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				id := fmt.Sprintf("x%d", (w*31+i*7)%40)
				var err error
				if i%5 == 4 {
					err = k.Delete(context.Background(), admin, "notes", id, records.Condition{})
				} else {
					_, _, err = k.Put(context.Background(), admin, "notes", id, fmt.Appendf(nil, `{"n":%d,"m":%d}`, (i*13+w)%17, (i*5)%17), records.Condition{})
				}
				if err != nil && code(err) != errs.NotFound {
					t.Error(err)
					return
				}
				writes.Add(1)
			}
		})
	}
	const rounds, leastWrites = 8, 200
	for round := 0; round < rounds || writes.Load() < leastWrites && !t.Failed(); round++ {
		for _, q := range []records.Query{{Sort: []string{"n"}}, {Sort: []string{"-n"}}, {Sort: []string{"m"}}, {Sort: []string{"id"}}, {Sort: []string{"n"}, Filter: "m >= 0"}, {Sort: []string{"-m"}, Filter: "n >= 0"}} {
			q.Limit = 7
			var forward, backward []string
			p := k.list(admin, "notes", q)
			for {
				forward = append(forward, stayed(p)...)
				if p.Next == nil {
					break
				}
				q.Cursor = *p.Next
				p = k.list(admin, "notes", q)
			}
			for {
				backward = append(stayed(p), backward...)
				if p.Prev == nil {
					break
				}
				q.Cursor = *p.Prev
				p = k.list(admin, "notes", q)
			}
			expect := slices.Clone(want)
			if q.Sort[0][0] == '-' {
				slices.Reverse(expect)
			}
			if !slices.Equal(forward, expect) || !slices.Equal(backward, expect) {
				t.Errorf("%+v:\nforward  %v\nbackward %v", q, forward, backward)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
}

// stayed names the records of a page that nobody writes to.
func stayed(p *page) []string {
	var ids []string
	for _, item := range p.Items {
		if item["stay"] == true {
			ids = append(ids, item["id"].(string))
		}
	}
	return ids
}
