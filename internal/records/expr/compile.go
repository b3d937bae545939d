package expr

import "bytes"

// An expression is compiled into closures of two kinds: a test yields a truth value, for conditions and
// all that combines them; a load writes any value, and reports false where it failed, its fault noted.
type (
	test func(p *Program) tri
	load func(p *Program, out *Value) bool
)

// A compiler makes the closures of one Program. Each closure that needs room for values owns it: no closure runs
// again before what it made was used up, so the room is free each time.
type compiler struct {
	slots map[string]int
	names []string
	scope []string // the loop variables in scope
	depth int      // the most there are at once
}

// finish gives p the memory that the closures made so far need.
func (c *compiler) finish(p *Program) {
	p.names = c.names
	for root := range p.cells {
		for len(p.cells[root]) < len(c.names) {
			p.cells[root] = append(p.cells[root], cell{})
		}
	}
	for len(p.vars) < c.depth {
		p.vars = append(p.vars, Value{})
	}
}

// test compiles n as a condition: what isn't a bool fails.
func (c *compiler) test(n *Node) test {
	switch n.Kind {
	case And:
		return c.junction(n, no)
	case Or:
		return c.junction(n, yes)
	case Not:
		operand := c.test(n.Args[0])
		return func(p *Program) tri {
			switch operand(p) {
			case yes:
				return no
			case no:
				return yes
			}
			return failed
		}
	case Cond:
		cond, then, otherwise := c.test(n.Args[0]), c.test(n.Args[1]), c.test(n.Args[2])
		return func(p *Program) tri {
			switch cond(p) {
			case yes:
				return then(p)
			case no:
				return otherwise(p)
			}
			return failed
		}
	case Binary:
		switch {
		case n.Op == In:
			return c.in(n)
		case n.Op <= GreaterEqual:
			return c.comparison(n)
		}
	case Has:
		return c.has(n)
	case Call:
		if t := c.stringTest(n); t != nil {
			return t
		}
	case Exists:
		return c.comprehension(n, yes)
	case All:
		return c.comprehension(n, no)
	}
	value := c.load(n)
	var v Value
	return func(p *Program) tri {
		if !value(p, &v) {
			return failed
		}
		if v.typ != TypeBool {
			return p.fail(notBool, n, v.typ)
		}
		return triOf(v.num != 0)
	}
}

// junction compiles && (decided by no) and || (decided by yes). An operand that decides absorbs the failures of
// the others.
func (c *compiler) junction(n *Node, decisive tri) test {
	operands := make([]test, len(n.Args))
	for i, a := range n.Args {
		operands[i] = c.test(a)
	}
	return func(p *Program) tri {
		result := no + yes - decisive
		var first fault
		for _, operand := range operands {
			switch r := operand(p); {
			case r == decisive:
				return decisive
			case r == failed && result != failed:
				result, first = failed, p.fault
			}
		}
		if result == failed {
			p.fault = first
		}
		return result
	}
}

// comparison compiles == != < <= > >=.
func (c *compiler) comparison(n *Node) test {
	op, left, right := n.Op, n.Args[0], n.Args[1]
	if left.Kind == Literal {
		op, left, right = op.Swap(), right, left
	}
	if left.Kind == Field && left.Root != AuthRoot && right.Kind == Literal {
		return c.compareField(n, op, left, right.Value)
	}
	a, b := new(Value), new(Value)
	loadA, loadB := c.load(left), c.load(right)
	if !op.Ordering() {
		return func(p *Program) tri {
			if !loadA(p, a) || !loadB(p, b) {
				return failed
			}
			return triOf(p.equal(a, b) == (op == Equal))
		}
	}
	return func(p *Program) tri {
		if !loadA(p, a) || !loadB(p, b) {
			return failed
		}
		return p.order(n, op, a, b)
	}
}

// order compares a and b by one of < <= > >=.
func (p *Program) order(n *Node, op Op, a, b *Value) tri {
	if a.typ == TypeString && b.typ == TypeString {
		p.charge(comparing(a.b))
	}
	order, ok := compare(a, b)
	switch {
	case ok:
		return triOf(holds(op, order))
	case a.isNaN() || b.isNaN() && a.typ != TypeNull && a.typ != TypeList && a.typ != TypeMap:
		return no // as cel-go has it
	}
	return p.fail(noOperation, n, a.typ, b.typ)
}

