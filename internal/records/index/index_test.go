package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"croft/internal/errs"
	"croft/internal/records/rawjson"
)

// texts are strings that are near each other and have what the encoding escapes.
var texts = rapid.OneOf(rapid.StringOfN(rapid.SampledFrom([]rune("ab\x00\x01\x02é\U0010ffff\"\\\n")), 0, 5, -1), rapid.String())

var numbers = rapid.OneOf(
	rapid.Map(rapid.IntRange(-3, 3), func(i int) float64 { return float64(i) }),
	rapid.Float64(),
	rapid.SampledFrom([]float64{0.5, -0.5, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 1 << 53, 1<<53 + 2}),
)

// scalar draws a scalar in canonical JSON.
func scalar(t *rapid.T) []byte {
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		return []byte("null")
	case 1:
		return []byte("false")
	case 2:
		return []byte("true")
	case 3:
		return rawjson.AppendNumber(nil, numbers.Draw(t, "number"))
	}
	return rawjson.AppendString(nil, texts.Draw(t, "text"))
}

// value draws a value in canonical JSON, nil for none.
func value(t *rapid.T) []byte {
	switch rapid.IntRange(0, 9).Draw(t, "value") {
	case 0:
		return nil
	case 1:
		return []byte(`{"a":1,"b":[2]}`)
	case 2:
		return append(append([]byte{'['}, bytes.Join([][]byte{scalar(t), scalar(t), scalar(t)}, []byte{','})...), ']')
	}
	return scalar(t)
}

// compareValues is the order that AppendValue promises, written down another way.
func compareValues(a, b []byte) int {
	rank := func(v []byte) int {
		return min(int(rawjson.KindOf(v)), int(rawjson.Array)) // the kinds stand in this order
	}
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

// decode is what an ordered value stands for, in canonical JSON, and its length.
func decode(b []byte, desc bool) (raw []byte, n int) {
	b = bytes.Clone(b)
	if desc {
		invert(b)
	}
	switch b[0] {
	case Missing:
		return nil, 1
	case Null:
		return []byte("null"), 1
	case False:
		return []byte("false"), 1
	case True:
		return []byte("true"), 1
	case Number:
		bits := binary.BigEndian.Uint64(b[1:9])
		if bits>>63 == 0 {
			bits = ^bits
		} else {
			bits &^= 1 << 63
		}
		return rawjson.AppendNumber(nil, math.Float64frombits(bits)), 9
	case String:
		var text []byte
		for i := 1; ; i++ {
			if b[i] == 0 {
				if i++; b[i] == 0 {
					return rawjson.AppendString(nil, string(text)), i + 1
				}
				text = append(text, 0)
				continue
			}
			text = append(text, b[i])
		}
	}
	return []byte("[]"), 1
}

func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Records of some fields, each ascending or descending, and an id.
		desc := rapid.SliceOfN(rapid.Bool(), 1, 3).Draw(t, "desc")
		ix := &Index{}
		for _, d := range desc {
			ix.Fields = append(ix.Fields, Field{Desc: d})
		}
		ids := rapid.StringMatching(`[AZaz09_-]{1,3}`)
		type row struct {
			values [][]byte
			id     string
			key    []byte
		}
		draw := func() row {
			var r row
			for _, d := range desc {
				v := value(t)
				r.values = append(r.values, v)
				r.key = AppendValue(r.key, v, d)
			}
			r.id = ids.Draw(t, "id")
			r.key = AppendID(r.key, r.id, ix.IDDesc())
			return r
		}
		a, b := draw(), draw()
		want := 0
		for i := range desc {
			if want = compareValues(a.values[i], b.values[i]); want != 0 {
				if desc[i] {
					want = -want
				}
				break
			}
		}
		if want == 0 {
			if want = strings.Compare(a.id, b.id); ix.IDDesc() {
				want = -want
			}
		}
		if got := bytes.Compare(a.key, b.key); got != want {
			t.Fatalf("%q %s\n%q %s\ncompare as %d, want %d", a.values, a.id, b.values, b.id, got, want)
		}
		if want != 0 && bytes.HasPrefix(b.key, a.key) && ix.IDDesc() {
			t.Fatalf("%x begins with %x", b.key, a.key)
		}

		// Nothing is lost but what is in arrays and objects.
		rest := a.key
		for i, d := range desc {
			raw, n := decode(rest, d)
			if v := a.values[i]; compareValues(v, raw) != 0 {
				t.Fatalf("%s reads as %s", v, raw)
			}
			rest = rest[n:]
		}
		if got := ix.ID(a.key, nil); string(got) != a.id {
			t.Fatalf("id %s reads as %s", a.id, got)
		}
	})
}

func TestPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, prefix := texts.Draw(t, "text"), texts.Draw(t, "prefix")
		whole, begin := AppendString(nil, text), AppendStringPrefix(nil, prefix)
		if got := bytes.HasPrefix(whole, begin); got != strings.HasPrefix(text, prefix) {
			t.Fatalf("%q begins with %q: %v", text, prefix, got)
		}
		if !Whole(whole) || Whole(begin) {
			t.Fatalf("Whole(%x) = %v, Whole(%x) = %v", whole, Whole(whole), begin, Whole(begin))
		}
		if end := After(bytes.Clone(begin)); (bytes.Compare(whole, begin) >= 0 && bytes.Compare(whole, end) < 0) != strings.HasPrefix(text, prefix) {
			t.Fatalf("%q is not where %q should have it", text, prefix)
		}
	})
	for _, raw := range []string{"", "null", "true", "false", "0", "-1.5"} {
		if v := AppendValue(nil, []byte(raw), false); !Whole(v) || Whole(v[:len(v)-1]) {
			t.Errorf("Whole is wrong for %s", raw)
		}
	}
	if Whole(AppendValue(nil, []byte("[1]"), false)) {
		t.Error("an array is not a whole value")
	}
}

// fields reads paths of one record.
func fields(record string) func(path []string) []byte {
	return func(path []string) []byte { return rawjson.Path([]byte(record), path...) }
}

func paths(names ...string) []Field {
	var fs []Field
	for _, name := range names {
		name, desc := strings.CutPrefix(name, "-")
		fs = append(fs, Field{strings.Split(name, "."), desc})
	}
	return fs
}

// show writes a key for people.
func show(ix *Index, k *Keys, i int) string {
	var b strings.Builder
	if class := k.Key(i)[2]; class != ValueEntry {
		fmt.Fprintf(&b, "element of %s ", ix.Fields[class-1].Path[0])
	}
	rest := k.Key(i)[3:]
	for _, f := range ix.Fields {
		raw, n := decode(rest, f.Desc)
		if raw == nil {
			raw = []byte("-")
		}
		fmt.Fprintf(&b, "%s ", raw)
		rest = rest[n:]
	}
	fmt.Fprintf(&b, "%s", ix.ID(k.Key(i), nil))
	if u := k.Unique(i); u != nil {
		b.WriteString(" unique")
		if !bytes.HasPrefix(k.Key(i), u) || len(k.Key(i))-len(u) < 2 {
			b.WriteString("?")
		}
	}
	return b.String()
}

