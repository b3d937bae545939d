package plan

import (
	"bytes"
	"slices"

	"croft/internal/records/index"
)

// A cut is a place between ordered values (see index.AppendValue, ascending): just before all values that begin with
// b, or just after all of them.
type cut struct {
	b     []byte
	after bool
}

// compare orders cuts: -1, 0, 1.
func (c cut) compare(d cut) int {
	n := min(len(c.b), len(d.b))
	if order := bytes.Compare(c.b[:n], d.b[:n]); order != 0 {
		return order
	}
	switch {
	case len(c.b) < len(d.b):
		return c.side()
	case len(c.b) > len(d.b):
		return -d.side()
	}
	return (c.side() - d.side()) / 2
}

func (c cut) side() int {
	if c.after {
		return 1
	}
	return -1
}

// A span is the values from lo to hi. It is never empty.
type span struct{ lo, hi cut }

// point reports whether there is just one value in s.
func (s span) point() bool {
	return !s.lo.after && s.hi.after && bytes.Equal(s.lo.b, s.hi.b) && index.Whole(s.lo.b)
}

// bracketed reports whether the values in s are of one type, as those are that an order (<, >=) can hold for.
func (s span) bracketed() bool {
	return len(s.lo.b) > 0 && len(s.hi.b) > 0 && bracket(s.lo.b[0]) == bracket(s.hi.b[0]) && s.lo.b[0] != index.Missing
}

func bracket(t index.Tag) index.Tag {
	if t == index.True {
		return index.False
	}
	return t
}

// A set is a set of values: spans in ascending order, with something between any two.
type set []span

// single is the one value of the set, if it has just one.
func (s set) single() (value []byte, ok bool) {
	if len(s) != 1 || !s[0].point() {
		return nil, false
	}
	return s[0].lo.b, true
}

func (s set) points() bool {
	for i := range s {
		if !s[i].point() {
			return false
		}
	}
	return true
}

func (s set) bracketed() bool {
	for i := range s {
		if !s[i].bracketed() {
			return false
		}
	}
	return true
}

// within reports whether all of s is in t.
func (s set) within(t set) bool {
	for _, a := range s {
		if !slices.ContainsFunc(t, func(b span) bool { return b.lo.compare(a.lo) <= 0 && a.hi.compare(b.hi) <= 0 }) {
			return false
		}
	}
	return true
}

// intersect is what is in both s and t. The result is in the query's memory.
func (q *query) intersect(s, t set) set {
	start := len(q.spans)
	for i, j := 0, 0; i < len(s) && j < len(t); {
		lo, hi := s[i].lo, s[i].hi
		if t[j].lo.compare(lo) > 0 {
			lo = t[j].lo
		}
		if t[j].hi.compare(hi) < 0 {
			hi = t[j].hi
		}
		if lo.compare(hi) < 0 {
			q.spans = append(q.spans, span{lo, hi})
		}
		if s[i].hi.compare(t[j].hi) < 0 {
			i++
		} else {
			j++
		}
	}
	return q.spans[start:len(q.spans):len(q.spans)]
}

// union is what is in s or in t. The result is in the query's memory.
func (q *query) union(s, t set) set {
	start := len(q.spans)
	q.spans = append(append(q.spans, s...), t...)
	return q.normal(start)
}

// normal sorts the query's spans from start on and joins those that touch.
func (q *query) normal(start int) set {
	s := q.spans[start:]
	slices.SortFunc(s, func(a, b span) int { return a.lo.compare(b.lo) })
	n := 0
	for _, sp := range s {
		switch {
		case n == 0 || s[n-1].hi.compare(sp.lo) < 0:
			s[n] = sp
			n++
		case s[n-1].hi.compare(sp.hi) < 0:
			s[n-1].hi = sp.hi
		}
	}
	q.spans = q.spans[:start+n]
	return q.spans[start : start+n : start+n]
}

// one is the set of a single span.
func (q *query) one(lo, hi cut) set {
	q.spans = append(q.spans, span{lo, hi})
	return q.spans[len(q.spans)-1 : len(q.spans) : len(q.spans)]
}

// two is the set of two spans.
func (q *query) two(lo1, hi1, lo2, hi2 cut) set {
	q.spans = append(q.spans, span{lo1, hi1}, span{lo2, hi2})
	return q.spans[len(q.spans)-2 : len(q.spans) : len(q.spans)]
}
