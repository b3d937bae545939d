package plan_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"croft/internal/records/expr"
	"croft/internal/records/index"
	"croft/internal/records/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden reads testdata/plans.golden: sections of indexes and queries, and below each query its plan and, where
// there is one, the index it needs.
func TestGolden(t *testing.T) {
	const file = "testdata/plans.golden"
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	var indexes []*index.Index
	for line := range strings.Lines(string(golden)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "\t") {
			continue
		}
		fmt.Fprintln(&got, line)
		switch {
		case line == "":
		case strings.HasPrefix(line, "#"):
			indexes = nil
		case strings.HasPrefix(line, "index "):
			indexes = append(indexes, parseIndex(t, line))
		default:
			in := parseQuery(t, line)
			in.Indexes = indexes
			p := plan.Make(in)
			fmt.Fprintf(&got, "\t%s\n", p)
			if needs := plan.Needs(in); needs != nil {
				fmt.Fprintf(&got, "\tneeds %q\n", needs)
			}
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(golden), got.String()); diff != "" && !*update {
		t.Errorf("plans are not as %s has them (-update writes them anew):\n%s", file, diff)
	}
}

// parseIndex reads "index name field,-field [unique] [where …]".
func parseIndex(t testing.TB, line string) *index.Index {
	line, where, conditional := strings.Cut(line, " where ")
	words := strings.Fields(line)
	ix := &index.Index{Name: words[1], Fields: fieldList(words[2]), Unique: slices.Contains(words[3:], "unique")}
	if conditional {
		ix.Where = mustParse(t, where)
	}
	return ix
}

// parseQuery reads "filter | sort field,-field | count"; the filter "all" is none.
func parseQuery(t testing.TB, line string) plan.Input {
	parts := strings.Split(line, " | ")
	var in plan.Input
	if parts[0] != "all" {
		in.Filter = mustParse(t, parts[0])
	}
	for _, part := range parts[1:] {
		if fields, is := strings.CutPrefix(part, "sort "); is {
			in.Sort = fieldList(fields)
		} else if part == "count" {
			in.Count = true
		} else {
			t.Fatalf("what is %q in %q?", part, line)
		}
	}
	return in
}

func mustParse(t testing.TB, text string) *expr.Expr {
	e, err := expr.Parse(text, expr.Filter)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	auth := &expr.Auth{SignedIn: true, ID: "me", Roles: []string{"editor", "guest"}}
	return expr.Bind(e, auth, time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC))
}

func fieldList(s string) plan.Order {
	var o plan.Order
	for name := range strings.SplitSeq(s, ",") {
		name, desc := strings.CutPrefix(name, "-")
		o = append(o, index.Field{Path: strings.Split(name, "."), Desc: desc})
	}
	return o
}

func TestTotal(t *testing.T) {
	for _, test := range []struct{ sort, total, flipped string }{
		{"", "-id", "id"},
		{"id", "id", "-id"},
		{"-id", "-id", "id"},
		{"-created", "-created,-id", "created,id"},
		{"list,-due", "list,-due,-id", "-list,due,id"},
		{"list,-id,due", "list,-id", "-list,id"},
		{"a,-b,a,-c.d,b", "a,-b,-c.d,-id", "-a,b,c.d,id"},
		{"a,a", "a,id", "-a,-id"},
	} {
		var sort plan.Order
		if test.sort != "" {
			sort = fieldList(test.sort)
		}
		total := sort.Total()
		if diff := cmp.Diff(fieldList(test.total), total); diff != "" {
			t.Errorf("%q: %s", test.sort, diff)
		}
		if diff := cmp.Diff(total, total.Total()); diff != "" {
			t.Errorf("%q, total again: %s", test.sort, diff)
		}
		if diff := cmp.Diff(fieldList(test.flipped), total.Flip()); diff != "" {
			t.Errorf("%q, flipped: %s", test.sort, diff)
		}
		if diff := cmp.Diff(total.Flip(), total.Flip().Total()); diff != "" {
			t.Errorf("%q, flipped and total: %s", test.sort, diff)
		}
	}
}

