package expr

import (
	"slices"
	"time"
	"unicode/utf8"
)

// Bind evaluates all of e that the caller and the time decide and returns what is left. Over any record, the result
// has the value that e has, or is an error where e is one (perhaps another one). What is left still
// refers to auth where auth.token meets the record, so it is evaluated with the same Env.Auth.
//
// An error is kept as a Failure: it makes everything around it one, but for && and ||, which the record can still
// decide. AlwaysFalse tells whether it can.
func Bind(e *Expr, auth *Auth, now time.Time) *Expr {
	b := binder{env: Env{Auth: auth, Now: now}, text: e.Text}
	return &Expr{Root: b.node(e.Root), Text: e.Text, Mode: e.Mode}
}

type binder struct {
	env  Env
	text string
}

func (b *binder) node(n *Node) *Node {
	switch {
	case n.Kind == Literal || n.Kind == Failure || n.Kind == Var:
		return n
	case constant(n, nil):
		if folded := b.fold(n); folded != nil {
			return folded
		}
	}
	if n.Kind == Field {
		return n
	}
	if n.Kind == Has {
		return b.has(n)
	}
	n = b.args(n)
	switch n.Kind {
	case And:
		return junction(n, false)
	case Or:
		return junction(n, true)
	case Cond:
		return cond(n)
	case Exists, All:
		if n.Args[0].Kind == Failure {
			return n.Args[0]
		}
		return n
	}
	for _, a := range n.Args { // all others need all of their arguments
		if a.Kind == Failure {
			return a
		}
	}
	if from := n.Args[0]; n.Kind == Index && from.Kind == Field && n.Args[1].Kind == Literal && n.Args[1].Value.typ == TypeString {
		name := n.Args[1].Value.Text()
		return &Node{Kind: Field, Root: from.Root, Pos: from.Pos, Path: append(slices.Clip(from.Path), name)}
	}
	return n
}

// args binds n's arguments. It returns n itself if that changes none.
func (b *binder) args(n *Node) *Node {
	var bound *Node
	for i, a := range n.Args {
		arg := b.node(a)
		if arg == a {
			continue
		}
		if bound == nil {
			bound = new(*n)
			bound.Args = slices.Clone(n.Args)
		}
		bound.Args[i] = arg
	}
	if bound == nil {
		return n
	}
	return bound
}

// constant reports whether n refers to no record and to no loop variable but those in scope.
func constant(n *Node, scope []string) bool {
	switch n.Kind {
	case Field:
		return n.Root == AuthRoot
	case Var:
		return slices.Contains(scope, n.Name)
	case Exists, All:
		return constant(n.Args[0], scope) && constant(n.Args[1], append(slices.Clip(scope), n.Name))
	}
	for _, a := range n.Args {
		if !constant(a, scope) {
			return false
		}
	}
	return true
}

// fold evaluates n; nil if its value cannot be written as an expression.
func (b *binder) fold(n *Node) *Node {
	if n.Kind == List && written(n) {
		return n
	}
	v, err := Compile(&Expr{Root: n, Text: b.text}).Eval(&b.env)
	if err != nil {
		msg := err.Error()
		if e, ok := err.(*Error); ok {
			msg = e.Msg
		}
		return &Node{Kind: Failure, Pos: n.Pos, Name: msg}
	}
	return literal(&v, n.Pos)
}

// written reports whether a list has but literals in it.
func written(n *Node) bool {
	for _, a := range n.Args {
		if a.Kind != Literal {
			return false
		}
	}
	return true
}

// literal is v as a node, a copy of its own; nil if there is no way to write it.
func literal(v *Value, pos int) *Node {
	switch v.typ {
	case TypeMap:
		return nil
	case TypeDouble:
		if f := v.float(); f-f != 0 {
			return nil // infinities and NaN
		}
	case TypeString:
		if !utf8.Valid(v.b) {
			return nil
		}
		return &Node{Kind: Literal, Pos: pos, Value: StringValue(string(v.b))}
	case TypeList:
		n := &Node{Kind: List, Pos: pos}
		var element Value
		var p Program
		p.steps = MaxSteps
		for it := (iterator{of: v}); it.next(&p, &element); {
			e := literal(&element, pos)
			if e == nil {
				return nil
			}
			n.Args = append(n.Args, e)
		}
		return n
	}
	return &Node{Kind: Literal, Pos: pos, Value: *v}
}

