package pages

import (
	"context"
	"slices"
)

// Leaf is an entry of a page that looks like a leaf.
type Leaf struct {
	Page       uint64
	Key, Value []byte // valid during the call
	IsBucket   bool
}

// Leaves calls entry for each entry of each page that looks like a leaf, whether a tree leads to it or not: old pages hold what
// once was, and nothing says of what time they are. entry says whether it is whole. Pages for which pass is true are not looked at.
// A page that can't be read is passed over.
func (f *File) Leaves(ctx context.Context, pass func(id uint64) bool, entry func(Leaf) (bool, error)) error {
	ps := f.pageSize
	total := uint64(f.size) / uint64(ps)
	each := uint64(max(1, window/ps))
	s := &leaves{f: f, entry: entry, budget: 4 * f.size}
	b := make([]byte, int(min(each, total))*ps)
	for id := uint64(2); id < total; id += each {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(each, total-id)
		whole := f.read(b[:int(n)*ps], int64(id)*int64(ps)) == nil
		for i := range n {
			if id+i < s.next || pass != nil && pass(id+i) {
				continue
			}
			first := b[int(i)*ps:][:ps]
			if !whole && f.read(first, int64(id+i)*int64(ps)) != nil {
				continue
			}
			if err := s.page(id+i, first); err != nil {
				return err
			}
		}
	}
	return nil
}

type leaves struct {
	f      *File
	entry  func(Leaf) (bool, error)
	next   uint64 // pages before this one are parts of one that was seen
	budget int64  // bytes of large pages that may still be read: no file has more than its own, if it is not made to keep us busy
	large  []byte
}

// page goes through a page that knows its own number, and is no page of another kind.
func (s *leaves) page(id uint64, first []byte) error {
	flags := native.Uint16(first[8:])
	if native.Uint64(first) != id || flags == flagMeta || flags != flagLeaf && isKind(flags) {
		return nil
	}
	ps := s.f.pageSize
	p := page{b: first, flags: flagLeaf, count: int(native.Uint16(first[10:]))}
	overflow := s.f.overflow(p, id, uint64(s.f.size)/uint64(ps))
	if overflow > 0 && overflow < maxLarge/uint64(ps) {
		size := int64(overflow+1) * int64(ps)
		offset := int64(id) * int64(ps)
		if offset+size <= s.f.size && size <= s.budget {
			s.budget -= size
			s.large = slices.Grow(s.large[:0], int(size))[:size]
			if s.f.read(s.large, offset) == nil {
				p.b = s.large
			}
		}
	}
	counts := []int{p.count}
	if p.count == 0 || !p.fits() || !p.isExact() {
		// The number of elements may be what is damaged. The first one tells where the table ends, if it is whole.
		p.count = 1
		if at, ok := p.span(0); ok {
			counts = append(counts, (at.key-headerSize)/elementSize)
		}
	}
	for _, p.count = range counts {
		if !p.fits() {
			continue
		}
		if err := s.entries(id, p); err != nil {
			return err
		}
	}
	return nil
}

func (s *leaves) entries(id uint64, p page) error {
	ps := s.f.pageSize
	for i := range p.count {
		at, ok := p.span(i)
		if !ok {
			continue
		}
		whole, err := s.entry(Leaf{
			Page: id, Key: p.b[at.key:at.value:at.value], Value: p.b[at.value:at.end:at.end], IsBucket: p.isBucket(i),
		})
		if err != nil {
			return err
		}
		if whole && len(p.b) > ps {
			// Its other parts are what was stored, which may be a file of this kind: they must not be taken for pages.
			s.next = max(s.next, id+uint64(at.end-1)/uint64(ps)+1)
		}
	}
	return nil
}
