package schema

// References make a schema recursive, which is fine as long as each round
// consumes a level of the record. These checks refuse those that don't, and
// bound the work of those that branch: {"allOf": [A, B]} where A and B both
// lead back doubles the work with each level of the record.

const (
	// How many schemas one value may be held to at once. The largest we know,
	// JSON Schema's own, has 9.
	maxInPlace = 1000
	// The same summed over the whole schema, since the checks below walk it 64 times.
	maxInPlaceTotal = 100_000
	// How many schemas may look at one path of a record, from its top to one
	// value. 10,000 take the library some 5 ms.
	maxWork = 10_000
	// As deep as a record can be (rawjson.DefaultDepth).
	maxLevels = 64
)

// endless tells of references that lead back to themselves at the same value.
func (p *parser) endless() (found bool) {
	const (
		unseen = iota
		open
		done
	)
	state := make([]uint8, len(p.nodes))
	var visit func(n *node)
	visit = func(n *node) {
		state[n.id] = open
		n.inPlace(func(c *node) {
			switch state[c.id] {
			case open:
				found = true
				p.problem(n.pointer, "endless_ref", "leads back to %s without going into the value: it would be checked for ever", shown(c.pointer))
			case unseen:
				visit(c)
			}
		})
		state[n.id] = done
	}
	for _, n := range p.nodes {
		if state[n.id] == unseen {
			visit(n)
		}
	}
	return found
}

// levels is how deep a record may nest so that holding it to the schema stays
// within maxWork; -1 when any depth does. It needs a schema that isn't endless.
func (p *parser) levels() int {
	closures := make([][]*node, len(p.nodes))
	size := make([]int, len(p.nodes)) // of each closure, 0 when not known yet
	total := 0
	var measure func(n *node) int
	measure = func(n *node) int {
		if size[n.id] == 0 {
			s := 1
			n.inPlace(func(c *node) { s = min(s+measure(c), maxInPlace+1) })
			size[n.id] = s
		}
		return size[n.id]
	}
	for _, n := range p.nodes {
		s := measure(n)
		total += s
		if s > maxInPlace || total > maxInPlaceTotal {
			p.problem(n.pointer, "too_involved", "its references and choices multiply to more than %d schemas for one value; make it simpler", maxInPlace)
			return 0
		}
	}
	if total == len(p.nodes) {
		return -1 // nothing applies in place, so each value meets one schema
	}
	for _, n := range p.nodes {
		closures[n.id] = closure(n)
	}

	// work[n] is the number of schemas on the costliest path through a value of
	// n that nests level deep.
	work, last := make([]int, len(p.nodes)), make([]int, len(p.nodes))
	for level := 0; level <= maxLevels; level++ {
		same := level > 0
		for _, n := range p.nodes {
			w := len(closures[n.id])
			if level > 0 {
				w += dearest(closures[n.id], last)
			}
			work[n.id] = min(w, maxWork+1)
			same = same && work[n.id] == last[n.id]
		}
		if work[0] > maxWork {
			return level - 1
		}
		if same {
			break
		}
		work, last = last, work
	}
	return -1
}

// closure is every schema that is applied to a value of n, as often as it is.
func closure(n *node) []*node {
	var list []*node
	var visit func(*node)
	visit = func(n *node) {
		list = append(list, n)
		n.inPlace(visit)
	}
	visit(n)
	return list
}

// dearest is the most work that one member or element of a value causes, when
// all the schemas of list are applied to the value.
func dearest(list []*node, work []int) int {
	cost := func(n *node) int {
		if n == nil {
			return 0
		}
		return work[n.id]
	}
	// Names that nothing mentions and elements beyond "prefixItems" cost this;
	// others differ from it by what stands in the maps.
	anyMember, anyElement := 0, 0
	members, elements := map[string]int{}, map[int]int{}
	for _, n := range list {
		rest := cost(n.additional)
		anyMember += rest + cost(n.unevaluatedProperties)
		for _, m := range n.patternProperties {
			anyMember += cost(m.node)
		}
		for _, m := range n.members {
			if m.node != nil {
				members[m.name] += cost(m.node) - rest
			}
		}
		rest = cost(n.items)
		anyElement += rest + cost(n.contains) + cost(n.unevaluatedItems)
		for i, c := range n.prefixItems {
			elements[i] += cost(c) - rest
		}
	}
	most := max(anyMember, anyElement)
	for _, d := range members {
		most = max(most, anyMember+d)
	}
	for _, d := range elements {
		most = max(most, anyElement+d)
	}
	return most
}
