package expr

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// MaxSteps bounds one evaluation. A step is some 10 to 40 ns of work: a node visited, or 16 bytes of JSON walked
// through, so an evaluation ends within some tens of milliseconds whatever the record.
const MaxSteps = 1_000_000

// ErrBudget is the error of an evaluation that took more than MaxSteps, or than was left of Program.Budget.
var ErrBudget = errors.New("the expression takes too much work for these records: make it simpler, or test fewer elements")

// A Source gives the fields of one record as JSON: compact, valid, each string in its one canonical spelling.
type Source interface {
	// Field returns the JSON of the top-level field that Program.Fields()[slot] names, nil if the record has none.
	// It is called at most once for each slot and evaluation. The bytes must stay as they are until the next one.
	Field(slot int) []byte
}

// An Auth is what an expression sees of the caller.
type Auth struct {
	SignedIn bool // when it is false, auth has no members at all
	ID       string
	Email    string
	Roles    []string
	Verified bool
	Token    []byte // auth.token: {"scopes":[…]} as compact JSON; nil if the caller came by no API token
}

// An Env is what an expression is evaluated over. Members that are nil have no fields.
type Env struct {
	Record Source
	Before Source
	Auth   *Auth
	Now    time.Time
}

// An Object is a Source over a whole object's JSON, for records that are not stored yet.
type Object struct {
	Names []string // Program.Fields()
	JSON  []byte
}

// Field implements Source.
func (o *Object) Field(slot int) []byte { return member(o.JSON, o.Names[slot]) }

// tri is a truth value: CEL's booleans and errors.
type tri uint8

const (
	no tri = iota
	yes
	failed
)

func triOf(b bool) tri {
	if b {
		return yes
	}
	return no
}

// A Program is an expression made ready to run. It has scratch memory: it belongs to one goroutine at a time.
type Program struct {
	// Budget, if set, is lowered by the steps of each evaluation; once it is used up every evaluation fails with
	// ErrBudget. It bounds the work of a whole query.
	Budget *int64

	expr  *Expr
	match test
	value load // of the same tree; made by the first Eval
	names []string
	cost  int64 // of one evaluation without loops and long values

	// The state of one evaluation.
	env     *Env
	gen     uint64    // counts evaluations
	cells   [2][]cell // the fields of record and before, by slot
	vars    []Value   // the loop variables, by depth
	roles   []Value   // auth.roles; filling it again within one evaluation changes nothing
	scratch []byte    // where strings are decoded and joined
	steps   int64     // how many are left; below 0 the evaluation fails, whatever else comes out
	fault   fault     // the latest
}

// A cell keeps a field from its first use in an evaluation to the end of it.
type cell struct {
	raw []byte
	gen uint64 // of the evaluation raw belongs to
}

// Compile makes e ready to run.
func Compile(e *Expr) *Program {
	c := compiler{slots: make(map[string]int)}
	p := &Program{expr: e, match: c.test(e.Root)}
	c.finish(p)
	p.cost = nodes(e.Root)
	return p
}

func nodes(n *Node) int64 {
	count := int64(1)
	for _, a := range n.Args {
		if a.Kind != Literal {
			count += nodes(a)
		}
	}
	return count
}

// Fields names the top-level fields of record and before that the program reads, by slot.
func (p *Program) Fields() []string { return p.names }

// Match reports whether the expression is true of env. It allocates nothing but where strings with escapes are
// decoded or strings and lists are joined, and there only until its scratch memory is large enough.
func (p *Program) Match(env *Env) bool {
	p.begin(env)
	return p.end(p.match(p)) == yes
}

// Err is why the latest Match was neither true nor false, nil if it was: an *Error, or ErrBudget.
func (p *Program) Err() error {
	if p.fault.reason == noFault {
		return nil
	}
	return p.fault.error(p.expr.Text)
}

// Eval returns the value of the expression over env, or an *Error or ErrBudget. The value is valid until the
// next evaluation.
func (p *Program) Eval(env *Env) (Value, error) {
	if p.value == nil {
		c := compiler{slots: make(map[string]int), names: p.names}
		for i, name := range p.names {
			c.slots[name] = i
		}
		p.value = c.load(p.expr.Root)
		c.finish(p)
	}
	p.begin(env)
	var v Value
	result := failed
	if p.value(p, &v) {
		result = yes
	}
	if p.end(result) == failed {
		return Value{}, p.Err()
	}
	return v, nil
}

// maxScratch is how much scratch memory is kept from one evaluation to the next.
const maxScratch = 64 << 10

func (p *Program) begin(env *Env) {
	p.env = env
	p.gen++
	if cap(p.scratch) > maxScratch {
		p.scratch = nil
	}
	p.scratch = p.scratch[:0]
	p.steps = MaxSteps
	if p.Budget != nil {
		p.steps = min(p.steps, *p.Budget)
		*p.Budget -= p.steps // what is left comes back in end
	}
	p.steps -= p.cost
}

func (p *Program) end(result tri) tri {
	if p.Budget != nil {
		*p.Budget += p.steps
	}
	if p.steps < 0 {
		p.fault = fault{reason: overBudget}
		return failed
	}
	if result != failed {
		p.fault.reason = noFault
	}
	return result
}

// charge takes steps from the budget and reports whether there were enough.
func (p *Program) charge(steps int) bool {
	p.steps -= int64(steps)
	return p.steps >= 0
}

