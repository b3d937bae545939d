package plan

import (
	"bytes"
	"slices"

	"croft/internal/records/expr"
	"croft/internal/records/index"
)

// maxRanges is how many ranges a plan has at most: the elements of the longest list that an expression may have.
const maxRanges = 1000

// A way is one way to run a query.
type way struct {
	ix     *index.Index  // nil: the records themselves
	fields []index.Field // of the index
	idDesc bool          // in the index
	values bool          // value entries alone are read, and no elements

	equal   int  // how many leading fields are bound to single values
	unique  bool // so many that there is at most one record for each of them
	ranged  bool // the next field is bound to a range of one type, or the index has a condition
	ordered bool
	reverse bool

	elements int  // which field is bound by its elements, -1 if none is
	mixed    bool // there is no one answer to that for all boxes
}

var recordFields = []index.Field{{Path: idPath}}

// choose picks the way by the rule in the package's comment, and the one for Plan.Narrow if there is one.
func (q *query) choose() (best way, narrow *way) {
	best = way{fields: recordFields, unique: true, values: true}
	q.assess(&best)
	ranged := best
	for _, ix := range q.in.Indexes {
		q.ways(ix, func(w way) {
			if q.better(&w, &best) {
				best = w
			}
			if w.ranged && (!ranged.ranged || q.better(&w, &ranged)) {
				ranged = w
			}
		})
	}
	if ranged.narrows(&best) {
		narrow = &ranged
	}
	return best, narrow
}

// ways calls do with each way over an index, if the filter allows any.
func (q *query) ways(ix *index.Index, do func(way)) {
	w := way{ix: ix, fields: ix.Fields, idDesc: ix.IDDesc(), unique: ix.Unique, values: true}
	if ix.Where != nil {
		if !q.implies(ix.Where) {
			return
		}
		w.ranged = true
	}
	elements := w
	q.assess(&w)
	do(w)
	if q.hasElements(ix) {
		elements.values = false
		q.assess(&elements)
		do(elements)
	}
}

// narrows reports whether w reads fewer records than v, which goes before it because it gives the order.
func (w *way) narrows(v *way) bool {
	return v.ordered && !v.ranged && !v.unique && w.ranged && w.equal >= v.equal
}

// hasElements reports whether a box is about elements of one of the index's fields.
func (q *query) hasElements(ix *index.Index) bool {
	for i := range q.boxes {
		for _, c := range q.boxes[i].constraints {
			if c.of == element && Order(ix.Fields).has(c.path) {
				return true
			}
		}
	}
	return false
}

// better reports whether w goes before v by the rule; of equal ones, that over fewer fields does.
func (q *query) better(w, v *way) bool {
	a, b := q.score(w), q.score(v)
	return a > b || a == b && a > 0 && v.ix != nil && len(w.fields) < len(v.fields)
}

func (q *query) score(w *way) int {
	order, ranged := 2, 1
	if q.in.Count {
		order, ranged = 1, 2
	}
	score := 4 * w.equal
	if w.unique {
		score += 4 * (index.MaxFields + 1)
	}
	if w.ordered {
		score += order
	}
	if w.ranged {
		score += ranged
	}
	return score
}

// assess fills in what the way makes of the query. It comes with unique saying whether the index is, and ranged whether that
// has a condition.
func (q *query) assess(w *way) {
	w.equal, w.elements = len(w.fields), -1
	ranged := true
	for i := range q.boxes {
		r := q.reach(w, &q.boxes[i])
		bound := r.tail != nil && r.tail.set.bracketed()
		switch {
		case r.equal < w.equal:
			w.equal, ranged = r.equal, bound
		case r.equal == w.equal:
			ranged = ranged && bound
		}
		w.unique = w.unique && r.equal == len(w.fields) && !r.null
		w.mixed = w.mixed || i > 0 && r.elements != w.elements
		w.elements = r.elements
	}
	w.ranged = w.ranged || ranged && len(q.boxes) > 0
	w.ordered, w.reverse = q.follows(w)
}

// A reach is how far into a way's fields a box binds them.
type reach struct {
	equal    int         // leading fields bound to single values
	elements int         // which of the fields is bound by its elements, -1 if none is
	null     bool        // one of the values is null, or none at all: such are never unique
	tail     *constraint // on the field behind those, nil if there is none
	hull     bool        // the tail has too many spans: only its ends bound the field
	ranges   int         // how many ranges that makes
}

// constraint is the box's constraint on the i-th field.
func (r *reach) constraint(b *box, fields []index.Field, i int) *constraint {
	if i == r.elements {
		return b.element(fields[i].Path)
	}
	return b.find(value, fields[i].Path)
}