func TestEntries(t *testing.T) {
	for _, test := range []struct {
		fields []string
		unique bool
		record string
		want   []string
	}{
		{[]string{"a"}, false, `{"a":1}`, []string{`1 id1`}},
		{[]string{"-a"}, false, `{"a":1}`, []string{`1 id1`}},
		{[]string{"a", "-b.c"}, false, `{"a":"x","b":{"c":2}}`, []string{`"x" 2 id1`}},
		{[]string{"a", "b.c"}, false, `{"b":[1]}`, []string{`- - id1`}},
		{[]string{"a"}, true, `{"a":"x"}`, []string{`"x" id1 unique`}},
		{[]string{"a"}, true, `{}`, []string{`- id1`}},
		{[]string{"a", "b"}, true, `{"a":1,"b":null}`, []string{`1 null id1`}},
		{[]string{"a", "-b"}, true, `{"a":1,"b":"\n"}`, []string{`1 "\n" id1 unique`}},
		// Arrays: distinct scalars only, in order; the value entry stands once.
		{[]string{"a"}, false, `{"a":["y","x","y",1,null,[2],{"z":3}]}`,
			[]string{`[] id1`, `element of a null id1`, `element of a 1 id1`, `element of a "x" id1`, `element of a "y" id1`}},
		{[]string{"a"}, false, `{"a":[]}`, []string{`[] id1`}},
		{[]string{"a", "b"}, false, `{"a":[1],"b":[2,3]}`, []string{`[] [] id1`, `element of a 1 [] id1`}},
		{[]string{"b", "-a"}, false, `{"a":[1,2],"b":true}`,
			[]string{`true [] id1`, `element of a true 2 id1`, `element of a true 1 id1`}},
		// Objects as the array of their names.
		{[]string{"a"}, false, `{"a":{"x":1,"y\u0001":2}}`, []string{`[] id1`, `element of a "x" id1`, `element of a "y\u0001" id1`}},
		// Unique arrays: element by element, null apart.
		{[]string{"a"}, true, `{"a":["x","x",null]}`, []string{`[] id1`, `element of a null id1`, `element of a "x" id1 unique`}},
		{[]string{"a", "b"}, true, `{"a":["x"],"b":5}`, []string{`[] 5 id1`, `element of a "x" 5 id1 unique`}},
		{[]string{"a", "b"}, true, `{"a":["x"]}`, []string{`[] - id1`, `element of a "x" - id1`}},
		{[]string{"a", "b"}, true, `{"a":["x"],"b":["y"]}`, []string{`[] [] id1`, `element of a "x" [] id1`}},
	} {
		ix := &Index{Name: "by_it", Fields: paths(test.fields...), Unique: test.unique}
		var k Keys
		if err := k.Add(ix, []byte{7, 8}, "id1", fields(test.record)); err != nil {
			t.Errorf("%v of %s: %v", test.fields, test.record, err)
			continue
		}
		var got []string
		for i := range k.Len() {
			if !bytes.HasPrefix(k.Key(i), []byte{7, 8}) {
				t.Errorf("%x has not the prefix", k.Key(i))
			}
			got = append(got, show(ix, &k, i))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v of %s:\ngot  %q\nwant %q", test.fields, test.record, got, test.want)
		}
		for i := 1; i < k.Len(); i++ {
			if bytes.Compare(k.Key(i-1), k.Key(i)) >= 0 {
				t.Errorf("%v of %s: keys out of order", test.fields, test.record)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	long := strings.Repeat("x", MaxText)
	many := "[" + strings.Repeat("1,", MaxElements) + "1]"
	for _, test := range []struct {
		record, pointer, code string // no code: accepted
	}{
		{`{"a":{"b":"` + long + `"}}`, "", ""},
		{`{"a":{"b":"` + long + `x"}}`, "/a/b", "too_long"},
		{`{"a":{"b":"\u0000` + long[1:] + `"}}`, "/a/b", "too_long"},
		{`{"a":{"b":["` + long + `"]}}`, "", ""},
		{`{"a":{"b":["y","` + long + `x"]}}`, "/a/b", "too_long"},
		{`{"a":{"b":` + many + `}}`, "/a/b", "too_many"},
		{`{"a":{"b":` + strings.Replace(many, "1,", "[],", 1) + `}}`, "", ""},
	} {
		for _, names := range [][]string{{"a.b"}, {"x", "-a.b", "y"}} {
			ix := &Index{Name: "by_it", Fields: paths(names...)}
			var k Keys
			if err := k.Add(ix, nil, "before", fields(`{}`)); err != nil {
				t.Fatal(err)
			}
			err := k.Add(ix, nil, "id1", fields(test.record))
			if test.code == "" {
				if err != nil {
					t.Errorf("%.40s: %v", test.record, err)
				}
				continue
			}
			var e *errs.Error
			if !errors.As(err, &e) || len(e.Fields) != 1 || e.Fields[0].Pointer != test.pointer || e.Fields[0].Code != test.code {
				t.Errorf("%.40s: got %v, want %s at %s", test.record, err, test.code, test.pointer)
			}
			if err != nil && strings.Contains(err.Error(), "xxx") {
				t.Errorf("the error tells the value: %v", err)
			}
			if k.Len() != 1 {
				t.Errorf("%.40s: refused, but %d keys are there", test.record, k.Len())
			}
		}
	}
}

func TestLongestKey(t *testing.T) {
	ix := &Index{Name: "by_it"}
	text := strings.Repeat("x", MaxText)
	for i := range MaxFields {
		ix.Fields = append(ix.Fields, Field{[]string{"a"}, i%2 == 0})
	}
	var k Keys
	if err := k.Add(ix, make([]byte, 9), strings.Repeat("i", 64), fields(`{"a":"`+text+`"}`)); err != nil {
		t.Fatal(err)
	}
	if n := len(k.Key(0)); n > 28_800 {
		t.Errorf("a key has %d bytes", n)
	}
}

func TestDiff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		indexes := []*Index{
			{Number: 1, Name: "a", Fields: paths("a")},
			{Number: 2, Name: "ba", Fields: paths("-b", "a"), Unique: true},
		}
		keys := func(k *Keys, a, b []byte) {
			for _, ix := range indexes {
				err := k.Add(ix, []byte{byte(ix.Number)}, "id1", func(path []string) []byte {
					if path[0] == "a" {
						return a
					}
					return b
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		var old, new Keys
		keys(&old, value(t), value(t))
		keys(&new, value(t), value(t))
		if rapid.Bool().Draw(t, "created") {
			old.Reset()
		}
		if rapid.Bool().Draw(t, "deleted") {
			new.Reset()
		}
		stored := map[string]bool{}
		for i := range old.Len() {
			stored[string(old.Key(i))] = true
		}
		err := Diff(&old, &new, func(key []byte) error {
			if !stored[string(key)] {
				t.Fatalf("%x is removed but not there", key)
			}
			delete(stored, string(key))
			return nil
		}, func(key, unique []byte) error {
			if stored[string(key)] {
				t.Fatalf("%x is added but there", key)
			}
			stored[string(key)] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(stored) != new.Len() {
			t.Fatalf("%d keys are stored, want %d", len(stored), new.Len())
		}
		for i := range new.Len() {
			if !stored[string(new.Key(i))] {
				t.Fatalf("%x is not stored", new.Key(i))
			}
		}
	})
}

func TestDiffStops(t *testing.T) {
	ix := &Index{Name: "by_it", Fields: paths("a")}
	var one, none Keys
	if err := one.Add(ix, nil, "id1", fields(`{"a":[1,2]}`)); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	calls := 0
	remove := func([]byte) error { calls++; return stop }
	add := func(_, _ []byte) error { calls++; return stop }
	if err := Diff(&one, &none, remove, add); err != stop || calls != 1 {
		t.Errorf("remove: %v after %d calls", err, calls)
	}
	if err := Diff(&none, &one, remove, add); err != stop || calls != 2 {
		t.Errorf("add: %v after %d calls", err, calls)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	ix := &Index{Name: "by_it", Fields: paths("list", "-due")}
	list, due := []byte(`"inbox"`), []byte(`1732.5`)
	prefix := make([]byte, 9)
	get := func(path []string) []byte {
		if path[0] == "list" {
			return list
		}
		return due
	}
	var k Keys
	if n := testing.AllocsPerRun(100, func() {
		k.Reset()
		if err := k.Add(ix, prefix, "01932f5e-7b6c-7000-8000-000000000001", get); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	ix := &Index{Name: "by_it", Fields: paths("list", "-due")}
	record := fields(`{"list":"inbox","due":1732.5,"title":"buy milk"}`)
	prefix := make([]byte, 9)
	var k Keys
	b.ReportAllocs()
	for b.Loop() {
		k.Reset()
		if err := k.Add(ix, prefix, "01932f5e-7b6c-7000-8000-000000000001", record); err != nil {
			b.Fatal(err)
		}
	}
}
