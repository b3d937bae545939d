package pages

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Bucket is a bucket that a walk goes through.
type Bucket struct {
	Name     []byte // nil for the root, which holds the others
	Sequence uint64
	Parent   *Bucket

	last []byte // the last whole key
}

// Fault is something wrong in the file.
type Fault struct {
	Page uint64
	What string // without keys
	Err  error  // what reading the page said, if that is it
	// Lost says that entries of the bucket are out of reach, at most those from From to before To (nil: as far as there are any),
	// which are valid during the call.
	Lost     bool
	Bucket   *Bucket
	From, To []byte
	// Doubtful says that what the page has between From and To is told all the same: any of it may be missing, or of another time.
	Doubtful bool
	// Minor says that nothing is lost and nothing gets worse: pages that are used by nobody.
	Minor bool
}

// Visitor is what a walk calls. An error of a function's ends the walk. What they are given is valid during the call.
type Visitor struct {
	// Enter is told of each bucket but the root, before its entries, and says whether to go into it; nil goes into all.
	Enter func(*Bucket) (bool, error)
	// Entry is told of each entry, in ascending order of the keys within a bucket, and says whether it is whole: one that is not
	// doesn't count for the order.
	Entry func(b *Bucket, key, value []byte) (bool, error)
	// Fault is told of each fault, between the entries where it is.
	Fault func(Fault) error
	// Want says whether a part of a bucket is to be gone into; nil goes everywhere.
	Want func(b *Bucket, lo, hi []byte) bool
	// Progress is told how many pages were seen.
	Progress func(pages uint64)
}

// Reached is what a walk found of the use of the file's pages.
type Reached struct {
	used  bitmap // by the tree and the list of free pages
	inner bitmap // of those, the ones in which another page continues
	free  bitmap // nil without a list of free pages
}

// Inner reports whether another page continues in a page, which so is no page of its own.
func (r *Reached) Inner(id uint64) bool { return r.inner.has(id) }

// Used reports whether the tree leads to a page.
func (r *Reached) Used(id uint64) bool { return r.used.has(id) }

// Free reports whether the list of free pages has a page.
func (r *Reached) Free(id uint64) bool { return r.free.has(id) }

// HasFreelist reports whether the commit wrote down which pages are free, and that could be read.
func (r *Reached) HasFreelist() bool { return r.free != nil }

const (
	// maxDepth is how many pages may stand one above another. A tree has that many levels when it has 4 billion pages, and only if each
	// branch has but two.
	maxDepth = 32
	// maxLarge is the largest page, with those it continues in: bbolt puts a value of any size into one. maxHeld bounds those that
	// are held at once, on different levels.
	maxLarge = 64 << 20
	maxHeld  = 2 * maxLarge
	// window is how many bytes of a branch's children are read ahead, and skip how many pages between two of them are read for
	// nothing rather than read in two calls.
	window = 1 << 20
	skip   = 3
)

// Walk goes through all that a commit reaches: the root, its buckets, their branches and leaves, and the list of free pages.
func (f *File) Walk(ctx context.Context, m Meta, v Visitor) (*Reached, error) {
	limit := f.limit(m)
	w := &walk{
		f: f, ctx: ctx, v: v, limit: limit,
		reached: &Reached{used: newBitmap(limit), inner: newBitmap(limit)},
	}
	root := &Bucket{}
	if cut := f.Cut(m); cut > 0 {
		what := fmt.Sprintf("the file was cut short: %d bytes of it are missing", cut)
		if err := w.fault(Fault{Page: limit, What: what, Bucket: root}); err != nil {
			return nil, err
		}
	}
	if err := w.tree(root, m.Root, nil, place{}, 0); err != nil {
		return nil, err
	}
	if m.Freelist != NoFreelist && v.Want == nil {
		if err := w.freelist(m.Freelist); err != nil {
			return nil, err
		}
	}
	w.progress(0)
	return w.reached, nil
}

type walk struct {
	f       *File
	ctx     context.Context
	v       Visitor
	limit   uint64
	reached *Reached
	levels  [maxDepth]level
	held    int
	seen    uint64
	torn    bool // something is out of reach
}

