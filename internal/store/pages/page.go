package pages

// page is a page in memory, with the pages it continues in.
type page struct {
	b     []byte
	flags uint16
	count int
}

// fits reports whether the table of the elements lies within the page.
func (p page) fits() bool { return headerSize+p.count*elementSize <= len(p.b) }

// element is what the table says of an element: where its entry in the table stands, how far behind that its key is, and the lengths of its
// key and its value.
func (p page) element(i int) (at int, pos, key, value uint32) {
	at = headerSize + i*elementSize
	e := p.b[at : at+elementSize]
	if p.flags == flagBranch {
		return at, native.Uint32(e), native.Uint32(e[4:]), 0
	}
	return at, native.Uint32(e[4:]), native.Uint32(e[8:]), native.Uint32(e[12:])
}

// span is where an element's key and value lie.
type span struct{ key, value, end int }

// maxKey is bbolt's.
const maxKey = 32768

// span returns where an element lies, and whether that is within the page and behind the table.
func (p page) span(i int) (s span, ok bool) {
	at, pos, ksize, vsize := p.element(i)
	if p.flags != flagBranch && native.Uint32(p.b[at:])&^flagBucket != 0 {
		return span{}, false
	}
	// In 64 bits: their sum may be too large for an int of 32.
	end := uint64(at) + uint64(pos) + uint64(ksize) + uint64(vsize)
	if ksize == 0 || ksize > maxKey || end > uint64(len(p.b)) {
		return span{}, false
	}
	s.key = at + int(pos)
	s.value = s.key + int(ksize)
	s.end = int(end)
	return s, s.key >= headerSize+p.count*elementSize
}

// exact reports whether all elements lie as bbolt writes them, one behind another without a gap, and where the last one of those
// that lie within the page ends.
func (p page) exact() (end int, exact bool) {
	next := headerSize + p.count*elementSize
	end, exact = next, true
	for i := range p.count {
		s, ok := p.span(i)
		if !ok || s.key != next {
			exact = false
		}
		if ok {
			end = max(end, s.end)
			next = s.end
		}
	}
	return end, exact
}

// extent is where the last element ends by what the table says, be it behind what is in memory, and whether the table makes sense.
func (p page) extent() (end uint64, ok bool) {
	if p.count == 0 || !p.fits() {
		return 0, false
	}
	end = uint64(headerSize + p.count*elementSize)
	for i := range p.count {
		at, pos, key, value := p.element(i)
		if uint64(at)+uint64(pos) != end {
			return 0, false
		}
		end += uint64(key) + uint64(value)
	}
	return end, true
}

// overflow is the number of pages that a page continues in, before limit: as its header says, or its elements when that is damaged.
func (f *File) overflow(p page, id, limit uint64) uint64 {
	says := uint64(native.Uint32(p.b[12:]))
	end, ok := p.extent()
	if !ok {
		return says
	}
	needs := (end - 1) / uint64(f.pageSize)
	if may := limit - id; needs >= may || needs < says && says < may {
		return says
	}
	return needs
}

func (p page) isExact() bool {
	_, exact := p.exact()
	return exact
}

func (p page) isBucket(i int) bool {
	return native.Uint32(p.b[headerSize+i*elementSize:])&flagBucket != 0
}

// child is the page that a branch's element leads to.
func (p page) child(i int) uint64 {
	return native.Uint64(p.b[headerSize+i*elementSize+8:])
}

// separators returns the keys of a branch. One that is damaged or breaks the order is nil: of two that are the wrong way round,
// that one which the key behind them contradicts too.
func (p page) separators(keys [][]byte, lo, hi []byte) (_ [][]byte, sound bool) {
	sound = true
	last := -1 // the index of the last good one
	for i := range p.count {
		s, ok := p.span(i)
		if !ok {
			keys, sound = append(keys, nil), false
			continue
		}
		k := p.b[s.key:s.value:s.value]
		if !within(k, lo, hi) {
			keys, sound = append(keys, nil), false
			continue
		}
		if last >= 0 && !less(keys[last], k) {
			sound = false
			if next, ok := p.after(i, hi); ok && less(keys[last], next) {
				keys = append(keys, nil)
				continue
			}
			keys[last] = nil
			for last--; last >= 0 && (keys[last] == nil || !less(keys[last], k)); last-- {
				keys[last] = nil
			}
		}
		keys = append(keys, k)
		last = i
	}
	return keys, sound
}

// after is the key of the element behind i.
func (p page) after(i int, hi []byte) ([]byte, bool) {
	if i+1 >= p.count {
		return nil, false
	}
	s, ok := p.span(i + 1)
	if !ok {
		return nil, false
	}
	k := p.b[s.key:s.value]
	return k, hi == nil || less(k, hi)
}
