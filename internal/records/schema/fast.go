package schema

import (
	"bytes"
	"math"
	"math/big"
	"slices"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"croft/internal/records/rawjson"
)

// A walker holds canonical bytes to a plain schema. Without a report it stops
// at the first fault; with one it goes on and tells them. It keeps to the
// library's order: a fault of type, const, enum or format hides the others of
// the same value.
type walker struct {
	report  *report // nil: only the verdict is wanted
	path    []string
	scratch []byte // for texts with escapes
}

// fault tells a fault of the value at path and is false.
func (w *walker) fault(n *node, k jsonschema.ErrorKind) bool {
	w.report.add(w.path, k, n)
	return false
}

func (w *walker) value(n *node, raw []byte) bool {
	if n.bool != nil {
		return *n.bool || w.report != nil && w.fault(n, &kind.FalseSchema{})
	}
	t := typeOf(raw)
	if n.types != 0 && n.types&t == 0 && !(n.types&typeInteger != 0 && t == typeNumber && isWhole(raw)) {
		return w.report != nil && w.fault(n, &kind.Type{Got: t.names()[0], Want: n.types.names()})
	}
	if n.constant != nil && !rawjson.Equal(raw, n.constant) {
		return w.report != nil && w.fault(n, &kind.Const{Want: decode(n.constant)})
	}
	if n.isEnum && !slices.ContainsFunc(n.enum, func(e []byte) bool { return rawjson.Equal(raw, e) }) {
		if w.report == nil {
			return false
		}
		want := make([]any, len(n.enum))
		for i, e := range n.enum {
			want[i] = decode(e)
		}
		return w.fault(n, &kind.Enum{Want: want})
	}
	var s []byte
	if t == typeString {
		s = w.text(raw)
		if n.hasFormat != nil && !n.hasFormat(s) {
			return w.report != nil && w.fault(n, &kind.Format{Want: n.format})
		}
	}

	ok := true
	switch t {
	case typeObject:
		ok = w.object(n, raw)
	case typeArray:
		ok = w.array(n, raw)
	case typeString:
		ok = w.string(n, s)
	case typeNumber:
		ok = w.number(n, raw)
	}
	if n.ref != nil && (ok || w.report != nil) {
		ok = w.value(n.ref, raw) && ok
	}
	return ok
}

// text is what a quoted string stands for, until the next call.
func (w *walker) text(quoted []byte) []byte {
	if s, ok := rawjson.Plain(quoted); ok {
		return s
	}
	w.scratch = rawjson.UnquoteTo(w.scratch[:0], quoted)
	return w.scratch
}

func (w *walker) string(n *node, s []byte) bool {
	ok := true
	if n.minLength > 0 || n.maxLength >= 0 {
		length := utf8.RuneCount(s)
		if length < n.minLength {
			if w.report == nil {
				return false
			}
			ok = w.fault(n, &kind.MinLength{Got: length, Want: n.minLength})
		}
		if n.maxLength >= 0 && length > n.maxLength {
			if w.report == nil {
				return false
			}
			ok = w.fault(n, &kind.MaxLength{Got: length, Want: n.maxLength})
		}
	}
	if n.pattern != nil && !n.pattern.Match(s) {
		return w.report != nil && w.fault(n, &kind.Pattern{Want: n.pattern.String()})
	}
	return ok
}

func (w *walker) number(n *node, raw []byte) bool {
	if n.minimum == nil && n.maximum == nil && n.exclusiveMinimum == nil && n.exclusiveMaximum == nil && n.multipleOf == nil {
		return true
	}
	f, _ := rawjson.Number(raw) // canonical numbers always are
	// Comparing doubles is exact: different canonical numbers are different doubles, in the same order.
	low, high := n.minimum != nil && f < *n.minimum, n.maximum != nil && f > *n.maximum
	atLow, atHigh := n.exclusiveMinimum != nil && f <= *n.exclusiveMinimum, n.exclusiveMaximum != nil && f >= *n.exclusiveMaximum
	odd := n.multipleOf != nil && !isMultiple(raw, f, n.multipleOf)
	if !low && !high && !atLow && !atHigh && !odd {
		return true
	}
	if w.report == nil {
		return false
	}
	if low {
		w.fault(n, &kind.Minimum{Want: rat(*n.minimum)})
	}
	if high {
		w.fault(n, &kind.Maximum{Want: rat(*n.maximum)})
	}
	if atLow {
		w.fault(n, &kind.ExclusiveMinimum{Want: rat(*n.exclusiveMinimum)})
	}
	if atHigh {
		w.fault(n, &kind.ExclusiveMaximum{Want: rat(*n.exclusiveMaximum)})
	}
	if odd {
		divisor, _ := rawjson.Number(n.multipleOf)
		w.fault(n, &kind.MultipleOf{Want: rat(divisor)})
	}
	return false
}

// maxExact is up to where every whole number is a double.
const maxExact = 1 << 53

// isMultiple divides exactly, as decimals: 0.3 is a multiple of 0.1.
func isMultiple(raw []byte, f float64, divisor []byte) bool {
	d, _ := rawjson.Number(divisor)
	if math.Abs(f) <= maxExact && d <= maxExact && f == math.Trunc(f) && d == math.Trunc(d) {
		return math.Mod(f, d) == 0
	}
	x, ok1 := new(big.Rat).SetString(string(raw))
	y, ok2 := new(big.Rat).SetString(string(divisor))
	return ok1 && ok2 && y.Sign() != 0 && x.Quo(x, y).IsInt()
}

