package expr

import (
	"math"
	"unicode/utf8"
)

// The limits of an expression. They bound the stack and the time of everything that walks its tree.
const (
	MaxText     = 4 << 10 // bytes
	MaxDepth    = 50      // of parentheses, lists, calls, indexes, conditions, ! and unary minus
	MaxNodes    = 200     // literals that are elements of a list not counted
	MaxElements = 1000    // of one list literal
)

// Parse parses text. An error it returns is an *Error.
func Parse(text string, mode Mode) (*Expr, error) {
	if len(text) > MaxText {
		return nil, errorAt(text, MaxText, "the expression is too long: it has %d bytes, %d are allowed", len(text), MaxText)
	}
	for i, r := range text {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(text[i:]); n == 1 {
				return nil, errorAt(text, i, "the text is not valid UTF-8")
			}
		}
	}
	p := &parser{lexer: lexer{text: text}, mode: mode}
	p.advance()
	root := p.expr()
	if p.tok.kind != endToken {
		p.unexpected("an operator or the end of the expression")
	}
	if p.err != nil {
		return nil, p.err
	}
	return &Expr{Root: root, Text: text, Mode: mode}, nil
}

// A parser goes down the grammar by recursion. After the first error every token is the end of the text, so that
// all its loops end, and the nodes it returns are not used.
type parser struct {
	lexer
	mode  Mode
	tok   token
	vars  []string // the loop variables in scope, innermost last
	depth int
	nodes int
}

func (p *parser) advance() { p.tok = p.next() }

// fail notes the error, if it is the first, and stops the lexer.
func (p *parser) fail(pos int, format string, args ...any) {
	p.lexer.fail(pos, format, args...)
	p.tok = token{kind: endToken, pos: len(p.text)}
}

func (p *parser) unexpected(expected string) {
	switch {
	case p.tok.kind == identToken && p.tok.text == "and":
		p.fail(p.tok.pos, `found "and": write "&&"`)
	case p.tok.kind == identToken && p.tok.text == "or":
		p.fail(p.tok.pos, `found "or": write "||"`)
	case p.tok.kind == identToken && p.tok.text == "not":
		p.fail(p.tok.pos, `found "not": write "!"`)
	default:
		p.fail(p.tok.pos, "expected %s but found %v", expected, p.tok)
	}
}

func (p *parser) is(sign string) bool { return p.tok.kind == signToken && p.tok.text == sign }

// accept goes behind the sign if it is the next token.
func (p *parser) accept(sign string) bool {
	if p.is(sign) {
		p.advance()
		return true
	}
	return false
}

func (p *parser) expect(sign string) {
	if !p.accept(sign) {
		p.unexpected(`"` + sign + `"`)
	}
}

func (p *parser) enter(pos int) {
	if p.depth++; p.depth > MaxDepth+1 { // the whole expression itself is level 1
		p.fail(pos, "the expression is nested too deeply: %d levels are allowed", MaxDepth)
	}
}

func (p *parser) node(n Node) *Node {
	if p.nodes++; p.nodes > MaxNodes {
		p.fail(n.Pos, "the expression is too large: %d names, values and operators are allowed", MaxNodes)
	}
	return &n
}

// expr = or [ "?" or ":" expr ]
func (p *parser) expr() *Node {
	p.enter(p.tok.pos)
	defer func() { p.depth-- }()
	n := p.or()
	if !p.is("?") {
		return n
	}
	pos := p.tok.pos
	p.advance()
	yes := p.or()
	p.expect(":")
	return p.node(Node{Kind: Cond, Pos: pos, Args: []*Node{n, yes, p.expr()}})
}

func (p *parser) or() *Node  { return p.chain(Or, "||", p.and) }
func (p *parser) and() *Node { return p.chain(And, "&&", p.relation) }

// chain parses operands joined by sign into one flat node.
func (p *parser) chain(kind Kind, sign string, operand func() *Node) *Node {
	n := operand()
	if !p.is(sign) {
		return n
	}
	joined := p.node(Node{Kind: kind, Pos: p.tok.pos})
	joined.Args = flat(joined.Args, kind, n)
	for p.accept(sign) {
		joined.Args = flat(joined.Args, kind, operand())
	}
	return joined
}

// flat appends n to the operands of an And or Or, or n's own operands if it is one itself. That changes no
// result: both are associative, errors included.
func flat(args []*Node, kind Kind, n *Node) []*Node {
	if n.Kind == kind {
		return append(args, n.Args...)
	}
	return append(args, n)
}

