package expr

import "bytes"

// An iterator goes through a list's elements or an object's names.
type iterator struct {
	of *Value
	at int // the number of elements gone through, or bytes of JSON
}

// next sets v to the next element, and reports false where there is none or the budget is used up.
func (it *iterator) next(p *Program, v *Value) bool {
	if it.of.b == nil {
		if it.at >= len(it.of.list) {
			return false
		}
		*v = it.of.list[it.at]
		it.at++
		return true
	}
	raw, ok := it.nextJSON(p)
	if ok {
		v.decode(raw, &p.scratch)
	}
	return ok
}

// nextJSON is next for a list from JSON, and yields the JSON.
func (it *iterator) nextJSON(p *Program) (raw []byte, ok bool) {
	start := max(it.at, 1)
	raw, it.at = following(it.of.b, start)
	return raw, p.charge(1+(it.at-start)>>4) && raw != nil
}

// contains reports whether list has an element equal to v.
func (p *Program) contains(list, v *Value) bool {
	it := iterator{of: list}
	if list.b == nil {
		for i := range list.list {
			if !p.charge(1) || p.equal(v, &list.list[i]) {
				return p.steps >= 0
			}
		}
		return false
	}
	for raw, ok := it.nextJSON(p); ok; raw, ok = it.nextJSON(p) {
		if !p.charge(1) || p.equalJSON(v, raw) {
			return p.steps >= 0
		}
	}
	return false
}

// equalJSON reports whether raw denotes v.
func (p *Program) equalJSON(v *Value, raw []byte) bool {
	if v.typ == TypeString {
		if len(raw) < 2 || raw[0] != '"' {
			return false
		}
		text := raw[1 : len(raw)-1]
		return bytes.Equal(text, v.b) || len(text) > len(v.b) && escapedIs(raw, borrow(v.b))
	}
	var other Value
	other.decode(raw, &p.scratch)
	return p.equal(v, &other)
}

// equal is CEL's ==: false between types, but for numbers. Where the budget is used up it yields anything.
func (p *Program) equal(a, b *Value) bool {
	switch {
	case a.Number() && b.Number():
		order, ok := compare(a, b)
		return ok && order == 0
	case a.typ != b.typ:
		return false
	}
	switch a.typ {
	case TypeNull:
		return true
	case TypeString:
		if len(a.b) != len(b.b) {
			return false
		}
		p.charge(comparing(a.b))
		return bytes.Equal(a.b, b.b)
	case TypeList:
		return p.equalLists(a, b)
	case TypeMap:
		return p.equalObjects(a.b, b.b)
	}
	order, _ := compare(a, b)
	return order == 0
}

func (p *Program) equalLists(a, b *Value) bool {
	inA, inB := iterator{of: a}, iterator{of: b}
	var x, y Value
	for {
		hasA, hasB := inA.next(p, &x), inB.next(p, &y)
		if !hasA || !hasB {
			return hasA == hasB
		}
		if !p.charge(1) || !p.equal(&x, &y) {
			return false
		}
	}
}

func (p *Program) equalObjects(a, b []byte) bool {
	if !p.charge(walking(a)+walking(b)) || count(a) != count(b) {
		return false
	}
	for i := 1; i < len(a) && a[i] == '"'; {
		nameEnd := skipString(a, i)
		end := skip(a, nameEnd+1)
		if end <= nameEnd || !p.charge(1+walking(b)) {
			return false
		}
		other := member(b, borrow(unquote(a[i:nameEnd], &p.scratch)))
		if other == nil {
			return false
		}
		var x, y Value
		x.decode(a[nameEnd+1:end], &p.scratch)
		y.decode(other, &p.scratch)
		if !p.equal(&x, &y) {
			return false
		}
		i = end + 1
	}
	return true
}
