package records_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"croft/internal/errs"
	"croft/internal/records"
)

// TestListByTheNarrowerIndex has matches lie far back in the order of one index, and be too many of another to be counted first.
func TestListByTheNarrowerIndex(t *testing.T) {
	k := newKit(t, records.Options{Scan: 500})
	k.define("notes", `{"indexes":[{"name":"by_n","fields":["n"]},{"name":"by_m","fields":["m"]}]}`)
	var bodies, want []string
	for i := range 1000 {
		bodies = append(bodies, fmt.Sprintf(`{"id":"r%04d","n":%d,"m":%d}`, i, i, i))
		if i >= 600 {
			want = append(want, fmt.Sprintf("r%04d", i))
		}
	}
	k.createAll("notes", bodies...)
	for _, count := range []bool{false, true} {
		q := records.Query{Filter: "m >= 600", Sort: []string{"n"}, Limit: 60, Explain: true, Count: count}
		var forward, backward []string
		p := k.list(admin, "notes", q)
		for {
			forward = append(forward, p.ids()...)
			if p.Next == nil {
				break
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
			t.Errorf("count %v, by %v: %d rows forward and %d back of %d", count, p.Plan, len(forward), len(backward), len(want))
		}
	}
	if _, err := k.tryList(admin, "notes", records.Query{Filter: "m >= 400", Sort: []string{"-m"}, Count: true}); err != nil {
		t.Errorf("a count by an index alone reads no records: %v", err)
	}
	if _, err := k.tryList(admin, "notes", records.Query{Filter: "n + m == 9"}); code(err) != errs.NeedsIndex {
		t.Errorf("a list that no index serves: %v", err)
	}
}

// TestWideRecord has as many fields as a record can.
func TestWideRecord(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("notes", `{"indexes":[{"name":"by_last","fields":["last"]}],"access":{"read":"record.f60000 == 60000"}}`)
	wide := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"f%d":%d,`, i, i)
		}
		return `{"id":"wide",` + b.String() + `"last":1}`
	}
	const most = 1<<16 - 1 - 5 - 1 // system fields, last
	if _, err := k.Create(ctx, admin, "notes", []byte(wide(most+1))); code(err) != errs.TooLarge {
		t.Errorf("one field too many: %v", err)
	}
	k.create(admin, "notes", wide(most))
	if got := k.list(ada, "notes", records.Query{Filter: "last == 1 && f65000 == 65000 && f0 == 0", Fields: []string{"f65528", "last"}}); len(got.Items) != 1 || got.Items[0]["f65528"] != 65528.0 {
		t.Errorf("found %v", got.Items)
	}
	if _, err := k.Patch(ctx, admin, "notes", "wide", []byte(`{"more":1}`), records.Condition{}); code(err) != errs.TooLarge {
		t.Errorf("a patch that adds one field too many: %v", err)
	}
	if _, err := k.Patch(ctx, admin, "notes", "wide", []byte(`{"f0":null,"last":2}`), records.Condition{}); err != nil {
		t.Error(err)
	}
	if got := k.list(ada, "notes", records.Query{Filter: "last == 2"}).ids(); len(got) != 1 {
		t.Errorf("after the patch: %v", got)
	}
}

// TestCostlyRecords has somebody store a record that a rule can't be decided for within its bounds. It is not shown, and the
// others are all the same.
func TestCostlyRecords(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("notes", `{"access":{"read":"record.members.exists(m, m == auth.id || m == 'all')","create":"true"}}`)
	k.create(ada, "notes", `{"id":"mine","members":["u-ada"]}`)
	k.create(ada, "notes", `{"id":"ours","members":["u-ada","all"]}`)
	if _, err := k.Create(ctx, grace, "notes", []byte(`{"id":"heavy","members":[0`+strings.Repeat(",0", 500_000)+`]}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Get(ctx, ada, "notes", "heavy", "", records.Condition{}, nil); code(err) != errs.NotFound {
		t.Errorf("a record whose rule takes too long: %v", err)
	}
	p, err := k.tryList(ada, "notes", records.Query{Sort: []string{"id"}, Count: true})
	if err != nil || !slices.Equal(p.ids(), []string{"mine", "ours"}) || *p.Count != 2 {
		t.Errorf("the others: %v, %v", p, err)
	}
	// A filter that takes too long for all of them is told so.
	k.define("slow", open)
	numbers := "[0" + strings.Repeat(",0", 300) + "]"
	var bodies []string
	for range 400 {
		bodies = append(bodies, `{"a":`+numbers+`,"b":`+numbers+`}`)
	}
	k.createAll("slow", bodies...)
	if _, err := k.tryList(ada, "slow", records.Query{Filter: "a.exists(x, b.exists(y, x + y == 1))"}); code(err) != errs.TooCostly {
		t.Errorf("a filter of a million comparisons a record: %v", err)
	}
}

// TestCancelledList stops a list whose client has gone.
func TestCancelledList(t *testing.T) {
	k := newKit(t, records.Options{})
	k.define("notes", byN)
	k.createAll("notes", numbered(600)...)
	for _, q := range []records.Query{{Filter: "m == -1"}, {Sort: []string{"m"}}, {Filter: "n >= 0", Count: true}} {
		// It is asked at first, and after some hundred records again.
		ctx, cancel := context.WithCancel(context.Background())
		asked := &onceAsked{ctx, 1, cancel}
		if _, err := k.List(asked, admin, "notes", q, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%+v went on after it was cancelled: %v", q, err)
		}
	}
}
