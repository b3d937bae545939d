package plan

import (
	"math"
	"slices"
	"time"

	"croft/internal/records/expr"
	"croft/internal/records/index"
)

// The cuts around the types.
var (
	beforeAll    = cut{nil, false}
	afterAll     = cut{nil, true}
	missing      = cut{[]byte{index.Missing}, false}
	afterMissing = cut{[]byte{index.Missing}, true}
	containers   = cut{[]byte{index.Container}, false}
)

var (
	notMissing = set{{afterMissing, afterAll}}
	isMissing  = set{{missing, afterMissing}}
	isTrue     = typeSet(index.True)
	isFalse    = typeSet(index.False)
)

// typeSet is the set of all values that a tag begins.
func typeSet(t index.Tag) set { return set{{cut{[]byte{t}, false}, cut{[]byte{t}, true}}} }

// atom is the constraint that n, which is neither && nor || nor !, must meet to be true, or false if it is negated. It is exact
// if n is true (or false) wherever the constraint holds. An empty set says that n never is.
func (q *query) atom(n *expr.Node, negated bool) (c constraint, exact, ok bool) {
	if of, path, is := q.subject(n); is { // done, !done
		c.of, c.path, c.set = of, path, isTrue
		if negated {
			c.set = isFalse
		}
		return c, true, true
	}
	switch n.Kind {
	case expr.Has:
		return q.has(n.Args[0], negated)
	case expr.Binary:
		op := n.Op
		if op == expr.In {
			return q.membership(n, negated)
		}
		if negated {
			op = opposite(op)
		}
		left, right := n.Args[0], n.Args[1]
		if _, _, is := q.subject(right); is || isTime(right) {
			left, right, op = right, left, op.Swap()
		}
		if isTime(left) {
			return q.time(left.Args[0], op, right)
		}
		of, path, is := q.subject(left)
		if !is {
			return c, false, false
		}
		c.of, c.path = of, path
		if right.Kind == expr.List && op == expr.Equal { // tags == ["a"]
			c.set = typeSet(index.Container)
			return c, false, true
		}
		if right.Kind != expr.Literal {
			return c, false, false
		}
		c.set, ok = q.comparison(op, &right.Value)
		return c, ok, ok
	case expr.Call:
		if n.Name == "startsWith" && !negated && len(n.Args) == 2 {
			return q.startsWith(n)
		}
	case expr.Exists:
		if !negated {
			return q.exists(n)
		}
	}
	return c, false, false
}

// subject is what n reads of a record, if it is nothing but that.
func (q *query) subject(n *expr.Node) (of subject, path []string, ok bool) {
	switch {
	case n.Kind == expr.Field && n.Root == expr.RecordRoot:
		return value, n.Path, true
	case n.Kind == expr.Var && n.Name == q.variable:
		return variable, nil, true
	}
	return 0, nil, false
}

func opposite(op expr.Op) expr.Op {
	switch op {
	case expr.Equal:
		return expr.NotEqual
	case expr.NotEqual:
		return expr.Equal
	case expr.Less:
		return expr.GreaterEqual
	case expr.LessEqual:
		return expr.Greater
	case expr.Greater:
		return expr.LessEqual
	case expr.GreaterEqual:
		return expr.Less
	}
	return expr.OpNone // arithmetic: no condition
}

// comparison is the set of JSON values for which "value op v" is true; ok is false where no set is known.
func (q *query) comparison(op expr.Op, v *expr.Value) (s set, ok bool) {
	if op < expr.Equal || op > expr.GreaterEqual {
		return nil, false
	}
	if v.Number() {
		return q.compareNumber(op, v), true
	}
	var b, first, last []byte
	switch v.Type() {
	case expr.TypeNull:
		b = q.tag(index.Null)
		if op.Ordering() {
			return nil, true // null has no order
		}
	case expr.TypeBool:
		b = q.tag(index.False)
		if v.Bool() {
			b = q.tag(index.True)
		}
		first, last = q.tag(index.False), q.tag(index.True)
	case expr.TypeString:
		b = q.text(v.Text(), true)
		first, last = b[:1], b[:1]
	default:
		return nil, false
	}
	return q.compare(op, b, first, last), true
}

// compare is the set of values for which "value op b" is true, among types from the tag first to the tag last.
func (q *query) compare(op expr.Op, b, first, last []byte) set {
	switch op {
	case expr.Equal:
		return q.one(cut{b, false}, cut{b, true})
	case expr.NotEqual:
		return q.two(afterMissing, cut{b, false}, cut{b, true}, afterAll)
	case expr.Less:
		return q.nonEmpty(cut{first, false}, cut{b, false})
	case expr.LessEqual:
		return q.one(cut{first, false}, cut{b, true})
	case expr.Greater:
		return q.nonEmpty(cut{b, true}, cut{last, true})
	default:
		return q.one(cut{b, false}, cut{last, true})
	}
}

func (q *query) nonEmpty(lo, hi cut) set {
	if lo.compare(hi) >= 0 {
		return nil
	}
	return q.one(lo, hi)
}