func holds(op Op, order int) bool {
	switch op {
	case Less:
		return order < 0
	case LessEqual:
		return order <= 0
	case Greater:
		return order > 0
	}
	return order >= 0
}

// compareField compiles the comparison of a field with a literal, the commonest of all, straight over the JSON.
func (c *compiler) compareField(n *Node, op Op, left *Node, lit Value) test {
	f := c.field(left)
	if !op.Ordering() {
		same := equalsJSON(lit)
		return func(p *Program) tri {
			raw := f.find(p)
			if raw == nil {
				return f.missing(p)
			}
			return triOf(same(raw) == (op == Equal))
		}
	}
	if number, exact := lit.Float(); lit.Number() && exact {
		return func(p *Program) tri {
			raw := f.find(p)
			if raw == nil {
				return f.missing(p)
			}
			x, ok := jsonNumber(raw)
			if !ok {
				return p.fail(noOperation, n, jsonType(raw), lit.typ)
			}
			order, _ := compareFloats(x, number) // neither is NaN
			return triOf(holds(op, order))
		}
	}
	v := new(Value)
	return func(p *Program) tri {
		raw := f.find(p)
		if raw == nil {
			return f.missing(p)
		}
		v.decode(raw, &p.scratch)
		return p.order(n, op, v, &lit)
	}
}

// equalsJSON returns a test whether JSON denotes lit, decoding as little as it can.
func equalsJSON(lit Value) func(raw []byte) bool {
	switch lit.typ {
	case TypeNull, TypeBool:
		json := lit.AppendJSON(nil)
		return func(raw []byte) bool { return bytes.Equal(raw, json) }
	case TypeString:
		json, text := lit.AppendJSON(nil), lit.Text()
		return func(raw []byte) bool {
			return bytes.Equal(raw, json) || len(raw) > len(json) && escapedIs(raw, text)
		}
	case TypeInt, TypeDouble:
		return func(raw []byte) bool {
			x, ok := jsonNumber(raw)
			if !ok {
				return false
			}
			v := DoubleValue(x)
			order, ok := compare(&v, &lit)
			return ok && order == 0
		}
	}
	return func([]byte) bool { return false } // no JSON denotes a timestamp or a duration
}

// jsonNumber is the number that raw denotes, if it is one.
func jsonNumber(raw []byte) (float64, bool) {
	if len(raw) == 0 || raw[0] != '-' && !isDigit(raw[0]) {
		return 0, false
	}
	return number(raw), true
}

// jsonType is the type of the value that raw denotes.
func jsonType(raw []byte) Type {
	switch raw[0] {
	case '"':
		return TypeString
	case '{':
		return TypeMap
	case '[':
		return TypeList
	case 't', 'f':
		return TypeBool
	case 'n':
		return TypeNull
	}
	return TypeDouble
}

// in compiles Args[0] in Args[1].
func (c *compiler) in(n *Node) test {
	left, right := n.Args[0], n.Args[1]
	if right.Kind == List {
		literals := true
		for _, a := range right.Args {
			literals = literals && a.Kind == Literal
		}
		if literals {
			return c.inSet(left, newSet(right.Args))
		}
	}
	element, list := new(Value), new(Value)
	loadElement, loadList := c.load(left), c.load(right)
	return func(p *Program) tri {
		if !loadElement(p, element) || !loadList(p, list) {
			return failed
		}
		switch list.typ {
		case TypeList:
			return triOf(p.contains(list, element))
		case TypeMap:
			p.charge(walking(list.b))
			return triOf(element.typ == TypeString && member(list.b, borrow(element.b)) != nil)
		}
		return p.fail(noOperation, n, element.typ, list.typ)
	}
}

// inSet compiles the membership of left in a set of literals.
func (c *compiler) inSet(left *Node, s *set) test {
	v := new(Value)
	if left.Kind == Field && left.Root != AuthRoot {
		f := c.field(left)
		return func(p *Program) tri {
			raw := f.find(p)
			if raw == nil {
				return f.missing(p)
			}
			for _, json := range s.json {
				if bytes.Equal(raw, json) {
					return yes
				}
			}
			if s.jsonOnly && bytes.IndexByte(raw, '\\') < 0 {
				return no
			}
			v.decode(raw, &p.scratch)
			return triOf(s.has(p, v))
		}
	}
	value := c.load(left)
	return func(p *Program) tri {
		if !value(p, v) {
			return failed
		}
		return triOf(s.has(p, v))
	}
}

