package plan

import (
	"slices"

	"croft/internal/records/expr"
)

// maxBoxes is how many alternatives (from ||) are kept apart; design 7's figure. Beyond it an || bounds nothing.
const maxBoxes = 32

// A query is an Input being planned. Its boxes say what must hold of every record that matches: it lies in one of
// them. Sets and ranges are kept in the query's memory.
type query struct {
	in    Input
	sort  Order
	boxes []box // none: nothing matches

	variable string // in the body of an exists(), its variable

	// All memory of a plain query, in one allocation; more is made where it doesn't suffice.
	bytes           []byte
	spans           []span
	firstBytes      [256]byte
	firstSpans      [8]span
	firstBox        [1]box
	firstConstraint [4]constraint
}

// A box is what must hold together: each of its constraints.
type box struct {
	constraints []constraint
	exact       bool // a record that fits the constraints matches
}

// A subject is what of a record a constraint is about.
type subject uint8

const (
	value    subject = iota // the value at the path
	element                 // some element of the array (or some name of the object) at the path
	variable                // the variable of the exists() whose body is read
)

// A constraint says that the subject is in the set. There are no two in a box about one path's value, but there may be
// several about its elements: different ones may meet them.
type constraint struct {
	of   subject
	path []string
	set  set
}

// newQuery makes a query of a filter alone.
func newQuery(filter *expr.Expr) *query {
	q := &query{}
	q.bytes, q.spans = q.firstBytes[:0], q.firstSpans[:0]
	q.firstBox[0] = box{constraints: q.firstConstraint[:0], exact: true}
	q.boxes = q.firstBox[:]
	if filter != nil {
		q.boxes = q.and(q.boxes, filter.Root, false)
	}
	return q
}

// find is the constraint on the subject, nil if there is none. It is not for elements.
func (b *box) find(of subject, path []string) *constraint {
	for i := range b.constraints {
		if c := &b.constraints[i]; c.of == of && slices.Equal(c.path, path) {
			return c
		}
	}
	return nil
}

// element is the constraint on elements at the path that has the fewest spans, nil if there is none.
func (b *box) element(path []string) *constraint {
	var best *constraint
	for i := range b.constraints {
		c := &b.constraints[i]
		if c.of == element && slices.Equal(c.path, path) && (best == nil || len(c.set) < len(best.set)) {
			best = c
		}
	}
	return best
}

// and narrows the boxes to what n can be true in, or false in if it is negated. It may change the boxes given.
//
// An error is neither true nor false, so "n is false" is all that negation means, and De Morgan's laws hold: an && is
// false just where one side is.
func (q *query) and(boxes []box, n *expr.Node, negated bool) []box {
	switch n.Kind {
	case expr.Not:
		return q.and(boxes, n.Args[0], !negated)
	case expr.And, expr.Or:
		if (n.Kind == expr.Or) != negated {
			return q.or(boxes, n.Args, negated)
		}
		for _, a := range n.Args {
			boxes = q.and(boxes, a, negated)
		}
		return boxes
	case expr.Literal:
		if n.Value.Type() == expr.TypeBool && n.Value.Bool() != negated {
			return boxes
		}
		return nil
	case expr.Failure:
		return nil
	}
	c, exact, ok := q.atom(n, negated)
	if !ok {
		return inexact(boxes)
	}
	if !exact {
		inexact(boxes)
	}
	kept := boxes[:0]
	for _, b := range boxes {
		if q.join(&b, []constraint{c}) {
			kept = append(kept, b)
		}
	}
	return kept
}

// or narrows the boxes to what one of the nodes can be true in.
func (q *query) or(boxes []box, nodes []*expr.Node, negated bool) []box {
	var alternatives []box
	for _, n := range nodes {
		for _, a := range q.and([]box{{exact: true}}, n, negated) {
			if len(a.constraints) == 0 {
				if a.exact {
					return boxes // it holds anyway
				}
				return inexact(boxes)
			}
			alternatives = q.alternative(alternatives, a)
		}
	}
	if len(boxes)*len(alternatives) > maxBoxes {
		return inexact(boxes)
	}
	var product []box
	for _, b := range boxes {
		for _, a := range alternatives {
			both := box{constraints: slices.Clone(b.constraints), exact: b.exact && a.exact}
			if q.join(&both, a.constraints) {
				product = append(product, both)
			}
		}
	}
	return product
}

// alternative appends a, or joins it to the last one where both are about the same one thing: a == 1 || a == 2.
func (q *query) alternative(alternatives []box, a box) []box {
	if n := len(alternatives); n > 0 && len(a.constraints) == 1 && len(alternatives[n-1].constraints) == 1 {
		last := &alternatives[n-1]
		c, d := &last.constraints[0], &a.constraints[0]
		if c.of == d.of && slices.Equal(c.path, d.path) {
			c.set = q.union(c.set, d.set)
			last.exact = last.exact && a.exact
			return alternatives
		}
	}
	return append(alternatives, a)
}

// join adds constraints to a box and reports whether anything can fit it still.
func (q *query) join(b *box, constraints []constraint) bool {
	for _, c := range constraints {
		if len(c.set) == 0 {
			return false
		}
		if c.of != element {
			if have := b.find(c.of, c.path); have != nil {
				if have.set = q.intersect(have.set, c.set); len(have.set) == 0 {
					return false
				}
				continue
			}
		}
		b.constraints = append(b.constraints, c)
	}
	return true
}

func inexact(boxes []box) []box {
	for i := range boxes {
		boxes[i].exact = false
	}
	return boxes
}
