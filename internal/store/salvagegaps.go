package store

import (
	"bytes"
	"sort"

	"croft/internal/store/pages"
)

// gap is where a tree can't be read: between two whole keys, of which nil is the beginning or the end of all.
type gap struct {
	after, before []byte
	what          string
	key           []byte // the one entry that is damaged in it, if it is one and its key is as it seems
}

// gaps are in order, and apart.
type gaps []gap

// find returns the gap that a key is in, or -1.
func (g gaps) find(k []byte) int {
	i := sort.Search(len(g), func(i int) bool { return g[i].before == nil || bytes.Compare(g[i].before, k) > 0 })
	if i == len(g) || g[i].after != nil && bytes.Compare(g[i].after, k) >= 0 {
		return -1
	}
	return i
}

// touch reports whether a gap may have keys from lo on to before hi.
func (g gaps) touch(lo, hi []byte) bool {
	i := sort.Search(len(g), func(i int) bool { return g[i].before == nil || bytes.Compare(g[i].before, lo) > 0 })
	return i < len(g) && (hi == nil || g[i].after == nil || bytes.Compare(g[i].after, hi) < 0)
}

// intersect returns what is in gaps of both.
func (g gaps) intersect(h gaps) (both gaps) {
	for len(g) > 0 && len(h) > 0 {
		a, b := g[0], h[0]
		c := a
		if bytes.Compare(b.after, a.after) > 0 {
			c.after = b.after
		}
		firstEnds := b.before == nil || a.before != nil && bytes.Compare(a.before, b.before) <= 0
		if firstEnds {
			g = g[1:]
		} else {
			c.before = b.before
			h = h[1:]
		}
		if c.before == nil || bytes.Compare(c.after, c.before) < 0 {
			both = append(both, c)
		}
	}
	return both
}

// tracker makes gaps of what a walk tells, in the order in which it does.
type tracker struct {
	all  gaps
	last []byte // the last whole key
	open bool   // the last gap has no end yet

	// In a page that is in doubt as a whole the gap goes on to its end: until, of which nil is the end of all.
	doubt bool
	until []byte
}

func (t *tracker) start(what string, key []byte) {
	if t.open {
		t.all[len(t.all)-1].key = nil
		return
	}
	g := gap{what: what, key: bytes.Clone(key)}
	if t.last != nil {
		g.after = bytes.Clone(t.last)
	}
	t.all = append(t.all, g)
	t.open = true
}

// damaged notes an entry that fails its checksum.
func (t *tracker) damaged(k []byte) { t.start("an entry fails its checksum", k) }

// fault notes what is wrong with a page.
func (t *tracker) fault(f pages.Fault) {
	t.start("a page in the way is damaged: "+f.What, nil)
	if f.Doubtful && (!t.doubt || t.until != nil && (f.To == nil || bytes.Compare(f.To, t.until) > 0)) {
		t.doubt, t.until = true, bytes.Clone(f.To)
	}
}

// whole notes an entry that is as it was written.
func (t *tracker) whole(k []byte) {
	if t.doubt && t.until != nil && bytes.Compare(k, t.until) >= 0 {
		t.doubt = false
	}
	if t.open && !t.doubt {
		t.all[len(t.all)-1].before = bytes.Clone(k)
		t.open = false
	}
	t.last = append(t.last[:0], k...)
}

// end returns the gaps when all was told.
func (t *tracker) end() gaps { return t.all }