// A set holds the elements of a list of literals.
type set struct {
	texts   map[string]bool
	numbers map[float64]bool
	others  []Value

	json     [][]byte // the strings as JSON, if they are few: comparing bytes is faster than hashing them
	jsonOnly bool     // there are no other elements than those in json
}

// fewStrings is where comparing with each of the strings costs about as much as one look-up in a map.
const fewStrings = 8

func newSet(elements []*Node) *set {
	s := &set{texts: make(map[string]bool), numbers: make(map[float64]bool)}
	for _, e := range elements {
		f, exact := e.Value.Float()
		switch {
		case e.Value.typ == TypeString:
			s.texts[string(e.Value.b)] = true
		case e.Value.Number() && exact:
			s.numbers[f] = true
		default:
			s.others = append(s.others, e.Value)
		}
	}
	if len(s.texts) <= fewStrings {
		for text := range s.texts {
			s.json = append(s.json, appendJSONString(nil, []byte(text)))
		}
		s.jsonOnly = len(s.numbers)+len(s.others) == 0
	}
	return s
}

func (s *set) has(p *Program, v *Value) bool {
	switch f, exact := v.Float(); {
	case v.typ == TypeString:
		return s.texts[string(v.b)]
	case v.Number() && exact && s.numbers[f]:
		return true
	}
	for i := range s.others {
		if p.equal(v, &s.others[i]) {
			return true
		}
	}
	return false
}

// has compiles has(): whether the last name is there. What it stands in must be there.
func (c *compiler) has(n *Node) test {
	arg := n.Args[0]
	if arg.Kind == Select {
		from, v := c.load(arg.Args[0]), new(Value)
		return func(p *Program) tri {
			if !from(p, v) {
				return failed
			}
			if v.typ != TypeMap {
				return p.fail(noObject, arg, v.typ)
			}
			p.charge(walking(v.b))
			return triOf(member(v.b, arg.Name) != nil)
		}
	}
	last := len(arg.Path) - 1
	if last == 0 && arg.Root == AuthRoot {
		v := new(Value)
		return func(p *Program) tri { return triOf(authMember(p, arg.Path[0], v)) }
	}
	if last == 0 {
		f := c.field(arg)
		return func(p *Program) tri { return triOf(f.find(p) != nil) }
	}
	parent := *arg
	parent.Path = arg.Path[:last]
	from, v := c.load(&parent), new(Value)
	return func(p *Program) tri {
		if !from(p, v) {
			return failed
		}
		if v.typ != TypeMap {
			return p.fail(noObject, arg, v.typ)
		}
		p.charge(walking(v.b))
		return triOf(member(v.b, arg.Path[last]) != nil)
	}
}

// comprehension compiles exists (decided by yes) and all (decided by no), which absorb failures as || and && do.
func (c *compiler) comprehension(n *Node, decisive tri) test {
	through, over := c.load(n.Args[0]), new(Value)
	slot := len(c.scope)
	c.scope = append(c.scope, n.Name)
	c.depth = max(c.depth, len(c.scope))
	body, cost := c.test(n.Args[1]), 1+int(nodes(n.Args[1]))
	c.scope = c.scope[:slot]
	return func(p *Program) tri {
		if !through(p, over) {
			return failed
		}
		if over.typ != TypeList && over.typ != TypeMap {
			return p.fail(noRange, n, over.typ)
		}
		result := no + yes - decisive
		var cause fault
		it := iterator{of: over}
		for mark := len(p.scratch); it.next(p, &p.vars[slot]); p.scratch = p.scratch[:mark] {
			if !p.charge(cost) {
				return failed
			}
			switch r := body(p); {
			case r == decisive:
				return decisive
			case r == failed && result != failed:
				result, cause = failed, p.fault
			}
		}
		if result == failed {
			p.fault = cause
		}
		return result
	}
}
