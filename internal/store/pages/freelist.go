package pages

import "fmt"

// freelist reads the list of free pages, and compares it with what the tree reaches. Of faults of one kind it tells the first, and
// how many there are.
func (w *walk) freelist(id uint64) error {
	told := func(err error, format string, args ...any) error {
		return w.fault(Fault{Page: id, What: "the list of free pages: " + fmt.Sprintf(format, args...), Err: err})
	}
	if id < 2 || id >= w.limit {
		return told(nil, "its page is not in the file")
	}
	if w.reached.used.has(id) {
		return told(nil, "its page is one of the tree's")
	}
	w.reached.used.set(id)
	ps := uint64(w.f.pageSize)
	offset := int64(id * ps)
	h := make([]byte, headerSize+8)
	if err := w.f.read(h, offset); err != nil {
		return told(err, "it can't be read")
	}
	if native.Uint16(h[8:]) != flagFreelist {
		return told(nil, "its page is of another kind")
	}
	if got := native.Uint64(h); got != id {
		return told(nil, "its page says that it is page %d", got)
	}
	overflow := uint64(native.Uint32(h[12:]))
	if overflow >= w.limit-id {
		return told(nil, "it continues behind the end of the file")
	}
	for i := id + 1; i <= id+overflow; i++ {
		if w.reached.used.has(i) {
			return told(nil, "it continues in a page of the tree's")
		}
	}
	for i := id + 1; i <= id+overflow; i++ {
		w.reached.used.set(i)
		w.reached.inner.set(i)
	}
	w.seen += overflow + 1
	count, begin := uint64(native.Uint16(h[10:])), uint64(headerSize)
	if count == 0xFFFF { // then the number stands in front
		count, begin = native.Uint64(h[headerSize:]), headerSize+8
	}
	if count > ((overflow+1)*ps-begin)/8 {
		return told(nil, "it is longer than its pages")
	}
	free := newBitmap(w.limit)
	var disorder, outside, reached int
	last := uint64(0)
	b := make([]byte, 64<<10)
	for at := uint64(0); at < count; {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		part := b[:min(uint64(len(b)), (count-at)*8)]
		if err := w.f.read(part, offset+int64(begin+at*8)); err != nil {
			return told(err, "it can't be read")
		}
		at += uint64(len(part)) / 8
		for ; len(part) > 0; part = part[8:] {
			switch id := native.Uint64(part); {
			case id < 2 || id >= w.limit:
				outside++
			case id <= last:
				disorder++
			case w.reached.used.has(id):
				reached++
			default:
				free.set(id)
				last = id
			}
		}
	}
	if outside > 0 {
		if err := told(nil, "%d pages of it are not in the file", outside); err != nil {
			return err
		}
	}
	if disorder > 0 {
		if err := told(nil, "%d pages of it are out of order, or twice in it", disorder); err != nil {
			return err
		}
	}
	if reached > 0 {
		if err := told(nil, "%d pages of it are in use: the next write would destroy what is in them", reached); err != nil {
			return err
		}
	}
	w.reached.free = free
	if w.torn {
		return nil // what is out of reach uses pages too
	}
	var leaked, first uint64
	for i := uint64(2); i < w.limit; i++ {
		if !w.reached.used.has(i) && !free.has(i) {
			if leaked == 0 {
				first = i
			}
			leaked++
		}
	}
	if leaked == 0 {
		return nil
	}
	what := fmt.Sprintf("%d pages from this one on are neither used nor in the list of free pages: their room is lost", leaked)
	return w.fault(Fault{Page: first, What: what, Minor: true})
}
