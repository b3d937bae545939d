package expr

import (
	"maps"
	"slices"
)

// A TypeSet is a set of the types a value may have. Int and double are one, as in JSON.
type TypeSet uint16

// The sets of one type each, to be combined with |.
const (
	Nulls TypeSet = 1 << iota
	falses
	trues
	Numbers
	Strings
	Lists
	Maps
	Timestamps
	Durations

	Bools   = falses | trues
	anyJSON = Nulls | Bools | Numbers | Strings | Lists | Maps
	ordered = Bools | Numbers | Strings | Timestamps | Durations
)

// String names the types for people.
func (t TypeSet) String() string {
	text := ""
	for _, one := range []struct {
		set  TypeSet
		name string
	}{
		{Nulls, "null"}, {Bools, "a bool"}, {Numbers, "a number"}, {Strings, "a string"}, {Lists, "a list"},
		{Maps, "an object"}, {Timestamps, "a timestamp"}, {Durations, "a duration"},
	} {
		if t&one.set == 0 {
			continue
		}
		if text != "" {
			text += " or "
		}
		text += one.name
	}
	return text
}

// A Shape is what is known of a value from its schema; nil is nothing at all. The system fields of a record need
// not be in it.
type Shape struct {
	Types      TypeSet // 0: any
	Properties map[string]*Shape
	Closed     bool   // an object has no other members than Properties
	Items      *Shape // of a list's elements
}

// A Problem is what Check found wrong with an expression.
type Problem struct {
	Error
	Warning bool // the expression works, but hardly as it was meant
	Fails   bool // a warning that a part of it is an error over any record
}

// Check compares an expression with the schema of its records. Fields that can't exist are errors; conditions
// that never hold or always fail because of their types are warnings.
func Check(e *Expr, record *Shape) []Problem {
	c := checker{text: e.Text, record: record}
	t, _ := c.node(e.Root)
	switch {
	case len(c.problems) > 0:
	case t&Bools == 0:
		c.fails(e.Root.Pos, "expected true or false, not %v", t)
	case t&trues == 0 && e.Root.Kind != Literal:
		c.warn(e.Root.Pos, "this expression is never true")
	}
	slices.SortStableFunc(c.problems, func(a, b Problem) int { return a.Pos - b.Pos })
	return c.problems
}

// A checker works out which types each node's value may have: none where it is always an error.
type checker struct {
	text     string
	record   *Shape
	vars     []loopVar
	problems []Problem
}

type loopVar struct {
	name  string
	types TypeSet
	shape *Shape
}

func (c *checker) warn(pos int, format string, args ...any) {
	c.problems = append(c.problems, Problem{Error: *errorAt(c.text, pos, format, args...), Warning: true})
}

// fails warns of what is an error over any record.
func (c *checker) fails(pos int, format string, args ...any) {
	c.warn(pos, "this is always an error: "+format, args...)
	c.problems[len(c.problems)-1].Fails = true
}

// of is the types of what has that shape.
func (s *Shape) of() TypeSet {
	if s == nil || s.Types == 0 {
		return anyJSON
	}
	return s.Types
}

var systemFields = map[string]*Shape{
	"id":      {Types: Strings},
	"rev":     {Types: Strings},
	"created": {Types: Strings},
	"updated": {Types: Strings},
	"owner":   {Types: Strings | Nulls},
}

var authShape = &Shape{Types: Maps, Properties: map[string]*Shape{
	"id":       {Types: Strings},
	"email":    {Types: Strings},
	"roles":    {Types: Lists, Items: &Shape{Types: Strings}},
	"verified": {Types: Bools},
	"token":    {Types: Maps, Properties: map[string]*Shape{"scopes": {Types: Lists}}},
}}