var (
	relations       = map[string]Op{"==": Equal, "!=": NotEqual, "<": Less, "<=": LessEqual, ">": Greater, ">=": GreaterEqual, "in": In}
	sums            = map[string]Op{"+": Add, "-": Subtract}
	products        = map[string]Op{"*": Multiply, "/": Divide, "%": Modulo}
	constantsByName = map[string]Value{"true": TrueValue, "false": FalseValue, "null": NullValue}
)

func (p *parser) relation() *Node { return p.binary(relations, p.sum) }
func (p *parser) sum() *Node      { return p.binary(sums, p.product) }
func (p *parser) product() *Node  { return p.binary(products, p.unary) }

// binary parses operands joined by one of ops, the left ones first.
func (p *parser) binary(ops map[string]Op, operand func() *Node) *Node {
	n := operand()
	for {
		op := ops[p.tok.text]
		if op == OpNone || p.tok.kind != signToken && p.tok.kind != identToken {
			return n
		}
		pos := p.tok.pos
		p.advance()
		n = p.node(Node{Kind: Binary, Op: op, Pos: pos, Args: []*Node{n, operand()}})
	}
}

// unary = { "!" } member | { "-" } member. Pairs of either cancel each other, as in cel-go.
func (p *parser) unary() *Node {
	kind, sign := Not, "!"
	if p.is("-") {
		kind, sign = Neg, "-"
	} else if !p.is("!") {
		return p.member(p.primary())
	}
	pos, count := p.tok.pos, 0
	for ; p.is(sign); p.advance() {
		p.enter(p.tok.pos)
		count++
	}
	defer func() { p.depth -= count }()
	if kind == Neg && count == 1 && (p.tok.kind == intToken || p.tok.kind == doubleToken) {
		return p.member(p.number(pos, true))
	}
	n := p.member(p.primary())
	if count%2 == 0 {
		return n
	}
	if kind == Neg && n.Kind == Literal {
		if v, ok := negated(n.Value); ok {
			return p.node(Node{Kind: Literal, Pos: pos, Value: v})
		}
	}
	return p.node(Node{Kind: kind, Pos: pos, Args: []*Node{n}})
}

// negated is -v, if v is a number that has one.
func negated(v Value) (Value, bool) {
	switch {
	case v.typ == TypeInt && v.Int() != math.MinInt64:
		return IntValue(-v.Int()), true
	case v.typ == TypeDouble:
		return DoubleValue(-v.float()), true
	}
	return v, false
}

// number makes the number that is the next token a literal; its sign, if any, is at pos.
func (p *parser) number(pos int, negative bool) *Node {
	v := DoubleValue(p.tok.double)
	if p.tok.kind == intToken {
		limit := uint64(math.MaxInt64)
		if negative {
			limit++
		}
		if p.tok.num > limit {
			p.fail(p.tok.pos, "the number %s is too large: use a double, %s.0", p.tok.text, p.tok.text)
		}
		v = IntValue(int64(p.tok.num))
	}
	if negative {
		v.setNegative()
	}
	p.advance()
	return p.node(Node{Kind: Literal, Pos: pos, Value: v})
}

// setNegative changes the sign of a number; the least int, read as its magnitude, keeps its bits.
func (v *Value) setNegative() {
	if v.typ == TypeInt {
		v.setInt(-v.Int())
	} else {
		v.setDouble(-v.float())
	}
}

// primary = literal | name | function "(" … ")" | "(" expr ")" | "[" … "]"
func (p *parser) primary() *Node {
	t := p.tok
	switch t.kind {
	case intToken, doubleToken:
		return p.number(t.pos, false)
	case stringToken:
		p.advance()
		return p.node(Node{Kind: Literal, Pos: t.pos, Value: StringValue(t.str)})
	case identToken:
		p.advance()
		if v, ok := constantsByName[t.text]; ok {
			return p.node(Node{Kind: Literal, Pos: t.pos, Value: v})
		}
		if p.is("(") {
			return p.call(t, nil)
		}
		return p.name(t)
	}
	switch {
	case p.accept("-"):
		if p.tok.kind == intToken || p.tok.kind == doubleToken {
			return p.number(t.pos, true)
		}
		p.tok = t
	case p.accept("("):
		n := p.expr()
		p.expect(")")
		return n
	case p.is("["):
		return p.list()
	}
	p.unexpected("a value or a name")
	return &Node{}
}

func (p *parser) list() *Node {
	n := p.node(Node{Kind: List, Pos: p.tok.pos})
	p.advance()
	for !p.is("]") {
		e := p.expr()
		if e.Kind == Literal {
			p.nodes--
		}
		if n.Args = append(n.Args, e); len(n.Args) > MaxElements {
			p.fail(e.Pos, "the list is too long: %d elements are allowed", MaxElements)
		}
		if !p.accept(",") {
			break
		}
	}
	if !p.accept("]") {
		p.unexpected(`"," or "]"`)
	}
	return n
}

