package plan

import (
	"bytes"
	"slices"

	"croft/internal/records/index"
)

// setRanges fills in what the plan reads, and what follows from that.
func (q *query) setRanges(p *Plan) {
	w := &p.w
	p.Exact = true
	byID := w.ix == nil && len(q.boxes) > 0 && w.equal == 1
	var r reach
	for i := range q.boxes {
		b := &q.boxes[i]
		r = q.reach(w, b)
		bound := r.equal
		if r.tail != nil && !r.hull {
			bound++
		}
		p.Exact = p.Exact && b.exact && bound == len(b.constraints)
		if byID {
			p.IDs = appendIDs(p.IDs, b.find(value, idPath).set)
			continue
		}
		key := make([]byte, 0, 128)
		if w.ix != nil && r.elements >= 0 {
			key = append(key, index.ElementEntry(r.elements))
			p.Distinct = p.Distinct || r.ranges > 1 || r.equal <= r.elements
		} else if w.ix != nil {
			key = append(key, index.ValueEntry)
		}
		p.Ranges = q.appendRanges(p.Ranges, w, b, &r, key, 0)
	}
	switch {
	case byID:
		slices.Sort(p.IDs)
		p.IDs = slices.Compact(p.IDs)
		if p.Reverse {
			slices.Reverse(p.IDs)
		}
	case len(q.boxes) > 1:
		p.Ranges = joined(p.Ranges)
		p.Distinct = p.Distinct || len(p.Ranges) > 1 && (w.mixed || w.elements >= 0)
	}
}

func appendIDs(ids []string, points set) []string {
	for _, sp := range points {
		if sp.lo.b[0] == index.String {
			ids = append(ids, string(plainID(sp.lo)))
		}
	}
	return ids
}

// appendRanges appends the ranges of a box, given the key up to the i-th field.
func (q *query) appendRanges(ranges []Range, w *way, b *box, r *reach, key []byte, i int) []Range {
	if i == r.equal && r.tail == nil {
		return w.append(ranges, key, span{beforeAll, afterAll}, false)
	}
	desc := w.fields[i].Desc
	if i == r.equal {
		s := r.tail.set
		if r.hull {
			return w.append(ranges, key, span{s[0].lo, s[len(s)-1].hi}, desc)
		}
		for n := range s {
			if desc {
				n = len(s) - 1 - n
			}
			ranges = w.append(ranges, key, s[n], desc)
		}
		return ranges
	}
	s := r.constraint(b, w.fields, i).set
	for n := range s {
		if desc {
			n = len(s) - 1 - n
		}
		ranges = q.appendRanges(ranges, w, b, r, appendTurned(key, s[n].lo.b, desc), i+1)
	}
	return ranges
}

// append appends the range of the keys that begin with key and have a value in the span next.
func (w *way) append(ranges []Range, key []byte, s span, desc bool) []Range {
	if w.ix == nil {
		lo, hi := plainID(s.lo), plainID(s.hi)
		if s.lo.above() || !s.hi.above() && bytes.Compare(lo, hi) >= 0 {
			return ranges
		}
		return append(ranges, Range{lo, hi})
	}
	if desc { // what is just before a value is just after it, read the other way
		s = span{cut{s.hi.b, !s.hi.after}, cut{s.lo.b, !s.lo.after}}
	}
	room := make([]byte, 0, 2*len(key)+len(s.lo.b)+len(s.hi.b))
	lo := place(appendTurned(append(room, key...), s.lo.b, desc), s.lo.after)
	hi := place(appendTurned(append(lo[len(lo):], key...), s.hi.b, desc), s.hi.after)
	return append(ranges, Range{lo, hi})
}

// place is the first key behind a cut, given the keys' beginning there.
func place(key []byte, after bool) []byte {
	if after {
		return index.After(key)
	}
	return key
}

// appendTurned appends an ordered value, its bytes inverted if it is descending.
func appendTurned(key, b []byte, desc bool) []byte {
	start := len(key)
	key = append(key, b...)
	if desc {
		for i := start; i < len(key); i++ {
			key[i] = ^key[i]
		}
	}
	return key
}