func (c *checker) node(n *Node) (TypeSet, *Shape) {
	switch n.Kind {
	case Literal:
		return literalType(&n.Value), nil
	case Field:
		return c.field(n)
	case Select:
		t, s := c.node(n.Args[0])
		return c.member(n, t, s, n.Name, false)
	case Index:
		return c.index(n)
	case List:
		return c.list(n)
	case Not:
		t := c.condition(n.Args[0])
		return t>>1&falses | t<<1&trues, nil
	case Neg:
		return c.only(n, n.Args[0], Numbers|Durations, "cannot be negated"), nil
	case Binary:
		return c.binary(n), nil
	case And, Or:
		return c.junction(n), nil
	case Cond:
		c.condition(n.Args[0])
		t, s := c.node(n.Args[1])
		other, otherShape := c.node(n.Args[2])
		if s != otherShape {
			s = nil
		}
		return t | other, s
	case Has:
		return c.has(n), nil
	case Call:
		return c.call(n), nil
	case Exists, All:
		return c.comprehension(n), nil
	case Var:
		for i := len(c.vars) - 1; ; i-- {
			if v := c.vars[i]; v.name == n.Name {
				return v.types, v.shape
			}
		}
	case Now:
		return Timestamps, nil
	}
	return 0, nil // a Failure
}

func literalType(v *Value) TypeSet {
	switch v.typ {
	case TypeBool:
		if v.Bool() {
			return trues
		}
		return falses
	case TypeInt, TypeDouble:
		return Numbers
	case TypeString:
		return Strings
	case TypeTimestamp:
		return Timestamps
	case TypeDuration:
		return Durations
	}
	return Nulls
}

func (c *checker) root(n *Node) *Shape {
	if n.Root == AuthRoot {
		return authShape
	}
	return c.record
}

func (c *checker) field(n *Node) (TypeSet, *Shape) {
	t, s := Maps, c.root(n)
	for i, name := range n.Path {
		t, s = c.member(n, t, s, name, i == 0 && n.Root != AuthRoot)
	}
	return t, s
}

// member looks a name up in what has the types t and the shape s; n is where it stands.
func (c *checker) member(n *Node, t TypeSet, s *Shape, name string, system bool) (TypeSet, *Shape) {
	if t == 0 {
		return 0, nil
	}
	if t&Maps == 0 {
		c.fails(n.Pos, "%v has no members", t)
		return 0, nil
	}
	if p, ok := systemFields[name]; ok && system {
		return p.Types, p
	}
	if s == nil {
		return anyJSON, nil
	}
	p, ok := s.Properties[name]
	if !ok && s.Closed {
		known := slices.Sorted(maps.Keys(s.Properties))
		if system {
			known = append(known, slices.Sorted(maps.Keys(systemFields))...)
		}
		c.problems = append(c.problems, Problem{Error: *errorAt(c.text, n.Pos, "unknown field %q%s", name, didYouMean(name, known))})
		return anyJSON, nil
	}
	return p.of(), p
}

func (c *checker) has(n *Node) TypeSet {
	if t, _ := c.node(n.Args[0]); t == 0 {
		return 0
	}
	return Bools
}

func (c *checker) index(n *Node) (TypeSet, *Shape) {
	from, s := c.node(n.Args[0])
	at, _ := c.node(n.Args[1])
	if from == 0 || at == 0 {
		return 0, nil
	}
	switch {
	case from&Lists != 0 && at&Numbers != 0 && from&Maps == 0:
		if s != nil {
			return s.Items.of(), s.Items
		}
	case from&Lists != 0 && at&Numbers != 0 || from&Maps != 0 && at&Strings != 0:
	default:
		c.fails(n.Pos, "%v has no element at %v", from, at)
		return 0, nil
	}
	return anyJSON | Timestamps | Durations, nil
}

func (c *checker) list(n *Node) (TypeSet, *Shape) {
	items := &Shape{}
	for i, a := range n.Args {
		t, s := c.node(a)
		if t == 0 {
			return 0, nil
		}
		items.Types |= t
		if i == 0 && len(n.Args) == 1 && s != nil {
			*items = *s
		}
	}
	return Lists, &Shape{Types: Lists, Items: items}
}

// condition is the types of what must be a bool.
func (c *checker) condition(n *Node) TypeSet {
	t, _ := c.node(n)
	if t != 0 && t&Bools == 0 {
		c.fails(n.Pos, "expected true or false, not %v", t)
	}
	return t & Bools
}

func (c *checker) junction(n *Node) TypeSet {
	decisive, neutral := falses, trues
	if n.Kind == Or {
		decisive, neutral = trues, falses
	}
	result := neutral
	for _, a := range n.Args {
		t := c.condition(a)
		result |= t & decisive
		if t&neutral == 0 {
			result &^= neutral
		}
	}
	return result
}

// only is the types of a, which must be among allowed.
func (c *checker) only(n, a *Node, allowed TypeSet, text string) TypeSet {
	t, _ := c.node(a)
	if t != 0 && t&allowed == 0 {
		c.fails(n.Pos, "%v %s", t, text)
	}
	return t & allowed
}