func rat(f float64) *big.Rat { return new(big.Rat).SetFloat64(f) }

// below holds a member or an element to its schema.
func (w *walker) below(n *node, raw, key []byte, i int) bool {
	if w.report == nil {
		return w.value(n, raw)
	}
	segment := ""
	if key != nil {
		segment = rawjson.Text(key)
	} else {
		segment = itoa(i)
	}
	w.path = append(w.path, segment)
	ok := w.value(n, raw)
	w.path = w.path[:len(w.path)-1]
	return ok
}

func (w *walker) object(n *node, raw []byte) bool {
	ok := true
	count, required, next := 0, 0, 0
	for it := rawjson.Members(raw); it.Next(); {
		count++
		var sub *node
		if i := n.find(it.Key(), next); i >= 0 {
			next = i + 1
			if n.members[i].required {
				required++
			}
			sub = n.members[i].node
		}
		if sub == nil {
			if n.closed {
				if w.report == nil {
					return false
				}
				ok = w.fault(n, &kind.AdditionalProperties{Properties: []string{it.Name()}})
			}
			sub = n.additional
		}
		if sub != nil && !w.below(sub, it.Value(), it.Key(), 0) {
			ok = false
		}
		if !ok && w.done() {
			return false
		}
	}
	if required < n.required {
		if w.report == nil {
			return false
		}
		var missing []string
		for _, m := range n.members {
			if m.required && rawjson.Get(raw, m.name) == nil {
				missing = append(missing, m.name)
			}
		}
		ok = w.fault(n, &kind.Required{Missing: missing})
	}
	if count < n.minProperties {
		if w.report == nil {
			return false
		}
		ok = w.fault(n, &kind.MinProperties{Got: count, Want: n.minProperties})
	}
	if n.maxProperties >= 0 && count > n.maxProperties {
		if w.report == nil {
			return false
		}
		ok = w.fault(n, &kind.MaxProperties{Got: count, Want: n.maxProperties})
	}
	return ok
}

// done tells whether one more fault would change nothing.
func (w *walker) done() bool { return w.report == nil || w.report.full() }

func (w *walker) array(n *node, raw []byte) bool {
	if n.items == nil && n.minItems == 0 && n.maxItems < 0 && !n.uniqueItems {
		return true
	}
	ok := true
	count := 0
	for it := rawjson.Elements(raw); it.Next(); count++ {
		if n.items != nil && !w.below(n.items, it.Value(), nil, count) {
			ok = false
			if w.done() {
				return false
			}
		}
	}
	if count < n.minItems {
		if w.report == nil {
			return false
		}
		ok = w.fault(n, &kind.MinItems{Got: count, Want: n.minItems})
	}
	if n.maxItems >= 0 && count > n.maxItems {
		if w.report == nil {
			return false
		}
		ok = w.fault(n, &kind.MaxItems{Got: count, Want: n.maxItems})
	}
	if n.uniqueItems && count > 1 {
		if i, j := duplicates(raw, count); i >= 0 {
			return w.report != nil && w.fault(n, &kind.UniqueItems{Duplicates: [2]int{i, j}})
		}
	}
	return ok
}

// fewElements is up to how many elements comparing each with each is best.
const fewElements = 16

// duplicates finds the first element that is equal to an earlier one: the
// earlier one's place and its own, or -1.
func duplicates(raw []byte, count int) (int, int) {
	if count <= fewElements {
		var elements [fewElements][]byte
		n := 0
		for it := rawjson.Elements(raw); it.Next() && n < fewElements; n++ {
			elements[n] = it.Value()
			for i := range n {
				if rawjson.Equal(elements[i], elements[n]) {
					return i, n
				}
			}
		}
		return -1, -1
	}
	// Sort the elements by a form in which equal ones have equal bytes.
	type place struct{ start, end, index int }
	same := make([]byte, 0, len(raw))
	places := make([]place, 0, count)
	for it := rawjson.Elements(raw); it.Next(); {
		start := len(same)
		same = appendSorted(same, it.Value())
		places = append(places, place{start, len(same), len(places)})
	}
	slices.SortFunc(places, func(a, b place) int {
		if c := bytes.Compare(same[a.start:a.end], same[b.start:b.end]); c != 0 {
			return c
		}
		return a.index - b.index
	})
	first, second := -1, -1
	for i := 1; i < len(places); i++ {
		a, b := places[i-1], places[i]
		if bytes.Equal(same[a.start:a.end], same[b.start:b.end]) && (second < 0 || b.index < second) {
			first, second = a.index, b.index
		}
	}
	return first, second
}

// appendSorted appends a value with its objects' members in the order of their names.
func appendSorted(dst, raw []byte) []byte {
	switch rawjson.KindOf(raw) {
	case rawjson.Array:
		dst = append(dst, '[')
		for it := rawjson.Elements(raw); it.Next(); {
			dst = append(appendSorted(dst, it.Value()), ',')
		}
		return append(dst, ']')
	case rawjson.Object:
		type pair struct{ key, value []byte }
		var pairs []pair
		for it := rawjson.Members(raw); it.Next(); {
			pairs = append(pairs, pair{it.Key(), it.Value()})
		}
		slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
		dst = append(dst, '{')
		for _, p := range pairs {
			dst = append(append(dst, p.key...), ':')
			dst = append(appendSorted(dst, p.value), ',')
		}
		return append(dst, '}')
	}
	return append(dst, raw...)
}