// level is the memory that a walk has for each level of the tree.
type level struct {
	ahead []byte // children of the page on this level
	large []byte // the page on this level, if it continues in others
	keys  [][]byte
	order []int
	at    []int // where in ahead a child stands, or -1
}

// place is where in the tree a page stands: its keys are from lo to before hi.
type place struct{ lo, hi []byte }

func less(a, b []byte) bool { return bytes.Compare(a, b) < 0 }

func within(k, lo, hi []byte) bool {
	return bytes.Compare(k, lo) >= 0 && (hi == nil || bytes.Compare(k, hi) < 0)
}

func (w *walk) fault(f Fault) error {
	w.torn = w.torn || f.Lost
	if w.v.Fault == nil {
		return nil
	}
	return w.v.Fault(f)
}

func (w *walk) lost(b *Bucket, id uint64, at place, err error, format string, args ...any) error {
	return w.fault(Fault{Page: id, What: fmt.Sprintf(format, args...), Err: err, Lost: true, Bucket: b, From: at.lo, To: at.hi})
}

// doubtful tells what is wrong with a page that is gone through all the same.
func (w *walk) doubtful(b *Bucket, id uint64, at place, err error, format string, args ...any) error {
	return w.fault(Fault{
		Page: id, What: fmt.Sprintf(format, args...), Err: err, Lost: true, Bucket: b, From: at.lo, To: at.hi, Doubtful: true,
	})
}

func (w *walk) progress(pages uint64) {
	w.seen += pages
	if w.v.Progress != nil {
		w.v.Progress(w.seen)
	}
}

// tree goes through a page and all below it. first is the page as it was read ahead, or nil.
func (w *walk) tree(b *Bucket, id uint64, first []byte, at place, depth int) error {
	if depth == maxDepth {
		return w.lost(b, id, at, nil, "the tree is deeper than a tree can be")
	}
	p, ok, err := w.load(b, id, first, at, depth)
	if err != nil || !ok {
		return err
	}
	if p.flags == flagBranch {
		err = w.branch(b, id, p, at, depth)
	} else {
		err = w.leaf(b, id, p, at, depth)
	}
	if l := &w.levels[depth]; len(l.large) > 0 {
		w.held -= len(l.large)
		if cap(l.large) > window {
			l.large = nil
		}
		l.large = l.large[:0]
	}
	return err
}

// load reads a page and what it continues in, tells what is wrong with its header and layout, and marks it as used.
func (w *walk) load(b *Bucket, id uint64, first []byte, at place, depth int) (p page, ok bool, err error) {
	if id < 2 || id >= w.limit {
		return p, false, w.lost(b, id, at, nil, "the tree leads to a page that is not in the file")
	}
	if w.reached.used.has(id) {
		return p, false, w.lost(b, id, at, nil, "the tree leads to it twice")
	}
	w.reached.used.set(id)
	ps := w.f.pageSize
	if first == nil {
		first = make([]byte, ps)
		if err := w.f.read(first, int64(id)*int64(ps)); err != nil {
			return p, false, w.lost(b, id, at, err, "it can't be read")
		}
	}
	p = page{b: first, flags: native.Uint16(first[8:]), count: int(native.Uint16(first[10:]))}
	overflow := uint64(native.Uint32(first[12:]))
	if p.flags != flagBranch && p.flags != flagLeaf {
		return p, false, w.lost(b, id, at, nil, "it is not a page of the tree")
	}
	number := native.Uint64(first)
	if number != id && b.Parent == nil {
		return p, false, w.lost(b, id, at, nil, "it says that it is page %d", number) // which is another commit's root
	}
	if number != id {
		if err := w.doubtful(b, id, at, nil, "it says that it is page %d", number); err != nil {
			return p, false, err
		}
	}
	if n := w.f.overflow(p, id, w.limit); n > 0 {
		if p.b, err = w.large(b, id, n, first, at, depth); err != nil {
			return p, false, err
		}
	}
	if !p.fits() {
		if err := w.doubtful(b, id, at, nil, "it has fewer elements than it says"); err != nil {
			return p, false, err
		}
		p.count = (len(p.b) - headerSize) / elementSize
	}
	end, exact := p.exact()
	needs := uint64((end - 1) / ps)
	if exact && needs == overflow {
		return p, true, w.claim(b, id, needs, number == id, at)
	}
	what := "its elements are damaged"
	if exact {
		what = "it says that it continues in other pages than it does"
	}
	if err := w.doubtful(b, id, at, nil, "%s", what); err != nil {
		return p, false, err
	}
	return p, true, w.claim(b, id, min(needs, overflow), false, at)
}

