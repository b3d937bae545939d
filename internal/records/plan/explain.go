package plan

import (
	"encoding/json"
	"slices"
	"strings"

	"croft/internal/records/expr"
)

// An Explanation is a plan for people: what explain=true answers. It quotes the filter, read rule included, so it is for those
// who may see the rule.
type Explanation struct {
	Index    *string  `json:"index"`              // null: the records themselves, by id
	Bounds   []string `json:"bounds"`             // the parts of the filter that bound what is read
	Ranges   int      `json:"ranges"`             // of keys, or single records
	Elements bool     `json:"elements,omitempty"` // the index is read by the elements of arrays
	Order    string   `json:"order"`              // "index", "key" (the id) or "memory"
	Reverse  bool     `json:"reverse,omitempty"`
	Filter   string   `json:"filter,omitempty"` // what the bounds leave to test
	Empty    bool     `json:"empty,omitempty"`  // nothing can match
	// The index of a plan that is better if it reads few records, which is found out when the query runs.
	Narrow *Explanation `json:"narrow,omitempty"`
}

// Explain says what the plan does.
func (p *Plan) Explain() Explanation {
	e := Explanation{Bounds: []string{}, Ranges: len(p.Ranges) + len(p.IDs), Reverse: p.Reverse, Order: "memory", Empty: p.Empty()}
	switch {
	case p.Ordered && p.Index != nil:
		e.Order = "index"
	case p.Ordered:
		e.Order = "key"
	}
	if p.Index != nil {
		e.Index = &p.Index.Name
	}
	var rest []*expr.Node
	if p.q.in.Filter != nil {
		for _, n := range conjuncts(p.q.in.Filter.Root) {
			used, all := p.uses(n)
			if used {
				e.Bounds = append(e.Bounds, text(n))
			}
			if !all {
				rest = append(rest, n)
			}
		}
	}
	if len(rest) == 1 {
		e.Filter = text(rest[0])
	} else if len(rest) > 1 {
		e.Filter = text(&expr.Node{Kind: expr.And, Args: rest})
	}
	e.Elements = p.w.mixed || p.w.elements >= 0
	if p.Narrow != nil {
		narrow := p.Narrow.Explain()
		e.Narrow = &narrow
	}
	return e
}

// String is the explanation as JSON.
func (p *Plan) String() string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p.Explain()); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func text(n *expr.Node) string { return (&expr.Expr{Root: n}).String() }

// uses reports whether the plan's ranges are bounded by a conjunct of the filter, and whether that is all it says.
func (p *Plan) uses(n *expr.Node) (used, all bool) {
	own := newQuery(&expr.Expr{Root: n})
	used, all = len(own.boxes) > 0, true
	for i := range own.boxes {
		any := false
		for _, c := range own.boxes[i].constraints {
			bounded, exactly := p.bounds(&c)
			any, all = any || bounded, all && exactly
		}
		used, all = used && any, all && own.boxes[i].exact
	}
	return used, all && used
}

// bounds reports whether a constraint like c bounds the ranges of every box, and whether they hold nothing outside it.
func (p *Plan) bounds(c *constraint) (bounded, exactly bool) {
	bounded, exactly = len(p.q.boxes) > 0, true
	for i := range p.q.boxes {
		b := &p.q.boxes[i]
		r := p.q.reach(&p.w, b)
		found := false
		for j := range p.w.fields[:r.equal] {
			found = found || r.constraint(b, p.w.fields, j).is(c)
		}
		if !found && r.tail != nil && r.tail.is(c) {
			found, exactly = true, exactly && !r.hull
		}
		bounded = bounded && found
	}
	return bounded, bounded && exactly
}

// is reports whether c is about what d is about, and says no less than d.
func (c *constraint) is(d *constraint) bool {
	return c.of == d.of && slices.Equal(c.path, d.path) && (c.of == value || c.set.within(d.set))
}
