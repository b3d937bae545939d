package expr

import (
	"fmt"
	"regexp"
	"unicode/utf8"
)

// A Mode says which names an expression may use.
type Mode int

const (
	// Filter is a list's filter: bare names are the record's fields, and record.x means the same; auth and now.
	Filter Mode = iota
	// Rule is an access rule or a check without a former state: record, auth and now.
	Rule
	// RuleUpdate is a rule or check of an update or delete: record, before, auth and now.
	RuleUpdate
)

// A Kind says what a node is, and so which of its members count.
type Kind uint8

// The kinds of nodes. Args are in the order of the text.
const (
	Literal Kind = iota // Value, never a list
	Field               // Root and Path (at least one name): record.a.b, or bare a.b in a filter
	Select              // Args[0].Name, where Args[0] is no Field: record.items[0].name
	Index               // Args[0][Args[1]], where Args[1] is no string literal if Args[0] is a Field
	List                // [Args...]
	Not                 // !Args[0]
	Neg                 // -Args[0]
	Binary              // Args[0] Op Args[1]: comparison, in, arithmetic
	And                 // Args[0] && Args[1] && …: two or more, none of them an And
	Or                  // Args[0] || Args[1] || …: two or more, none of them an Or
	Cond                // Args[0] ? Args[1] : Args[2]
	Has                 // has(Args[0]), a Field or a Select
	Call                // the function Name of Args; a method's receiver is Args[0]
	Exists              // Args[0].exists(Name, Args[1])
	All                 // Args[0].all(Name, Args[1])
	Var                 // the loop variable Name
	Now                 // the time of the request
	Failure             // always the error Name; made by Bind only, never by Parse
)

// An Op is the operator of a Binary node.
type Op uint8

// The binary operators.
const (
	OpNone Op = iota
	Equal
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
	In
	Add
	Subtract
	Multiply
	Divide
	Modulo
)

var opText = [...]string{
	Equal: "==", NotEqual: "!=", Less: "<", LessEqual: "<=", Greater: ">", GreaterEqual: ">=", In: "in",
	Add: "+", Subtract: "-", Multiply: "*", Divide: "/", Modulo: "%",
}

func (o Op) String() string { return opText[o] }

// Ordering reports whether o is <, <=, > or >=.
func (o Op) Ordering() bool { return o >= Less && o <= GreaterEqual }

// Swap is the operator that means the same with its operands exchanged; only for comparisons.
func (o Op) Swap() Op {
	switch o {
	case Less:
		return Greater
	case LessEqual:
		return GreaterEqual
	case Greater:
		return Less
	case GreaterEqual:
		return LessEqual
	}
	return o
}

// A Root is what a Field's path begins at.
type Root uint8

// The roots.
const (
	RecordRoot Root = iota // the record as stored, or as it is to be stored
	BeforeRoot             // the record as it was before an update or delete
	AuthRoot               // the caller
)

var rootText = [...]string{RecordRoot: "record", BeforeRoot: "before", AuthRoot: "auth"}

func (r Root) String() string { return rootText[r] }

// A Node is one node of an expression's tree. Nodes are never changed once made, so trees may share them.
type Node struct {
	Kind  Kind
	Op    Op
	Root  Root
	Value Value
	Path  []string
	Args  []*Node
	Name  string
	Pos   int // where it stands in Expr.Text, in bytes; an operator's is that of its sign

	re     *regexp.Regexp // of a Call of matches
	reSize int            // the regexp's instructions, at most maxPatternSize
}

// An Expr is a parsed expression. It is never changed, so any number of goroutines may share it.
type Expr struct {
	Root *Node
	Text string // as given to Parse; what Both made has none
	Mode Mode
}

// An Error is a fault of an expression: found by Parse, or met in an evaluation.
type Error struct {
	Pos       int // in bytes from the text's beginning
	Line, Col int // from 1, in characters; 0 where there is no text
	Msg       string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Msg
	}
	if e.Line == 1 {
		return fmt.Sprintf("column %d: %s", e.Col, e.Msg)
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Col, e.Msg)
}

func errorAt(text string, pos int, format string, args ...any) *Error {
	e := &Error{Pos: pos, Msg: fmt.Sprintf(format, args...)}
	e.Line, e.Col = lineCol(text, pos)
	return e
}

// lineCol says in which line and column, both from 1, the byte pos of text stands; 0, 0 if it doesn't.
func lineCol(text string, pos int) (line, col int) {
	if text == "" || pos < 0 || pos > len(text) {
		return 0, 0
	}
	line, start := 1, 0
	for i := 0; i < pos; i++ {
		if text[i] == '\n' {
			line, start = line+1, i+1
		}
	}
	return line, 1 + utf8.RuneCountInString(text[start:pos])
}

// A Use is one place where an expression reads a field.
type Use struct {
	Root Root
	Path []string
	Pos  int
}

// Fields lists every field of record and before that e reads, in the order of the text. A path stands for
// all that lies below it: where "a.b" is hidden, uses of "a", "a.b" and "a.b.c" all reveal something of it.
// A field's name is never computed (Parse refuses record[…] of anything but a string literal).
func (e *Expr) Fields() []Use {
	var uses []Use
	walk(e.Root, func(n *Node) {
		if n.Kind == Field && n.Root != AuthRoot {
			uses = append(uses, Use{n.Root, n.Path, n.Pos})
		}
	})
	return uses
}

// walk calls visit for n and all below it, parents first.
func walk(n *Node, visit func(*Node)) {
	visit(n)
	for _, a := range n.Args {
		walk(a, visit)
	}
}
