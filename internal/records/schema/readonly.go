package schema

import "slices"

// ReadOnly is the paths of the properties that only admins may set. A path
// stands for everything below it too.
func (s *Schema) ReadOnly() [][]string { return s.readOnly }

// maxReadOnly bounds the paths: references can make very many of few properties.
const maxReadOnly = 1000

// readOnly gathers those paths, and refuses "readOnly" where no path leads: in
// lists, choices, or rounds of a recursive schema it would not be kept.
func (p *parser) readOnly(root *node) [][]string {
	if !slices.ContainsFunc(p.nodes, func(n *node) bool { return n.readOnly }) {
		return nil
	}
	for _, n := range root.layers() {
		if n.readOnly {
			p.problem(n.pointer+"/readOnly", "read_only", "can't be said of the whole record; use the collection's access rules")
			return nil
		}
	}
	holds := map[*node]bool{} // whether a property in or below it is read-only
	for _, n := range p.nodes {
		holds[n] = holdsReadOnly(n)
	}
	var paths [][]string
	kept := map[*node]bool{} // reached through properties
	var open []*node         // on the way from the root
	var visit func(n *node, path []string)
	visit = func(n *node, path []string) {
		if !holds[n] || len(paths) > maxReadOnly {
			return
		}
		if slices.Contains(open, n) {
			p.problem(n.pointer, "read_only", `"readOnly" can't be kept inside a schema that leads back to itself`)
			return
		}
		open = append(open, n)
		defer func() { open = open[:len(open)-1] }()
		layers := n.layers()
		for _, layer := range layers {
			kept[layer] = true
		}
		if slices.ContainsFunc(layers, func(l *node) bool { return l.readOnly }) {
			paths = append(paths, slices.Clone(path))
			return
		}
		for _, layer := range layers {
			for _, m := range layer.members {
				if m.node != nil {
					visit(m.node, below(path, m.name))
				}
			}
		}
	}
	visit(root, nil)
	if len(paths) > maxReadOnly {
		p.problem("", "read_only", "more than %d properties are read-only", maxReadOnly)
	}

	// What else may apply to values of the record, and by which other ways?
	seen := map[*node]bool{}
	var other func(n *node)
	other = func(n *node) {
		if n == nil || seen[n] {
			return
		}
		seen[n] = true
		if n.readOnly {
			p.problem(n.pointer+"/readOnly", "read_only", `works on the properties of objects only (through "$ref" and "allOf" too), not inside lists and choices`)
		}
		n.children(other)
	}
	for n := range kept {
		n.besides(other)
	}
	slices.SortFunc(paths, slices.Compare)
	return slices.CompactFunc(paths, slices.Equal)
}

// children calls f with every schema that applies to a value of n or to what is in it.
func (n *node) children(f func(*node)) {
	for _, r := range n.refs {
		f(r.target)
	}
	for _, c := range n.allOf {
		f(c)
	}
	for _, m := range n.members {
		f(m.node)
	}
	n.besides(f)
}

// besides is children without "properties", "$ref" and "allOf".
func (n *node) besides(f func(*node)) {
	for _, list := range [][]*node{n.anyOf, n.oneOf, n.ways, n.prefixItems, {n.items, n.contains, n.unevaluatedItems, n.additional, n.propertyNames, n.unevaluatedProperties}} {
		for _, c := range list {
			f(c)
		}
	}
	for _, list := range [][]member{n.patternProperties, n.dependentSchemas} {
		for _, m := range list {
			f(m.node)
		}
	}
}

// holdsReadOnly tells whether a property in or below n is read-only.
func holdsReadOnly(n *node) bool {
	seen := map[*node]bool{}
	var visit func(*node) bool
	visit = func(n *node) bool {
		if n == nil || seen[n] {
			return false
		}
		seen[n] = true
		found := n.readOnly
		n.children(func(c *node) { found = found || visit(c) })
		return found
	}
	return visit(n)
}