// large reads a page that continues in others. If it can't be read as a whole, it is the first part alone.
func (w *walk) large(b *Bucket, id, overflow uint64, first []byte, at place, depth int) ([]byte, error) {
	if overflow >= w.limit-id {
		return first, w.doubtful(b, id, at, nil, "it continues behind the end of the file")
	}
	size := (overflow + 1) * uint64(w.f.pageSize)
	if size > maxLarge || w.held+int(size) > maxHeld {
		return first, w.doubtful(b, id, at, nil, "it is larger than %d MiB", maxLarge>>20)
	}
	l := &w.levels[depth]
	l.large = slices.Grow(l.large[:0], int(size))[:size]
	if err := w.f.read(l.large, int64(id)*int64(w.f.pageSize)); err != nil {
		l.large = l.large[:0]
		return first, w.doubtful(b, id, at, err, "a page that it continues in can't be read")
	}
	w.held += len(l.large)
	return l.large, nil
}

// claim marks the pages that a page continues in. If it isn't sure that they are its own, others may still lead to them.
func (w *walk) claim(b *Bucket, id, overflow uint64, sure bool, at place) error {
	twice := false
	for i := id + 1; i <= id+overflow && i < w.limit; i++ {
		twice = twice || w.reached.used.has(i)
		w.reached.inner.set(i)
		if sure {
			w.reached.used.set(i)
		}
	}
	w.seen += overflow + 1
	if twice {
		return w.doubtful(b, id, at, nil, "it continues in a page that is another's")
	}
	return nil
}

func (w *walk) branch(b *Bucket, id uint64, p page, at place, depth int) error {
	if p.count == 0 {
		return w.lost(b, id, at, nil, "it is a branch that leads nowhere")
	}
	l := &w.levels[depth]
	keys, sound := p.separators(l.keys[:0], at.lo, at.hi)
	l.keys = keys
	if !sound {
		if err := w.lost(b, id, at, nil, "its keys are out of order, or not its own"); err != nil {
			return err
		}
	}
	foreign := native.Uint64(p.b) != id
	chunk := max(1, window/w.f.pageSize)
	for start := 0; start < p.count; start += chunk {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		end := min(start+chunk, p.count)
		if w.v.Want != nil && !w.v.Want(b, lower(keys, start, at), upper(keys, end-1, at)) {
			continue
		}
		w.readAhead(b, l, p, at, start, end)
		for i := start; i < end; i++ {
			in := place{lower(keys, i, at), upper(keys, i, at)}
			if foreign && keys[i] == nil || w.v.Want != nil && !w.v.Want(b, in.lo, in.hi) {
				continue // what a page of another place leads to is another's
			}
			var first []byte
			if o := l.at[i-start]; o >= 0 {
				first = l.ahead[o : o+w.f.pageSize : o+w.f.pageSize]
			}
			if err := w.tree(b, p.child(i), first, in, depth+1); err != nil {
				return err
			}
		}
		w.progress(0)
	}
	return nil
}

// lower is the first key that child i of a branch may have: that of the nearest good separator.
func lower(keys [][]byte, i int, at place) []byte {
	for ; i >= 0; i-- {
		if keys[i] != nil {
			return keys[i]
		}
	}
	return at.lo
}

// upper is the key before which those of child i end.
func upper(keys [][]byte, i int, at place) []byte {
	for i++; i < len(keys); i++ {
		if keys[i] != nil {
			return keys[i]
		}
	}
	return at.hi
}

