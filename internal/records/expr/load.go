package expr

// load compiles n as a value.
func (c *compiler) load(n *Node) load {
	switch n.Kind {
	case Literal:
		v := n.Value
		return func(_ *Program, out *Value) bool {
			*out = v
			return true
		}
	case Field:
		return c.loadField(n)
	case Select:
		from, v := c.load(n.Args[0]), new(Value)
		return func(p *Program, out *Value) bool {
			return from(p, v) && p.pick(n, v, n.Name, out)
		}
	case Index:
		return c.index(n)
	case List:
		return c.list(n)
	case Neg:
		operand := c.load(n.Args[0])
		return func(p *Program, out *Value) bool { return operand(p, out) && p.negate(n, out) }
	case Binary:
		if n.Op >= Add {
			return c.arithmetic(n)
		}
	case Cond:
		cond, then, otherwise := c.test(n.Args[0]), c.load(n.Args[1]), c.load(n.Args[2])
		return func(p *Program, out *Value) bool {
			switch cond(p) {
			case yes:
				return then(p, out)
			case no:
				return otherwise(p, out)
			}
			return false
		}
	case Call:
		if v := c.call(n); v != nil {
			return v
		}
	case Var:
		slot := len(c.scope) - 1
		for c.scope[slot] != n.Name {
			slot--
		}
		return func(p *Program, out *Value) bool {
			*out = p.vars[slot]
			return true
		}
	case Now:
		return func(p *Program, out *Value) bool {
			*out = TimestampValue(p.env.Now)
			return true
		}
	case Failure:
		return func(p *Program, _ *Value) bool {
			p.fail(always, n)
			return false
		}
	}
	condition := c.test(n) // the rest are conditions
	return func(p *Program, out *Value) bool {
		switch condition(p) {
		case yes:
			out.setBool(true)
			return true
		case no:
			out.setBool(false)
			return true
		}
		return false
	}
}

// A field is a path from record or before.
type field struct {
	n    *Node
	root Root
	slot int
	rest []string // behind the top-level name
}

func (c *compiler) field(n *Node) *field {
	slot, ok := c.slots[n.Path[0]]
	if !ok {
		slot = len(c.names)
		c.slots[n.Path[0]] = slot
		c.names = append(c.names, n.Path[0])
	}
	return &field{n: n, root: n.Root, slot: slot, rest: n.Path[1:]}
}

// find returns the field's JSON, nil if it is missing.
func (f *field) find(p *Program) []byte {
	cell := &p.cells[f.root][f.slot]
	if cell.gen != p.gen {
		cell.gen = p.gen
		cell.raw = p.fetch(f)
	}
	raw := cell.raw
	for _, name := range f.rest {
		if !p.charge(walking(raw)) {
			return nil
		}
		raw = member(raw, name)
	}
	p.charge(comparing(raw)) // for what is done with it
	if len(raw) == 0 {
		return nil
	}
	return raw
}

func (p *Program) fetch(f *field) []byte {
	source := p.env.Record
	if f.root == BeforeRoot {
		source = p.env.Before
	}
	if source == nil {
		return nil
	}
	return source.Field(f.slot)
}

func (f *field) missing(p *Program) tri { return p.fail(missing, f.n) }

func (c *compiler) loadField(n *Node) load {
	if n.Root == AuthRoot {
		member := func(p *Program, out *Value) bool {
			if !authMember(p, n.Path[0], out) {
				p.fail(notSignedIn, n)
				if p.env.Auth != nil && p.env.Auth.SignedIn {
					p.fault.reason = missing // auth.token
				}
				return false
			}
			return true
		}
		if len(n.Path) == 1 {
			return member
		}
		token := new(Value)
		return func(p *Program, out *Value) bool { return member(p, token) && p.pick(n, token, n.Path[1], out) }
	}
	f := c.field(n)
	return func(p *Program, out *Value) bool {
		raw := f.find(p)
		if raw == nil {
			f.missing(p)
			return false
		}
		out.decode(raw, &p.scratch)
		return true
	}
}

// authMember sets out to a member of auth and reports whether there is one.
func authMember(p *Program, name string, out *Value) bool {
	a := p.env.Auth
	if a == nil || !a.SignedIn {
		return false
	}
	switch name {
	case "id":
		out.typ, out.b = TypeString, view(a.ID)
	case "email":
		out.typ, out.b = TypeString, view(a.Email)
	case "verified":
		out.setBool(a.Verified)
	case "roles":
		p.roles = p.roles[:0]
		for _, role := range a.Roles {
			p.roles = append(p.roles, Value{typ: TypeString, b: view(role)})
		}
		out.typ, out.b, out.list = TypeList, nil, p.roles
	case "token":
		if a.Token == nil {
			return false
		}
		out.decode(a.Token, &p.scratch)
	}
	return true
}

// pick sets out to the member of an object.
func (p *Program) pick(n *Node, from *Value, name string, out *Value) bool {
	if from.typ != TypeMap {
		p.fail(noObject, n, from.typ)
		return false
	}
	raw := member(from.b, name)
	if !p.charge(walking(from.b)) || raw == nil {
		p.fail(noMember, n)
		return false
	}
	out.decode(raw, &p.scratch)
	return true
}

// index compiles a[i], of lists by a whole number and of objects by a string.
func (c *compiler) index(n *Node) load {
	loadFrom, loadAt := c.load(n.Args[0]), c.load(n.Args[1])
	from, at := new(Value), new(Value)
	return func(p *Program, out *Value) bool {
		if !loadFrom(p, from) || !loadAt(p, at) {
			return false
		}
		switch from.typ {
		case TypeMap:
			if at.typ == TypeString {
				return p.pick(n, from, borrow(at.b), out)
			}
		case TypeList:
			if i, ok := at.whole(); ok && i >= 0 && p.element(from, i, out) {
				return true
			}
		default:
			p.fail(noObject, n, from.typ)
			return false
		}
		p.fail(noMember, n)
		return false
	}
}

// element sets out to the element of a list at i, and reports false where there is none.
func (p *Program) element(list *Value, i int64, out *Value) bool {
	if list.b == nil {
		if i >= int64(len(list.list)) {
			return false
		}
		*out = list.list[i]
		return true
	}
	it := iterator{of: list}
	for raw, ok := it.nextJSON(p); ok; raw, ok = it.nextJSON(p) {
		if i == 0 {
			out.decode(raw, &p.scratch)
			return true
		}
		i--
	}
	return false
}

func (c *compiler) list(n *Node) load {
	elements := make([]load, len(n.Args))
	for i, a := range n.Args {
		elements[i] = c.load(a)
	}
	values := make([]Value, len(n.Args))
	return func(p *Program, out *Value) bool {
		for i, element := range elements {
			if !element(p, &values[i]) {
				return false
			}
		}
		p.charge(len(values) / 4)
		out.typ, out.b, out.list = TypeList, nil, values
		return true
	}
}
