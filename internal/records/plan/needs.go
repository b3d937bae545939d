package plan

import (
	"strings"

	"croft/internal/records/index"
)

// Needs is the definition of an index that would serve a query which has none: its fields, those that descend with a
// "-" in front. It is nil where no further index would change how the query is run. It goes by the filter, so that of
// a filter with the read rule gives away the rule's fields.
func Needs(in Input) []string {
	q := newQuery(in.Filter)
	q.in, q.sort = in, in.Sort.Total()
	var equal, ranged Order
	if len(q.boxes) > 0 {
		for _, c := range q.boxes[0].constraints {
			if isID(c.path) || equal.has(c.path) || ranged.has(c.path) {
				continue
			}
			if _, is := q.fixed(c.of, c.path); is {
				equal = append(equal, index.Field{Path: c.path})
			} else if q.everywhere(&c) {
				ranged = append(ranged, index.Field{Path: c.path})
			}
		}
	}
	var sorted Order
	for _, f := range q.sort {
		if !isID(f.Path) && !equal.has(f.Path) {
			sorted = append(sorted, f)
		} else if isID(f.Path) && len(sorted) > 0 && sorted[len(sorted)-1].Desc != f.Desc {
			sorted = append(sorted, f)
		}
	}
	for _, fields := range []Order{
		join(equal, sorted), join(equal, ranged[:min(1, len(ranged))]), join(equal, sorted, ranged), join(equal, ranged),
	} {
		if len(fields) > 0 && len(fields) <= index.MaxFields && q.helps(fields) {
			return names(fields)
		}
	}
	return nil
}

// everywhere reports whether all boxes bound what c is about to values of a type.
func (q *query) everywhere(c *constraint) bool {
	for i := range q.boxes {
		have := q.boxes[i].find(c.of, c.path)
		if c.of == element {
			have = q.boxes[i].element(c.path)
		}
		if have == nil || !have.set.bracketed() {
			return false
		}
	}
	return true
}

// helps reports whether an index over these fields would be used for the query.
func (q *query) helps(fields Order) (helps bool) {
	best, narrow := q.choose()
	q.ways(&index.Index{Fields: fields}, func(w way) {
		helps = helps || q.score(&w) > q.score(&best) || narrow == nil && w.narrows(&best)
	})
	return helps
}

// join puts orders behind each other; fields that are there already are left out.
func join(orders ...Order) Order {
	var all Order
	for _, o := range orders {
		for _, f := range o {
			if !all.has(f.Path) {
				all = append(all, f)
			}
		}
	}
	return all
}

// names writes fields as a definition has them; nil if one has a name that can't be written so.
func names(fields Order) []string {
	var all []string
	for _, f := range fields {
		name := strings.Join(f.Path, ".")
		if strings.Count(name, ".") != len(f.Path)-1 || strings.HasPrefix(name, "-") || name == "" {
			return nil
		}
		if f.Desc {
			name = "-" + name
		}
		all = append(all, name)
	}
	return all
}
