package schema

import (
	"slices"
	"strings"

	"croft/internal/records/expr"
)

// anyType is every type of JSON.
const anyType = expr.Nulls | expr.Bools | expr.Numbers | expr.Strings | expr.Lists | expr.Maps

// Shape is what the schema says about the types and names in a record, for the
// checks of expressions and indexes. It may leave something out, but what it
// says is so. Recursive schemas have recursive shapes. The system fields are
// not in it.
func (s *Schema) Shape() *expr.Shape { return s.shape }

// Closed tells whether a record can have no other fields than the shape's
// properties (and the system fields).
func (s *Schema) Closed() bool { return s.shape.Closed }

// Forbids tells whether no record can have a value at a path of names.
func (s *Schema) Forbids(path []string) bool {
	if len(path) > 0 && slices.Contains(systemFields, path[0]) {
		return len(path) > 1 // their values are not objects
	}
	at := s.shape
	for _, name := range path {
		if at == nil {
			return false
		}
		if s.never[at] || at.Types != 0 && at.Types&expr.Maps == 0 {
			return true
		}
		next, ok := at.Properties[name]
		if !ok {
			return at.Closed
		}
		at = next
	}
	return s.never[at]
}

// maxShapes bounds the combinations of schemas that references can make.
const maxShapes = 10_000

// A shaper makes shapes of what surely applies: "$ref" and "allOf" are
// followed, and of choices only the types are taken.
type shaper struct {
	shapes map[string]*expr.Shape
	never  map[*expr.Shape]bool // those that no value has
}

// shape is the shape of values that all these schemas apply to.
func (b *shaper) shape(nodes []*node) *expr.Shape {
	var layers []*node
	for _, n := range nodes {
		for _, l := range n.layers() {
			if !slices.Contains(layers, l) {
				layers = append(layers, l)
			}
		}
	}
	if len(layers) == 0 {
		return nil
	}
	var id strings.Builder
	for _, l := range layers {
		id.WriteString(l.pointer + "\n")
	}
	if s, ok := b.shapes[id.String()]; ok {
		return s
	}
	if len(b.shapes) == maxShapes {
		return nil
	}
	s := &expr.Shape{}
	b.shapes[id.String()] = s // before going on: it may be its own part

	types := anyType
	for _, l := range layers {
		types &= typesOf(l)
	}
	if types == 0 {
		b.never[s] = true
	} else if types != anyType {
		s.Types = types
	}
	b.properties(s, layers)
	if !slices.ContainsFunc(layers, func(l *node) bool { return len(l.prefixItems) > 0 }) {
		s.Items = b.shape(elementsOf(layers, 0))
	}
	return s
}

func (b *shaper) properties(s *expr.Shape, layers []*node) {
	allowed := func(string) bool { return true }
	for _, l := range layers {
		names, closed := closedNames(l)
		if closed {
			s.Closed = true
			before := allowed
			allowed = func(name string) bool { return slices.Contains(names, name) && before(name) }
		}
	}
	for _, l := range layers {
		for _, m := range l.members {
			if m.node == nil || s.Properties[m.name] != nil || !allowed(m.name) {
				continue
			}
			if s.Properties == nil {
				s.Properties = map[string]*expr.Shape{}
			}
			s.Properties[m.name] = b.shape(propertiesOf(layers, m.key))
		}
	}
}

// closedNames is the only names that a schema lets an object have, if it does so.
func closedNames(n *node) (names []string, closed bool) {
	if n.closed && len(n.patternProperties) == 0 {
		return n.names(), true
	}
	u := n.unevaluatedProperties
	if u == nil || u.bool == nil || *u.bool {
		return nil, false
	}
	for _, l := range n.layers() {
		if l.anyOf != nil || l.oneOf != nil || l.ways != nil || l.dependentSchemas != nil || l.patternProperties != nil ||
			l.additional != nil || l != n && l.unevaluatedProperties != nil || l.bool != nil {
			return nil, false // names may come from there
		}
		names = append(names, l.names()...)
	}
	return names, true
}

// typesOf is the types that a schema itself lets through, with its choices.
func typesOf(n *node) expr.TypeSet {
	if n.bool != nil && !*n.bool {
		return 0
	}
	types := anyType
	if n.types != 0 {
		types = exprTypes(n.types)
	}
	if n.isEnum {
		var found expr.TypeSet
		for _, v := range n.enum {
			found |= exprTypes(typeOf(v))
		}
		types &= found
	}
	if n.constant != nil {
		types &= exprTypes(typeOf(n.constant))
	}
	for _, list := range [][]*node{n.anyOf, n.oneOf} {
		var found expr.TypeSet
		for _, branch := range list {
			of := anyType
			for _, l := range branch.layers() {
				of &= typesOf(l)
			}
			found |= of
		}
		if list != nil {
			types &= found
		}
	}
	return types
}

func exprTypes(s typeSet) expr.TypeSet {
	var types expr.TypeSet
	for _, t := range []struct {
		from typeSet
		to   expr.TypeSet
	}{
		{typeNull, expr.Nulls}, {typeBoolean, expr.Bools}, {typeNumber | typeInteger, expr.Numbers},
		{typeString, expr.Strings}, {typeArray, expr.Lists}, {typeObject, expr.Maps},
	} {
		if s&t.from != 0 {
			types |= t.to
		}
	}
	return types
}
