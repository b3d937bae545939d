package schema

import (
	"slices"

	"croft/internal/errs"
	"croft/internal/records/rawjson"
)

const (
	// One default, with the defaults inside it.
	maxDefault = 64 << 10
	// What defaults may add to a record: as much as a record may have (design 10).
	maxAdded = 1 << 20
)

// ApplyDefaults appends the record to dst with what it lacks: for each property
// that isn't there, its default, also in the objects and lists of objects that
// are there. The record is canonical JSON without its system fields, and so is
// the result.
func (s *Schema) ApplyDefaults(dst, raw []byte) ([]byte, error) {
	if !s.root.fills {
		return append(dst, raw...), nil
	}
	f := filler{max: len(dst) + len(raw) + maxAdded}
	out, ok := f.value(dst, s.root.layers(), raw, 0)
	if !ok {
		return dst, errs.New(errs.TooLarge, "with its schema's defaults the record would be too large; send fewer list items at a time")
	}
	return out, nil
}

// A filler writes values with their defaults.
type filler struct {
	max int // length of the output
}

// value appends raw, which the schemas of layers apply to. It is false when
// that grows too large or too deep.
func (f *filler) value(dst []byte, layers []*node, raw []byte, level int) ([]byte, bool) {
	if level > maxLevels || len(dst)+len(raw) > f.max {
		return dst, false
	}
	if len(layers) > 0 {
		switch rawjson.KindOf(raw) {
		case rawjson.Object:
			return f.object(dst, layers, raw, level)
		case rawjson.Array:
			return f.array(dst, layers, raw, level)
		}
	}
	return append(dst, raw...), true
}

// filling is the layers of those nodes that have something to fill in.
func filling(nodes []*node) []*node {
	var layers []*node
	for _, n := range nodes {
		if n.fills {
			if layers == nil {
				layers = n.layers() // nearly always all there is
			} else {
				layers = append(slices.Clip(layers), n.layers()...)
			}
		}
	}
	return layers
}

func (f *filler) array(dst []byte, layers []*node, raw []byte, level int) ([]byte, bool) {
	dst = append(dst, '[')
	i := 0
	for it := rawjson.Elements(raw); it.Next(); i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		var ok bool
		if dst, ok = f.value(dst, filling(elementsOf(layers, i)), it.Value(), level+1); !ok {
			return dst, false
		}
	}
	return append(dst, ']'), true
}

// elementsOf is the schemas of a list's element.
func elementsOf(layers []*node, i int) []*node {
	var nodes []*node
	for _, n := range layers {
		if i < len(n.prefixItems) {
			nodes = append(nodes, n.prefixItems[i])
		} else if n.items != nil {
			nodes = append(nodes, n.items)
		}
	}
	return nodes
}

func (f *filler) object(dst []byte, layers []*node, raw []byte, level int) ([]byte, bool) {
	dst = append(dst, '{')
	start := len(dst)
	ok, next := true, 0
	var present uint64 // of the first layer's first 64 members
	for it := rawjson.Members(raw); it.Next(); {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(append(dst, it.Key()...), ':')
		var room [4]*node
		nodes := room[:0]
		for i, l := range layers {
			m := l.find(it.Key(), next)
			if m < 0 {
				continue
			}
			if i == 0 {
				next = m + 1
				if m < 64 {
					present |= 1 << m
				}
			}
			if sub := l.members[m].node; sub != nil && sub.fills {
				nodes = append(nodes, sub)
			}
		}
		if dst, ok = f.value(dst, filling(nodes), it.Value(), level+1); !ok {
			return dst, false
		}
	}
	for i, l := range layers {
		for _, j := range l.defaulted {
			m := l.members[j]
			if i == 0 && j < 64 && present&(1<<j) != 0 || rawjson.Get(raw, m.name) != nil || hasDefault(layers[:i], m.key) {
				continue
			}
			if len(dst) > start {
				dst = append(dst, ',')
			}
			dst = append(append(dst, m.key...), ':')
			nodes := propertiesOf(layers, m.key)
			from := m.node.byDefault()
			if from.filled != nil && len(nodes) == 1 && from == m.node {
				dst, ok = append(dst, from.filled...), len(dst)+len(from.filled) <= f.max
			} else {
				dst, ok = f.value(dst, filling(nodes), from.fallback, level+1)
			}
			if !ok {
				return dst, false
			}
		}
	}
	return append(dst, '}'), true
}

// propertiesOf is the schemas that "properties" have for a quoted name.
func propertiesOf(layers []*node, key []byte) []*node {
	var nodes []*node
	for _, n := range layers {
		if i := n.find(key, 0); i >= 0 && n.members[i].node != nil {
			nodes = append(nodes, n.members[i].node)
		}
	}
	return nodes
}

// hasDefault tells whether one of these layers fills in a quoted name.
func hasDefault(layers []*node, key []byte) bool {
	return slices.ContainsFunc(layers, func(n *node) bool {
		return slices.Contains(n.defaulted, n.find(key, 0))
	})
}

// byDefault is the first schema that surely applies and has a default, nil if none.
func (n *node) byDefault() *node {
	for _, l := range n.layers() {
		if l.fallback != nil {
			return l
		}
	}
	return nil
}

// defaults works out where defaults are, fills them in and checks them all.
func (p *parser) defaults(lib *library, s *Schema) {
	for _, n := range p.nodes {
		n.applied = n.layers()
	}
	for _, n := range p.nodes {
		for i, m := range n.members {
			if m.node != nil && m.node.byDefault() != nil {
				n.defaulted = append(n.defaulted, i)
			}
		}
	}
	for changed := true; changed; { // as often as references lead backwards
		changed = false
		for _, n := range slices.Backward(p.nodes) {
			if !n.fills && slices.ContainsFunc(n.layers(), (*node).fillsItself) {
				n.fills, changed = true, true
			}
		}
	}
	for _, n := range p.nodes {
		if n.fallback == nil {
			continue
		}
		f := filler{max: maxDefault}
		filled, ok := f.value(nil, filling([]*node{n}), n.fallback, 0)
		if !ok {
			p.problem(n.pointer+"/default", "default", "is too large with the defaults inside it, or never ends")
			continue
		}
		found, err := fits(lib, s, n, filled)
		if err != nil {
			p.problem(n.pointer+"/default", "default", "can't be checked: %v", err)
			continue
		}
		for _, fault := range found {
			p.problem(n.pointer+"/default"+fault.Pointer, "default", "does not fit its own schema: %s", fault.Message)
		}
		n.filled = slices.Clip(filled)
	}
}

// fillsItself tells whether there are defaults in or below n, its references
// and "allOf" aside.
func (n *node) fillsItself() bool {
	fills := func(c *node) bool { return c != nil && c.fills }
	return len(n.defaulted) > 0 || fills(n.items) || slices.ContainsFunc(n.prefixItems, fills) ||
		slices.ContainsFunc(n.members, func(m member) bool { return fills(m.node) })
}