// readAhead reads children of a branch in the order of the file, in as few calls as it can. What it can't read is left to be read
// by itself, which tells what is wrong.
func (w *walk) readAhead(b *Bucket, l *level, p page, at place, start, end int) {
	ps := w.f.pageSize
	l.order, l.at = l.order[:0], l.at[:0]
	for i := start; i < end; i++ {
		l.at = append(l.at, -1)
		if w.v.Want != nil && !w.v.Want(b, lower(l.keys, i, at), upper(l.keys, i, at)) {
			continue
		}
		if id := p.child(i); id >= 2 && id < w.limit && !w.reached.used.has(id) {
			l.order = append(l.order, i-start)
		}
	}
	child := func(i int) uint64 { return p.child(start + i) }
	slices.SortFunc(l.order, func(i, j int) int { return cmp.Compare(child(i), child(j)) })
	l.ahead = l.ahead[:0]
	for rest := l.order; len(rest) > 0; {
		first, n := child(rest[0]), 1
		for n < len(rest) && child(rest[n])-child(rest[n-1]) <= skip+1 {
			n++
		}
		run, from := rest[:n], len(l.ahead)
		rest = rest[n:]
		size := int(child(run[n-1])-first+1) * ps
		l.ahead = slices.Grow(l.ahead, size)[:from+size]
		if w.f.read(l.ahead[from:], int64(first)*int64(ps)) != nil {
			l.ahead = l.ahead[:from]
			continue
		}
		for _, i := range run {
			l.at[i] = from + int(child(i)-first)*ps
		}
	}
}

// read fills b.
func (f *File) read(b []byte, offset int64) error {
	n, err := f.r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (w *walk) leaf(b *Bucket, id uint64, p page, at place, depth int) error {
	if p.count == 0 && depth > 0 && (at.lo != nil || at.hi != nil) {
		return w.lost(b, id, at, nil, "it is a leaf without entries")
	}
	last := b.last
	for i := range p.count {
		s, ok := p.span(i)
		if !ok {
			if err := w.lost(b, id, at, nil, "an entry in it is damaged"); err != nil {
				return err
			}
			continue
		}
		k, v := p.b[s.key:s.value:s.value], p.b[s.value:s.end:s.end]
		if len(last) > 0 && !less(last, k) || !within(k, at.lo, at.hi) {
			if err := w.lost(b, id, at, nil, "a key in it is out of order"); err != nil {
				return err
			}
			continue
		}
		whole := true
		var err error
		if p.isBucket(i) {
			whole, err = w.bucket(b, id, k, v, depth)
		} else if w.v.Entry != nil {
			whole, err = w.v.Entry(b, k, v)
		}
		if err != nil {
			return err
		}
		if whole {
			last = k
		}
	}
	b.last = append(b.last[:0], last...)
	return nil
}

// bucket goes through a bucket, which stands in a leaf as an entry.
func (w *walk) bucket(parent *Bucket, id uint64, name, value []byte, depth int) (whole bool, err error) {
	self := place{name, append(bytes.Clone(name), 0)}
	if len(value) < bucketSize {
		return false, w.lost(parent, id, self, nil, "a bucket in it is damaged")
	}
	b := &Bucket{Name: name, Sequence: native.Uint64(value[8:]), Parent: parent}
	if w.v.Enter != nil {
		if enter, err := w.v.Enter(b); err != nil || !enter {
			return false, err
		}
	}
	root := native.Uint64(value)
	if root != 0 {
		if len(value) != bucketSize {
			if err := w.lost(parent, id, self, nil, "a bucket in it has another length than a bucket"); err != nil {
				return true, err
			}
		}
		return true, w.tree(b, root, nil, place{}, depth+1)
	}
	// A small bucket stands in the entry itself, as a page without a number.
	all := place{}
	if len(value) < bucketSize+headerSize {
		return true, w.lost(b, id, all, nil, "a small bucket in it is cut short")
	}
	p := page{b: value[bucketSize:]}
	p.flags, p.count = native.Uint16(p.b[8:]), int(native.Uint16(p.b[10:]))
	if p.flags != flagLeaf || !p.fits() {
		return true, w.lost(b, id, all, nil, "a small bucket in it is damaged")
	}
	if end, exact := p.exact(); !exact || end != len(p.b) || native.Uint64(p.b) != 0 || native.Uint32(p.b[12:]) != 0 {
		if err := w.lost(b, id, all, nil, "a small bucket in it is damaged"); err != nil {
			return true, err
		}
	}
	if depth+1 == maxDepth {
		return true, w.lost(b, id, all, nil, "the tree is deeper than a tree can be")
	}
	return true, w.leaf(b, id, p, all, depth+1)
}
