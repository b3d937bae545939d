package expr

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// String prints the expression so that Parse, in any mode that knows its names, makes the same tree of it. Three
// things that Bind makes have no text of their own: a Failure prints as error("…"), objects as JSON, and infinite
// doubles by name.
func (e *Expr) String() string { return format(e.Root) }

func format(n *Node) string {
	var w printer
	w.node(n, 0)
	return w.String()
}

// path is a Field as text: record.a.b, record["in"].
func path(n *Node) string {
	var w printer
	w.path(n)
	return w.String()
}

// The binding powers of the operators, from the loosest.
const (
	condPower = iota + 1
	orPower
	andPower
	relationPower
	sumPower
	productPower
	unaryPower
	memberPower
)

func power(n *Node) int {
	switch n.Kind {
	case Cond:
		return condPower
	case Or:
		return orPower
	case And:
		return andPower
	case Binary:
		switch {
		case n.Op <= In:
			return relationPower
		case n.Op <= Subtract:
			return sumPower
		}
		return productPower
	case Not, Neg:
		return unaryPower
	case Literal:
		if n.Value.Number() && math.Signbit(n.Value.float()) {
			return unaryPower
		}
	}
	return memberPower
}

type printer struct{ strings.Builder }

// node prints n, in parentheses if it binds less than least.
func (w *printer) node(n *Node, least int) {
	bound := power(n)
	if bound < least {
		w.WriteByte('(')
		defer w.WriteByte(')')
	}
	switch n.Kind {
	case Literal:
		w.value(&n.Value)
	case Field:
		w.path(n)
	case Select:
		w.node(n.Args[0], memberPower)
		w.WriteByte('.')
		w.WriteString(n.Name)
	case Index:
		w.node(n.Args[0], memberPower)
		w.WriteByte('[')
		w.node(n.Args[1], 0)
		w.WriteByte(']')
	case List:
		w.WriteByte('[')
		w.list(n.Args)
		w.WriteByte(']')
	case Not:
		w.WriteByte('!')
		w.operand(n.Args[0])
	case Neg:
		w.WriteByte('-')
		w.operand(n.Args[0])
	case Binary:
		w.node(n.Args[0], bound)
		w.WriteString(" " + n.Op.String() + " ")
		w.node(n.Args[1], bound+1)
	case And:
		w.chain(n.Args, " && ", andPower)
	case Or:
		w.chain(n.Args, " || ", orPower)
	case Cond:
		w.node(n.Args[0], orPower)
		w.WriteString(" ? ")
		w.node(n.Args[1], orPower)
		w.WriteString(" : ")
		w.node(n.Args[2], condPower)
	case Has:
		w.WriteString("has(")
		w.node(n.Args[0], 0)
		w.WriteByte(')')
	case Call:
		w.call(n)
	case Exists, All:
		w.node(n.Args[0], memberPower)
		if n.Kind == Exists {
			w.WriteString(".exists(")
		} else {
			w.WriteString(".all(")
		}
		w.WriteString(n.Name + ", ")
		w.node(n.Args[1], 0)
		w.WriteByte(')')
	case Var:
		w.WriteString(n.Name)
	case Now:
		w.WriteString("now")
	case Failure:
		w.WriteString("error(")
		w.text(n.Name)
		w.WriteByte(')')
	}
}

// operand prints what stands behind ! or -, where another sign would cancel the first or become a number's.
func (w *printer) operand(n *Node) {
	if n.Kind == Literal && n.Value.Number() {
		w.node(n, memberPower+1)
		return
	}
	w.node(n, memberPower)
}

func (w *printer) chain(args []*Node, sign string, bound int) {
	for i, a := range args {
		if i > 0 {
			w.WriteString(sign)
		}
		w.node(a, bound+1)
	}
}

func (w *printer) list(args []*Node) {
	for i, a := range args {
		if i > 0 {
			w.WriteString(", ")
		}
		w.node(a, 0)
	}
}

func (w *printer) call(n *Node) {
	args := n.Args
	if functions[n.Name].method {
		w.node(args[0], memberPower)
		w.WriteByte('.')
		args = args[1:]
	}
	w.WriteString(n.Name + "(")
	w.list(args)
	w.WriteByte(')')
}

func (w *printer) path(n *Node) {
	w.WriteString(n.Root.String())
	for _, name := range n.Path {
		if isName(name) {
			w.WriteString("." + name)
		} else {
			w.WriteByte('[')
			w.text(name)
			w.WriteByte(']')
		}
	}
}

// isName reports whether a name can stand behind a dot.
func isName(s string) bool {
	if s == "" || s == "in" || s == "true" || s == "false" || s == "null" || isDigit(s[0]) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !isLetter(s[i]) && !isDigit(s[i]) {
			return false
		}
	}
	return true
}

func (w *printer) value(v *Value) {
	switch v.typ {
	case TypeString:
		w.text(string(v.b))
	case TypeDouble:
		f := math.Float64frombits(v.num)
		s := strconv.FormatFloat(f, 'g', -1, 64)
		if f == math.Trunc(f) && !strings.ContainsAny(s, "e.") {
			s += ".0"
		}
		w.WriteString(s)
	case TypeTimestamp:
		w.WriteString(`timestamp("` + v.Time().Format(time.RFC3339Nano) + `")`)
	case TypeDuration:
		w.WriteString(`duration("` + v.Duration().String() + `")`)
	default:
		w.WriteString(v.String())
	}
}

// text prints a string literal. Go's escapes are CEL's, but for those of invalid UTF-8, which no text holds.
func (w *printer) text(s string) { w.WriteString(strconv.Quote(s)) }