// Steps for work that grows with the length of JSON or text: walking, searching and copying, and comparing.
func walking(b []byte) int   { return len(b) >> 4 }
func comparing(b []byte) int { return len(b) >> 6 }

// A fault is why an evaluation failed, noted without allocating: most records that don't match, don't because
// of one.
type fault struct {
	reason reason
	a, b   Type
	n      *Node
}

type reason uint8

const (
	noFault reason = iota
	overBudget
	missing     // the field n is not there
	notSignedIn // the field n of auth
	noMember    // n selects or indexes what isn't there
	noObject    // n selects from an a
	notBool     // n is an a
	noOperation // n's operator is not made for a and b
	noFunction  // n's function is not made for a
	noRange     // n goes through an a
	overflow    // n's result is out of range
	divisionByZero
	notWhole     // n divides numbers with a fraction by %
	badTimestamp // n
	badDuration  // n
	always       // n, a Failure
)

// fail notes why the evaluation of n fails.
func (p *Program) fail(r reason, n *Node, types ...Type) tri {
	p.fault = fault{reason: r, n: n}
	if len(types) > 0 {
		p.fault.a = types[0]
	}
	if len(types) > 1 {
		p.fault.b = types[1]
	}
	return failed
}

func (f *fault) error(text string) error {
	switch f.reason {
	case overBudget:
		return ErrBudget
	case missing:
		name := path(f.n)
		return errorAt(text, f.n.Pos, "%s is missing: test has(%s) first", name, name)
	case notSignedIn:
		name := path(f.n)
		return errorAt(text, f.n.Pos, "nobody is signed in, so there is no %s: test has(%s) first", name, name)
	case noMember:
		if f.n.Kind == Select {
			return errorAt(text, f.n.Pos, "%s is missing: test has(%s) first", format(f.n), format(f.n))
		}
		return errorAt(text, f.n.Pos, "there is nothing at this index")
	case noObject:
		return errorAt(text, f.n.Pos, "%v has no members", f.a)
	case notBool:
		return errorAt(text, f.n.Pos, "expected true or false here, not %v", f.a)
	case noOperation:
		if f.n.Op.Ordering() {
			if f.a == f.b {
				return errorAt(text, f.n.Pos, "%v and another have no order", f.a)
			}
			return errorAt(text, f.n.Pos, "%v and %v have no order", f.a, f.b)
		}
		return errorAt(text, f.n.Pos, "%q does not work on %v and %v", f.n.Op, f.a, f.b)
	case noFunction:
		if f.n.Kind == Neg {
			return errorAt(text, f.n.Pos, "%v cannot be negated", f.a)
		}
		return errorAt(text, f.n.Pos, "%s does not work on %v", f.n.Name, f.a)
	case noRange:
		return errorAt(text, f.n.Pos, "expected a list to go through, not %v", f.a)
	case overflow:
		return errorAt(text, f.n.Pos, "the result is out of range")
	case divisionByZero:
		return errorAt(text, f.n.Pos, "division by zero")
	case notWhole:
		return errorAt(text, f.n.Pos, "%% works on whole numbers only")
	case badTimestamp:
		return errorAt(text, f.n.Pos, `timestamp: the text is not written as "2026-11-20T09:30:00Z"`)
	case badDuration:
		return errorAt(text, f.n.Pos, `duration: the text is not written as "90s" or "1h30m"`)
	}
	return errorAt(text, f.n.Pos, "%s", f.n.Name)
}

// An Equality is a condition that any record must meet for the program to match: its field in that slot has
// exactly this JSON, in the canonical spelling.
type Equality struct {
	Slot int
	JSON []byte
}

// Equalities are the conditions field == literal that stand in the expression's outermost &&. Values that
// could be spelled in more than one way (fractions, control characters) are left out.
func (p *Program) Equalities() []Equality {
	conjuncts := []*Node{p.expr.Root}
	if p.expr.Root.Kind == And {
		conjuncts = p.expr.Root.Args
	}
	var equalities []Equality
	for _, n := range conjuncts {
		if n.Kind != Binary || n.Op != Equal {
			continue
		}
		field, value := n.Args[0], n.Args[1]
		if field.Kind == Literal {
			field, value = value, field
		}
		if field.Kind != Field || field.Root != RecordRoot || len(field.Path) != 1 || value.Kind != Literal {
			continue
		}
		json, ok := spelling(value.Value)
		for slot, name := range p.names {
			if ok && name == field.Path[0] {
				equalities = append(equalities, Equality{slot, json})
			}
		}
	}
	return equalities
}

// spelling is the JSON of v if there is only one canonical way to write it.
func spelling(v Value) (json []byte, ok bool) {
	switch v.typ {
	case TypeNull, TypeBool:
		return v.AppendJSON(nil), true
	case TypeString:
		return v.AppendJSON(nil), strings.IndexFunc(string(v.b), func(r rune) bool { return r < ' ' }) < 0
	case TypeInt, TypeDouble:
		i, ok := v.whole()
		if !ok || i == 0 || i > 1<<53 || i < -1<<53 { // 0 can be written as -0
			return nil, false
		}
		return fmt.Appendf(nil, "%d", i), math.Abs(v.float()) <= 1<<53
	}
	return nil, false
}