// has leaves the argument's path alone: only what it stands in is evaluated.
func (b *binder) has(n *Node) *Node {
	arg := n.Args[0]
	if arg.Kind == Field {
		return n
	}
	from := b.node(arg.Args[0])
	switch {
	case from.Kind == Failure:
		return from
	case from == arg.Args[0]:
		return n
	}
	selected, bound := *arg, *n
	selected.Args = []*Node{from}
	bound.Args = []*Node{&selected}
	return &bound
}

// junction simplifies && (decisive false) and || (decisive true).
func junction(n *Node, decisive bool) *Node {
	var rest []*Node
	var failure, neutral *Node
	for _, a := range n.Args {
		switch {
		case a.Kind == Literal && a.Value.typ == TypeBool && a.Value.Bool() == decisive:
			return a
		case a.Kind == Literal && a.Value.typ == TypeBool:
			neutral = a
		case a.Kind == Failure:
			failure = a
		case a.Kind == Literal || a.Kind == List:
			failure = &Node{Kind: Failure, Pos: a.Pos, Name: "expected true or false here"}
		default:
			rest = flat(rest, n.Kind, a)
		}
	}
	if failure != nil {
		rest = append(rest, failure)
	}
	switch {
	case slices.Equal(rest, n.Args):
		return n
	case len(rest) == 0:
		return neutral
	case len(rest) == 1 && (failure != nil || condition(rest[0])):
		return rest[0]
	case len(rest) == 1:
		rest = append(rest, neutral) // it makes an error of what is no bool
	}
	return &Node{Kind: n.Kind, Pos: n.Pos, Args: rest}
}

// condition reports whether n yields a bool or an error, whatever the record.
func condition(n *Node) bool {
	switch n.Kind {
	case Literal:
		return n.Value.typ == TypeBool
	case And, Or, Not, Has, Exists, All, Failure:
		return true
	case Binary:
		return n.Op <= In
	case Call:
		switch n.Name {
		case "startsWith", "endsWith", "contains", "matches":
			return true
		}
	case Cond:
		return condition(n.Args[1]) && condition(n.Args[2])
	}
	return false
}

func cond(n *Node) *Node {
	switch c := n.Args[0]; {
	case c.Kind == Failure:
		return c
	case c.Kind == Literal && c.Value.typ == TypeBool:
		if c.Value.Bool() {
			return n.Args[1]
		}
		return n.Args[2]
	case c.Kind == Literal || c.Kind == List:
		return &Node{Kind: Failure, Pos: c.Pos, Name: "expected true or false here"}
	}
	return n
}

// Both is a && b; a nil one counts as true.
func Both(a, b *Expr) *Expr {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	args := flat(flat(nil, And, a.Root), And, b.Root)
	return &Expr{Root: &Node{Kind: And, Args: args}, Mode: max(a.Mode, b.Mode)}
}

// AlwaysTrue reports whether e is the constant true, as Bind may leave it.
func (e *Expr) AlwaysTrue() bool { return e.Root.Kind == Literal && e.Root.Value.Bool() }

// AlwaysFalse reports whether e can be seen to match nothing: it is false or an error whatever the record.
func (e *Expr) AlwaysFalse() bool { return hopeless(e.Root) }

// hopeless reports whether n is never true, as far as its literals and Failures tell.
func hopeless(n *Node) bool {
	switch n.Kind {
	case Literal:
		return !n.Value.Bool()
	case Failure, List:
		return true
	case And:
		for _, a := range n.Args {
			if hopeless(a) {
				return true
			}
		}
	case Or:
		for _, a := range n.Args {
			if !hopeless(a) {
				return false
			}
		}
		return true
	case Cond:
		return (hopeless(n.Args[0]) || hopeless(n.Args[1])) && hopeless(n.Args[2])
	}
	return false
}

// Trim returns an expression that matches the same records as e, without the branches of || that can never be
// true. It may be false where e is an error, so it serves to choose and filter, not to explain.
func Trim(e *Expr) *Expr { return &Expr{Root: trim(e.Root), Text: e.Text, Mode: e.Mode} }

func trim(n *Node) *Node {
	if hopeless(n) {
		return &Node{Kind: Literal, Pos: n.Pos, Value: FalseValue}
	}
	if n.Kind != And && n.Kind != Or {
		return n
	}
	trimmed := &Node{Kind: n.Kind, Pos: n.Pos}
	for _, a := range n.Args {
		if n.Kind == And || !hopeless(a) {
			trimmed.Args = flat(trimmed.Args, n.Kind, trim(a))
		}
	}
	if len(trimmed.Args) == 1 {
		return trimmed.Args[0]
	}
	return trimmed
}
