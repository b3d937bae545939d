// Package plan decides how a list query is run: from its filter, its sort and the collection's indexes it makes a
// Plan, which says what keys to read and in which direction, and what is left to do. It is pure: no I/O, no keys of its own.
//
// # What a plan promises
//
//   - Every record that the filter matches is reached through its ranges. Others may be, too: whoever runs it evaluates
//     the filter on each record, so a mistake in here can lose rows but never show one that must not be seen.
//   - Where it is Ordered, the records come in the order of Sort; else they must be sorted.
//   - Where it is not Distinct, a record that matches is reached once.
//
// # Order
//
// A list's order is total (see Order.Total): it ends with the id, whose direction is that of the last field before it;
// without a sort it is -id, the newest first, since ids are UUIDv7 where the client gives none. So a list's pages fit
// together whatever plan each of them is run by, and an index over the fields of a sort gives its order.
//
// # Choice
//
// By rule, without statistics. The records themselves, by id, count as a unique index over id. From the best:
//
//  1. all fields of a unique index are bound to single values;
//  2. more leading fields are bound to single values (==, in, an element of an array);
//  3. the index gives the order, and the next field is bound to a range;
//  4. it gives the order;
//  5. the next field is bound to a range;
//  6. the records themselves, the index named first.
//
// Between ways with the same leading fields bound, 3 to 6 decide. Where the rows are counted, all of them are read anyway,
// so 5 goes before 4. When 4 wins although there is an index for 5, that second plan is in Plan.Narrow: a caller who finds
// but few entries in its ranges does better to sort those.
//
// An index with a condition is used only where the filter implies it (see implies).
package plan

import (
	"croft/internal/records/expr"
	"croft/internal/records/index"
)

// An Input is a query.
type Input struct {
	Filter  *expr.Expr // bound, with the read rule; nil: all records
	Sort    Order
	Indexes []*index.Index // those that are complete
	Count   bool           // all matching records are counted
}

// A Plan is how to run a query.
type Plan struct {
	Index *index.Index // nil: the records themselves, by id

	// What to read: of an index the keys as package index makes them, of the records the ids. Ranges are ascending and have
	// nothing in common; with Reverse, the last is read first, from its end. Where IDs are there, just these records are
	// read, in this order, and there are no ranges. With neither, no record matches.
	Ranges  []Range
	IDs     []string
	Reverse bool

	Sort     Order // total
	Ordered  bool  // what is read is in the order of Sort
	Distinct bool  // a record may be met more than once, and counts once
	Exact    bool  // every record in the ranges matches: they can be counted without being read (but see Distinct)

	Narrow *Plan // see the package's comment, nil if there is none

	q *query
	w way
}

// A Range is a range of keys, from Lo to before Hi. A nil Hi has no end.
type Range struct{ Lo, Hi []byte }

// Empty reports that no record matches.
func (p *Plan) Empty() bool { return len(p.Ranges) == 0 && len(p.IDs) == 0 }

// Make plans a query.
func Make(in Input) *Plan {
	q := newQuery(in.Filter)
	q.in, q.sort = in, in.Sort.Total()
	best, narrow := q.choose()
	p := q.plan(best)
	if narrow != nil && !p.Empty() {
		p.Narrow = q.plan(*narrow)
	}
	return p
}

// plan makes the plan that goes a way.
func (q *query) plan(w way) *Plan {
	p := &Plan{Index: w.ix, Sort: q.sort, Ordered: w.ordered, Reverse: w.reverse, q: q, w: w}
	q.setRanges(p)
	return p
}