// compareNumber is compare for a number. JSON's are doubles; an int that is none lies between two of them.
func (q *query) compareNumber(op expr.Op, v *expr.Value) set {
	f, exact := v.Float()
	if math.IsNaN(f) { // equal to nothing, without an order
		if op == expr.NotEqual {
			return notMissing
		}
		return nil
	}
	if !exact {
		// f, the nearest double, is on one side of v, and nothing is between them.
		below := f < 1<<63 && int64(f) < v.Int()
		switch op {
		case expr.Equal:
			return nil
		case expr.NotEqual:
			return notMissing
		case expr.Less, expr.LessEqual:
			op = expr.Less
			if below {
				op = expr.LessEqual
			}
		default:
			op = expr.GreaterEqual
			if below {
				op = expr.Greater
			}
		}
	}
	start := len(q.bytes)
	q.bytes = index.AppendNumber(q.bytes, f)
	b := q.bytes[start:len(q.bytes):len(q.bytes)]
	return q.compare(op, b, b[:1], b[:1])
}

// tag and text keep an ordered value in the query's memory.
func (q *query) tag(t index.Tag) []byte {
	q.bytes = append(q.bytes, t)
	return q.bytes[len(q.bytes)-1 : len(q.bytes) : len(q.bytes)]
}

func (q *query) text(s string, whole bool) []byte {
	start := len(q.bytes)
	if whole {
		q.bytes = index.AppendString(q.bytes, s)
	} else {
		q.bytes = index.AppendStringPrefix(q.bytes, s)
	}
	return q.bytes[start:len(q.bytes):len(q.bytes)]
}

// has is has(f). Where f is nested and what it is in is no object, has(f) is an error: not false.
func (q *query) has(f *expr.Node, negated bool) (c constraint, exact, ok bool) {
	if f.Kind != expr.Field || f.Root != expr.RecordRoot {
		return c, false, false
	}
	c.path = f.Path
	if negated {
		c.set = isMissing
		return c, len(f.Path) == 1, true
	}
	c.set = notMissing
	return c, true, true
}

// membership is "f in [literals]" and "literal in f".
func (q *query) membership(n *expr.Node, negated bool) (c constraint, exact, ok bool) {
	left, right := n.Args[0], n.Args[1]
	if negated {
		return c, false, false
	}
	if of, path, is := q.subject(left); is && right.Kind == expr.List {
		c.of, c.path = of, path
		return q.oneOf(c, right.Args)
	}
	of, path, is := q.subject(right)
	if !is || of != value || left.Kind != expr.Literal {
		return c, false, false
	}
	c.of, c.path = element, path
	c.set, ok = q.comparison(expr.Equal, &left.Value)
	return c, ok, ok
}

// oneOf completes the constraint of "subject in [literals]".
func (q *query) oneOf(c constraint, literals []*expr.Node) (_ constraint, exact, ok bool) {
	var points []span // apart from the query's memory: comparison uses that
	for _, n := range literals {
		if n.Kind != expr.Literal {
			return c, false, false
		}
		s, is := q.comparison(expr.Equal, &n.Value)
		if !is {
			return c, false, false
		}
		points = append(points, s...)
	}
	c.set = q.union(points, nil)
	return c, true, true
}

func (q *query) startsWith(n *expr.Node) (c constraint, exact, ok bool) {
	of, path, is := q.subject(n.Args[0])
	if !is || n.Args[1].Kind != expr.Literal || n.Args[1].Value.Type() != expr.TypeString {
		return c, false, false
	}
	prefix := q.text(n.Args[1].Value.Text(), false)
	c.of, c.path, c.set = of, path, q.one(cut{prefix, false}, cut{prefix, true})
	return c, true, true
}

// exists is f.exists(x, condition): some element of f meets what the condition says of x. Only scalars have element
// entries, so a condition that an array or an object can meet says nothing.
func (q *query) exists(n *expr.Node) (c constraint, exact, ok bool) {
	of, path, is := q.subject(n.Args[0])
	if !is || of != value {
		return c, false, false
	}
	outer := q.variable
	q.variable = n.Name
	boxes := q.and([]box{{exact: true}}, n.Args[1], false)
	q.variable = outer

	c.of, c.path, exact = element, path, true
	for i := range boxes {
		b := &boxes[i]
		x := b.find(variable, nil)
		if x == nil || containers.compare(x.set[len(x.set)-1].hi) < 0 {
			return c, false, false
		}
		c.set = q.union(c.set, x.set)
		exact = exact && b.exact && len(b.constraints) == 1
	}
	return c, exact, true
}

// Times stand in records as strings, which sort as times only where all are written alike. In created and updated
// they are: in UTC, to the millisecond.
const millisecond = "2006-01-02T15:04:05.000Z"

// isTime reports whether n is timestamp(created) or timestamp(updated).
func isTime(n *expr.Node) bool {
	if n.Kind != expr.Call || n.Name != "timestamp" || len(n.Args) != 1 {
		return false
	}
	f := n.Args[0]
	return f.Kind == expr.Field && f.Root == expr.RecordRoot && len(f.Path) == 1 && slices.Contains([]string{"created", "updated"}, f.Path[0])
}

// time is timestamp(f) op t.
func (q *query) time(f *expr.Node, op expr.Op, t *expr.Node) (c constraint, exact, ok bool) {
	if t.Kind != expr.Literal || t.Value.Type() != expr.TypeTimestamp || !op.Ordering() {
		return c, false, false
	}
	at := t.Value.Time()
	floor := at.Truncate(time.Millisecond)
	if !floor.Equal(at) { // t is between floor and the next millisecond
		switch op {
		case expr.Less:
			op = expr.LessEqual
		case expr.GreaterEqual:
			op = expr.Greater
		}
	}
	b := q.text(floor.Format(millisecond), true)
	c.path, c.set = f.Path, q.compare(op, b, b[:1], b[:1])
	return c, true, true
}
