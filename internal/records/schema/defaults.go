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
	if s.fills == nil {
		return append(dst, raw...), nil
	}
	f := filler{fills: s.fills, max: len(dst) + len(raw) + maxAdded}
	out, ok := f.value(dst, []*node{s.root}, raw, 0)
	if !ok {
		return dst, errs.New(errs.TooLarge, "with its schema's defaults the record would be too large; send fewer list items at a time")
	}
	return out, nil
}

// A filler writes values with their defaults.
type filler struct {
	fills map[*node]bool
	max   int // length of the output
}

// value appends raw, which the schemas of nodes apply to. It is false when that
// grows too large or too deep.
func (f *filler) value(dst []byte, nodes []*node, raw []byte, level int) ([]byte, bool) {
	if level > maxLevels || len(dst)+len(raw) > f.max {
		return dst, false
	}
	var layers []*node
	for _, n := range nodes {
		if f.fills[n] {
			layers = append(layers, n.layers()...)
		}
	}
	if len(layers) == 0 {
		return append(dst, raw...), true
	}
	switch rawjson.KindOf(raw) {
	case rawjson.Object:
		return f.object(dst, layers, raw, level)
	case rawjson.Array:
		return f.array(dst, layers, raw, level)
	}
	return append(dst, raw...), true
}

func (f *filler) array(dst []byte, layers []*node, raw []byte, level int) ([]byte, bool) {
	dst = append(dst, '[')
	i := 0
	for it := rawjson.Elements(raw); it.Next(); i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		var ok bool
		if dst, ok = f.value(dst, elementsOf(layers, i), it.Value(), level+1); !ok {
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
	first := true
	comma := func() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
	}
	ok := true
	for it := rawjson.Members(raw); it.Next() && ok; {
		comma()
		dst = append(append(dst, it.Key()...), ':')
		dst, ok = f.value(dst, propertiesOf(layers, it.Key()), it.Value(), level+1)
	}
	for i, n := range layers {
		for _, m := range n.members {
			if !ok {
				return dst, false
			}
			if m.node == nil || rawjson.Get(raw, m.name) != nil || isProperty(layers[:i], m.key) {
				continue
			}
			nodes := propertiesOf(layers, m.key)
			from := withDefault(nodes)
			if from == nil {
				continue
			}
			comma()
			dst = append(append(dst, m.key...), ':')
			if from.filled != nil && len(nodes) == 1 {
				dst = append(dst, from.filled...)
				ok = len(dst) <= f.max
			} else {
				dst, ok = f.value(dst, nodes, from.fallback, level+1)
			}
		}
	}
	return append(dst, '}'), ok
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

func isProperty(layers []*node, key []byte) bool { return len(propertiesOf(layers, key)) > 0 }

// withDefault is the first schema that applies and has a default, nil if none.
func withDefault(nodes []*node) *node {
	for _, n := range nodes {
		for _, layer := range n.layers() {
			if layer.fallback != nil {
				return layer
			}
		}
	}
	return nil
}

// defaults fills in and checks every default of the schema. It returns which
// nodes have some in or below them, nil if there are none.
func (p *parser) defaults(lib *library, s *Schema) map[*node]bool {
	fills := filling(p.nodes)
	if len(fills) == 0 {
		return nil
	}
	for _, n := range p.nodes {
		if n.fallback == nil {
			continue
		}
		f := filler{fills: fills, max: maxDefault}
		filled, ok := f.value(nil, []*node{n}, n.fallback, 0)
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
	return fills
}

// filling is the nodes that have properties with defaults, in or below them.
func filling(nodes []*node) map[*node]bool {
	fills := map[*node]bool{}
	for changed := true; changed; { // as often as references lead backwards
		changed = false
		for _, n := range slices.Backward(nodes) {
			if fills[n] {
				continue
			}
			for _, l := range n.layers() {
				if slices.ContainsFunc(l.members, func(m member) bool {
					return m.node != nil && (fills[m.node] || withDefault([]*node{m.node}) != nil)
				}) || l.items != nil && fills[l.items] || slices.ContainsFunc(l.prefixItems, func(c *node) bool { return fills[c] }) {
					fills[n], changed = true, true
					break
				}
			}
		}
	}
	return fills
}