// reach follows the way's fields as long as the box binds them to single values. Elements are used for one field, the first
// where no single values are known: those before it hold scalars then, so that a record which matches has entries for
// the elements of this one.
func (q *query) reach(w *way, b *box) reach {
	r := reach{elements: -1, ranges: 1}
	room := maxRanges / len(q.boxes)
	for i := range w.fields {
		c := b.find(value, w.fields[i].Path)
		if c == nil || !c.set.points() {
			if e := b.element(w.fields[i].Path); e != nil && r.elements < 0 && !w.values {
				c, r.elements = e, i
			}
		}
		switch {
		case c == nil:
			return r
		case r.ranges*len(c.set) > room:
			r.tail, r.hull = c, true
			return r
		}
		r.ranges *= len(c.set)
		if !c.set.points() {
			r.tail = c
			return r
		}
		r.null = r.null || c.set[0].lo.compare(cut{[]byte{index.Null}, true}) < 0
		r.equal++
	}
	return r
}

// fixed is the one value at the path that all records which match have, as far as the boxes tell; for elements, the
// one element.
func (q *query) fixed(of subject, path []string) (v []byte, ok bool) {
	for i := range q.boxes {
		c := q.boxes[i].find(of, path)
		if of == element {
			c = q.boxes[i].element(path)
		}
		if c == nil {
			return nil, false
		}
		single, is := c.set.single()
		if !is || i > 0 && !bytes.Equal(single, v) {
			return nil, false
		}
		v = single
	}
	return v, v != nil
}

// follows reports whether the way's keys are in the order of the sort, and whether they must be read in reverse for
// it. Fields that are fixed decide nothing, neither in the keys nor in the sort.
func (q *query) follows(w *way) (ordered, reverse bool) {
	if w.mixed {
		return false, false
	}
	i := 0
	directed := false
	agree := func(desc, wanted bool) bool {
		if !directed {
			directed, reverse = true, desc != wanted
		}
		return (desc != wanted) == reverse
	}
	for _, s := range q.sort {
		id := isID(s.Path)
		if !id {
			if _, is := q.fixed(value, s.Path); is {
				continue
			}
		}
		for i < len(w.fields) && q.passes(w, i) {
			i++
		}
		switch {
		case i < len(w.fields):
			f := &w.fields[i]
			if i == w.elements || !slices.Equal(f.Path, s.Path) || !agree(f.Desc, s.Desc) {
				return false, false
			}
			i++
		case !id || !agree(w.idDesc, s.Desc):
			return false, false
		}
	}
	return true, reverse
}

// passes reports whether the i-th field of the way is the same in all keys that are read of records which match.
func (q *query) passes(w *way, i int) bool {
	if isID(w.fields[i].Path) {
		return false
	}
	of := value
	if i == w.elements {
		of = element
	}
	_, is := q.fixed(of, w.fields[i].Path)
	return is
}

// implies reports whether every record that matches meets an index's condition: each of its conjuncts stands in the filter
// as well, or is a constraint that the boxes are within.
func (q *query) implies(where *expr.Expr) bool {
	var theirs []*expr.Node
	if q.in.Filter != nil {
		theirs = conjuncts(q.in.Filter.Root)
	}
	for _, n := range conjuncts(where.Root) {
		if slices.ContainsFunc(theirs, func(m *expr.Node) bool { return equal(n, m) }) {
			continue
		}
		c, exact, ok := q.atomOf(n)
		if !ok || !exact || c.of != value {
			return false
		}
		for i := range q.boxes {
			have := q.boxes[i].find(value, c.path)
			if have == nil || !have.set.within(c.set) {
				return false
			}
		}
	}
	return true
}

// atomOf is atom for a node of any kind.
func (q *query) atomOf(n *expr.Node) (c constraint, exact, ok bool) {
	boxes := q.and([]box{{exact: true}}, n, false)
	if len(boxes) != 1 || len(boxes[0].constraints) != 1 {
		return c, false, false
	}
	return boxes[0].constraints[0], boxes[0].exact, true
}

func conjuncts(n *expr.Node) []*expr.Node {
	if n.Kind == expr.And {
		return n.Args
	}
	return []*expr.Node{n}
}

// equal reports whether two trees mean the same by being the same.
func equal(a, b *expr.Node) bool {
	return a.Kind == b.Kind && a.Op == b.Op && a.Root == b.Root && a.Name == b.Name && slices.Equal(a.Path, b.Path) &&
		a.Value.Type() == b.Value.Type() && a.Value.String() == b.Value.String() &&
		slices.EqualFunc(a.Args, b.Args, equal)
}