// above reports whether no string is behind the cut.
func (c cut) above() bool {
	return c.compare(cut{[]byte{index.String}, true}) >= 0
}

// plainID is the first id behind a cut, as it stands in the keys of records: the text itself. Behind the cut may be none
// (above): nil then.
func plainID(c cut) []byte {
	if c.above() {
		return nil
	}
	if c.compare(cut{[]byte{index.String}, false}) <= 0 {
		return []byte{}
	}
	id := bytes.ReplaceAll(c.b[1:], []byte{0x00, 0xff}, []byte{0x00})
	switch {
	case !index.Whole(c.b):
		return place(id, c.after)
	case c.after:
		return id[:len(id)-1] // of the two zero bytes at the end, one is the next id's last
	}
	return id[:len(id)-2]
}

// joined sorts ranges and joins those that touch.
func joined(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int { return bytes.Compare(a.Lo, b.Lo) })
	n := 0
	for _, r := range ranges {
		switch last := n - 1; {
		case n == 0 || ranges[last].Hi != nil && bytes.Compare(ranges[last].Hi, r.Lo) < 0:
			ranges[n] = r
			n++
		case ranges[last].Hi != nil && (r.Hi == nil || bytes.Compare(ranges[last].Hi, r.Hi) < 0):
			ranges[last].Hi = r.Hi
		}
	}
	return ranges[:n]
}

// After has an ordered plan go on behind a row: the values are the row's, of the fields of Sort but the id, in
// canonical JSON, nil for missing ones. The row need not be there any more. Plans that are not ordered stay as they are: who
// sorts their rows leaves out those up to the row (see Order.AppendKey).
func (p *Plan) After(values [][]byte, id string) {
	if p.Narrow != nil {
		p.Narrow.After(values, id)
	}
	switch {
	case !p.Ordered:
	case p.IDs != nil:
		p.IDs = slices.DeleteFunc(p.IDs, func(other string) bool {
			return other == id || other < id != p.Reverse
		})
	default:
		from, behind := p.key(values, id)
		p.clip(from, behind)
	}
}

// key is the row's key in the plan's ranges, or what it alone begins with, and the first key behind it.
func (p *Plan) key(values [][]byte, id string) (from, behind []byte) {
	if p.Index == nil {
		return []byte(id), append([]byte(id), 0x00)
	}
	key := []byte{index.ValueEntry}
	if p.w.elements >= 0 {
		key[0] = index.ElementEntry(p.w.elements)
	}
	for i, f := range p.w.fields {
		if isID(f.Path) { // what follows decides nothing
			key = appendTurned(key, index.AppendString(nil, id), f.Desc)
			return key, index.After(bytes.Clone(key))
		}
		of := value
		if i == p.w.elements {
			of = element
		}
		if v, is := p.q.fixed(of, f.Path); is {
			key = appendTurned(key, v, f.Desc)
		} else {
			key = index.AppendValue(key, values[p.Sort.at(f.Path)], f.Desc)
		}
	}
	key = index.AppendID(key, id, p.w.idDesc)
	return key, append(bytes.Clone(key), 0x00)
}

// clip leaves of the ranges what comes, in the direction of reading, behind a row.
func (p *Plan) clip(from, behind []byte) {
	kept := p.Ranges[:0]
	for _, r := range p.Ranges {
		switch {
		case p.Reverse && bytes.Compare(r.Lo, from) >= 0:
			continue
		case p.Reverse && (r.Hi == nil || bytes.Compare(r.Hi, from) > 0):
			r.Hi = from
		case !p.Reverse && r.Hi != nil && bytes.Compare(r.Hi, behind) <= 0:
			continue
		case !p.Reverse && bytes.Compare(r.Lo, behind) < 0:
			r.Lo = behind
		}
		kept = append(kept, r)
	}
	p.Ranges = kept
}