func (c *checker) binary(n *Node) TypeSet {
	a, _ := c.node(n.Args[0])
	b, s := c.node(n.Args[1])
	if a == 0 || b == 0 {
		return 0
	}
	switch {
	case n.Op == Equal || n.Op == NotEqual:
		if kinds(a)&kinds(b) != 0 {
			return Bools
		}
		if n.Op == Equal {
			c.warn(n.Pos, "this is never true: %v never equals %v%s", a, b, c.hint(a, b))
			return falses
		}
		c.warn(n.Pos, "this is never false: %v never equals %v%s", a, b, c.hint(a, b))
		return trues
	case n.Op.Ordering():
		if kinds(a)&kinds(b)&ordered == 0 {
			if a == b {
				c.fails(n.Pos, "%v and another have no order", a)
			} else {
				c.fails(n.Pos, "%v and %v have no order%s", a, b, c.hint(a, b))
			}
			return 0
		}
		return Bools
	case n.Op == In:
		if b&(Lists|Maps) == 0 {
			c.fails(n.Pos, "in looks into lists and objects, not into %v", b)
			return 0
		}
		if b == Lists && s != nil && s.Items != nil && s.Items.Types != 0 && kinds(a)&kinds(s.Items.Types) == 0 {
			c.warn(n.Pos, "this is never true: %v is never in a list of %v", a, s.Items.Types)
			return falses
		}
		return Bools
	}
	t := result(n.Op, a, b)
	if t == 0 {
		c.fails(n.Pos, "%q does not work on %v and %v%s", n.Op, a, b, c.hint(a, b))
	}
	return t
}

// kinds makes one of both bools: they can be compared with each other.
func kinds(t TypeSet) TypeSet {
	if t&Bools != 0 {
		return t | Bools
	}
	return t
}

// hint tells how to compare a field with a time.
func (c *checker) hint(a, b TypeSet) string {
	switch {
	case a == Timestamps && b&Strings != 0 || b == Timestamps && a&Strings != 0:
		return "; a field holds a time as text: write timestamp(record.name)"
	case a == Durations && b&Strings != 0 || b == Durations && a&Strings != 0:
		return "; a field holds a duration as text: write duration(record.name)"
	}
	return ""
}

// result is the types that arithmetic on a and b can yield.
func result(op Op, a, b TypeSet) TypeSet {
	t := a & b & Numbers
	switch op {
	case Add:
		t |= a & b & (Strings | Lists | Durations)
		if a&Timestamps != 0 && b&Durations != 0 || a&Durations != 0 && b&Timestamps != 0 {
			t |= Timestamps
		}
	case Subtract:
		t |= a & b & Durations
		if a&b&Timestamps != 0 {
			t |= Durations
		}
		if a&Timestamps != 0 && b&Durations != 0 {
			t |= Timestamps
		}
	}
	return t
}

func (c *checker) call(n *Node) TypeSet {
	allowed, result := Strings, Bools
	switch n.Name {
	case "size":
		allowed, result = Strings|Lists|Maps, Numbers
	case "lowerAscii":
		result = Strings
	case "timestamp":
		allowed, result = Strings|Timestamps, Timestamps
	case "duration":
		allowed, result = Strings|Durations, Durations
	}
	for _, a := range n.Args {
		if c.only(a, a, allowed, "is nothing that "+n.Name+" works on") == 0 {
			result = 0
		}
	}
	return result
}

func (c *checker) comprehension(n *Node) TypeSet {
	t, s := c.node(n.Args[0])
	if t != 0 && t&(Lists|Maps) == 0 {
		c.fails(n.Pos, "%v is nothing to go through", t)
		t = 0
	}
	v := loopVar{name: n.Name, types: anyJSON | Timestamps | Durations}
	switch {
	case t&Lists == 0:
		v.types = Strings // an object's names
	case t&Maps == 0 && s != nil && s.Items != nil:
		v.types, v.shape = s.Items.of(), s.Items
	case t&Maps == 0 && s != nil:
		v.types = anyJSON
	}
	c.vars = append(c.vars, v)
	c.condition(n.Args[1])
	c.vars = c.vars[:len(c.vars)-1]
	if t == 0 {
		return 0
	}
	return Bools
}
