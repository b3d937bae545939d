package plan

import (
	"slices"

	"croft/internal/records/index"
)

// An Order is what a list is sorted by, the first field first. Missing values come first, then null, false, true, numbers,
// strings, arrays and objects; descending fields turn that round.
type Order []index.Field

var idPath = []string{"id"}

// newestFirst is the order of a list that names none.
var newestFirst = Order{{Path: idPath, Desc: true}}

// isID reports whether the path is that of the record's id.
func isID(path []string) bool { return len(path) == 1 && path[0] == "id" }

// Total completes the order so that no two records are equal in it: it ends with the id, in the direction of the
// field before it. What follows an id, and fields that are named again, decide nothing and are left out.
func (o Order) Total() Order {
	if len(o) == 0 {
		return newestFirst
	}
	if o.total() {
		return o
	}
	total := make(Order, 0, len(o)+1)
	for _, f := range o {
		if !total.has(f.Path) {
			total = append(total, f)
		}
		if isID(f.Path) {
			return total
		}
	}
	return append(total, index.Field{Path: idPath, Desc: total[len(total)-1].Desc})
}

func (o Order) total() bool {
	for i, f := range o {
		if isID(f.Path) {
			return i == len(o)-1
		}
		if o[:i].has(f.Path) {
			return false
		}
	}
	return false
}

func (o Order) has(path []string) bool { return o.at(path) >= 0 }

func (o Order) at(path []string) int {
	return slices.IndexFunc(o, func(f index.Field) bool { return slices.Equal(f.Path, path) })
}

// Flip is the opposite order, for reading backwards: the page before a row is the page after it in Total().Flip(),
// turned round.
func (o Order) Flip() Order {
	flipped := slices.Clone(o)
	for i := range flipped {
		flipped[i].Desc = !flipped[i].Desc
	}
	return flipped
}

// AppendKey appends a key of a record that sorts, among those of the same total order, as the record does. The values
// are those of the order's fields but the id, in canonical JSON, nil for missing ones.
func (o Order) AppendKey(dst []byte, values [][]byte, id []byte) []byte {
	last := len(o) - 1
	for i, f := range o[:last] {
		dst = index.AppendValue(dst, values[i], f.Desc)
	}
	return index.AppendID(dst, id, o[last].Desc)
}