// member = primary { "." name | "." method "(" … ")" | "[" expr "]" }
func (p *parser) member(n *Node) *Node {
	for {
		pos := p.tok.pos
		switch {
		case p.accept("."):
			n = p.selection(n)
		case p.accept("["):
			index := p.expr()
			p.expect("]")
			n = p.index(n, index, pos)
		default:
			p.refuseAlone(n)
			return n
		}
	}
}

// selection parses what stands behind the dot behind n.
func (p *parser) selection(n *Node) *Node {
	t := p.tok
	if t.kind != identToken {
		p.unexpected("a name")
		return n
	}
	p.advance()
	if p.is("(") {
		p.refuseAlone(n)
		return p.call(t, n)
	}
	if _, ok := constantsByName[t.text]; ok || t.text == "in" {
		p.fail(t.pos, "%q is a reserved word: write [%q] in place of .%s", t.text, t.text, t.text)
		return n
	}
	if n.Kind == Field {
		p.extend(n, t.text, t.pos)
		return n
	}
	return p.node(Node{Kind: Select, Pos: t.pos, Name: t.text, Args: []*Node{n}})
}

func (p *parser) index(n, index *Node, pos int) *Node {
	if n.Kind == Field {
		if index.Kind == Literal && index.Value.typ == TypeString {
			p.nodes-- // it is a part of n now
			p.extend(n, index.Value.Text(), index.Pos)
			return n
		}
		if len(n.Path) == 0 {
			p.fail(index.Pos, `a field's name cannot be computed: write %v["name"]`, n.Root)
		}
	}
	return p.node(Node{Kind: Index, Pos: pos, Args: []*Node{n, index}})
}

// extend makes n the field of that name in what n was.
func (p *parser) extend(n *Node, name string, pos int) {
	n.Path = append(n.Path, name)
	if n.Root != AuthRoot {
		return
	}
	var known []string
	switch len(n.Path) {
	case 1:
		known = authNames
	case 2:
		known = []string{"scopes"}
	}
	for _, k := range known {
		if k == name && (len(n.Path) == 1 || n.Path[0] == "token") {
			return
		}
	}
	if len(n.Path) == 1 {
		p.fail(pos, "auth has no %q: it has id, email, roles, verified and token", name)
	} else if n.Path[0] == "token" {
		p.fail(pos, "auth.token has no %q: it has scopes", name)
	} else {
		p.fail(pos, "auth.%s has no %q: it is no object", n.Path[0], name)
	}
}

var authNames = []string{"id", "email", "roles", "verified", "token"}

// refuseAlone refuses record, before and auth as values of their own: a whole record could be searched for
// fields that the caller may not read.
func (p *parser) refuseAlone(n *Node) {
	if n.Kind == Field && len(n.Path) == 0 {
		p.fail(n.Pos, "%v alone is not a value: write %v.name for one of its fields", n.Root, n.Root)
	}
}

var reserved = map[string]bool{
	"as": true, "break": true, "const": true, "continue": true, "else": true, "for": true, "function": true,
	"if": true, "import": true, "in": true, "let": true, "loop": true, "package": true, "namespace": true,
	"return": true, "var": true, "void": true, "while": true,
}

// name resolves a bare name.
func (p *parser) name(t token) *Node {
	for i := len(p.vars) - 1; i >= 0; i-- {
		if p.vars[i] == t.text {
			return p.node(Node{Kind: Var, Pos: t.pos, Name: t.text})
		}
	}
	switch {
	case t.text == "now":
		return p.node(Node{Kind: Now, Pos: t.pos})
	case t.text == "auth":
		return p.node(Node{Kind: Field, Root: AuthRoot, Pos: t.pos})
	case t.text == "record":
		return p.node(Node{Kind: Field, Root: RecordRoot, Pos: t.pos})
	case t.text == "before" && p.mode == RuleUpdate:
		return p.node(Node{Kind: Field, Root: BeforeRoot, Pos: t.pos})
	case t.text == "before" && p.mode == Rule:
		p.fail(t.pos, "before exists only in the rules of update and delete")
	case reserved[t.text]:
		p.fail(t.pos, "%q is a reserved word: write record[%q] for the field", t.text, t.text)
	case p.mode == Filter:
		return p.node(Node{Kind: Field, Root: RecordRoot, Path: []string{t.text}, Pos: t.pos})
	default:
		p.fail(t.pos, "unknown name %q: write record.%s for the field", t.text, t.text)
	}
	return &Node{}
}