// Many alternatives and many values must neither be lost nor make plans without end. A filter and a rule together can have
// more of them than one text.
func TestLimits(t *testing.T) {
	indexes := []*index.Index{parseIndex(t, "index ab a,b")}
	node := func(format string, args ...any) *expr.Node { return mustParse(t, fmt.Sprintf(format, args...)).Root }
	all := func(kind expr.Kind, nodes ...*expr.Node) *expr.Node { return &expr.Node{Kind: kind, Args: nodes} }
	alternatives := func(n int, format string) *expr.Node {
		or := all(expr.Or)
		for i := range n {
			or.Args = append(or.Args, node(format, i))
		}
		return or
	}
	oneOf := func(field string, n int) *expr.Node {
		list := all(expr.List)
		for i := range n {
			list.Args = append(list.Args, &expr.Node{Value: expr.IntValue(int64(i))})
		}
		return &expr.Node{Kind: expr.Binary, Op: expr.In, Args: []*expr.Node{node("%s", field), list}}
	}
	for _, test := range []struct {
		name   string
		filter *expr.Node
		ranges int // 0: the index is of no use
	}{
		{"1,000 values", oneOf("a", 1000), 1000},
		{"31 × 32 values", all(expr.And, oneOf("a", 31), oneOf("b", 32)), 31 * 32},
		{"40 × 40 values: the second field's ends", all(expr.And, oneOf("a", 40), oneOf("b", 40)), 40},
		{"1,001 values: their ends", oneOf("a", 1001), 1},
		{"32 alternatives", alternatives(32, "a == %d && b > 1"), 32},
		{"33 alternatives", alternatives(33, "a == %d && b > 1"), 0},
		{"33 alternatives beside a value", all(expr.And, node("a == 1"), alternatives(33, "a == %d && b > 1")), 1},
		{"33 alternatives about one field", alternatives(33, "a == %d"), 33},
		{"a product", all(expr.And, node("a == 1 && b > 1 || a == 2 && b > 7"), alternatives(16, "a == %d && b < 9")), 2},
		{"a product of which one is empty", node("(a == 1 && b > 1 || a == 2 && b > 7) && (a == 1 && b < 5 || a == 2 && b < 5)"), 1},
		{"too large a product", all(expr.And, node("a == 1 && b > 1 || a == 2"), alternatives(17, "a == %d && b < 5")), 2},
		{"alternatives that overlap", node("a == 1 && b > 1 || a == 1 && b < 5 || a == 2"), 2},
	} {
		p := plan.Make(plan.Input{Filter: &expr.Expr{Root: test.filter}, Indexes: indexes, Sort: fieldList("title")})
		switch {
		case test.ranges == 0 && p.Index != nil:
			t.Errorf("%s: %d ranges of the index", test.name, len(p.Ranges))
		case test.ranges > 0 && (p.Index == nil || len(p.Ranges) != test.ranges):
			t.Errorf("%s: %d ranges, want %d", test.name, len(p.Ranges), test.ranges)
		}
		if strings.Contains(test.name, "ends") && p.Exact {
			t.Errorf("%s: the plan is exact", test.name)
		}
	}
}

var benchmarks = []struct{ name, query string }{
	{"All", "all"},
	{"Equal", `list == "inbox" | sort -due`},
	{"Rule", `owner == "me" && list == "inbox" && due > 5 && !done | sort -due`},
	{"ID", `id == "01932f5e-7b6c-7000-8000-000000000001"`},
	{"Or", `list == "a" && due > 5 || list == "b" && due < 3`},
	{"None", `title.contains("x")`},
}

func BenchmarkMake(b *testing.B) {
	for _, bench := range benchmarks {
		b.Run(bench.name, func(b *testing.B) {
			in := parseQuery(b, bench.query)
			for _, line := range []string{"index by_list list,-due", "index by_owner owner", "index by_title title"} {
				in.Indexes = append(in.Indexes, parseIndex(b, line))
			}
			b.ReportAllocs()
			for b.Loop() {
				plan.Make(in)
			}
		})
	}
}
