package expr

import (
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
)

// A signature says how a function is called. All but has, exists and all take values.
type signature struct {
	function bool // f(x)
	method   bool // x.f()
	args     int  // the receiver counted
}

var functions = map[string]signature{
	"size":       {function: true, method: true, args: 1},
	"matches":    {function: true, method: true, args: 2},
	"timestamp":  {function: true, args: 1},
	"duration":   {function: true, args: 1},
	"startsWith": {method: true, args: 2},
	"endsWith":   {method: true, args: 2},
	"contains":   {method: true, args: 2},
	"lowerAscii": {method: true, args: 1},

	"has":    {function: true, args: 1},
	"exists": {method: true, args: 3},
	"all":    {method: true, args: 3},
}

var functionNames = slices.Sorted(maps.Keys(functions))

// call parses a call of the function t, whose "(" is the next token; receiver is nil if it is no method's.
func (p *parser) call(t token, receiver *Node) *Node {
	sig, ok := functions[t.text]
	switch {
	case !ok && receiver == nil && reserved[t.text]:
		p.fail(t.pos, "%q is a reserved word", t.text)
	case !ok:
		p.fail(t.pos, "unknown function %q%s", t.text, didYouMean(t.text, functionNames))
	case receiver == nil && !sig.function:
		p.fail(t.pos, "%s is called on a value: write x.%s(…)", t.text, t.text)
	case receiver != nil && !sig.method:
		p.fail(t.pos, "%s is not called on a value: write %s(…)", t.text, t.text)
	}
	p.advance()
	if p.err != nil {
		return &Node{}
	}
	if t.text == "exists" || t.text == "all" {
		return p.comprehension(t, receiver)
	}
	n := Node{Kind: Call, Pos: t.pos, Name: t.text}
	if receiver != nil {
		n.Args = append(n.Args, receiver)
	}
	for !p.is(")") {
		if len(n.Args) == sig.args {
			p.fail(p.tok.pos, `%s takes no further argument: expected ")"`, t.text)
		}
		n.Args = append(n.Args, p.expr())
		if !p.accept(",") {
			break
		}
	}
	if p.err == nil && len(n.Args) < sig.args {
		p.fail(p.tok.pos, "expected another argument of %s but found %v", t.text, p.tok)
	}
	p.expect(")")
	if p.err != nil {
		return &n
	}
	switch t.text {
	case "has":
		if k := n.Args[0].Kind; k != Field && k != Select {
			p.fail(n.Args[0].Pos, "has() asks for a field: write has(record.name)")
		}
		n.Kind, n.Name = Has, ""
	case "matches":
		p.pattern(&n)
	case "timestamp", "duration":
		if v, ok := p.time(&n); ok {
			return &Node{Kind: Literal, Pos: t.pos, Value: v} // in the place of its argument, so counted already
		}
	}
	return p.node(n)
}

// comprehension parses the arguments of exists and all: a variable and a condition.
func (p *parser) comprehension(t token, receiver *Node) *Node {
	n := Node{Kind: Exists, Pos: t.pos, Name: p.tok.text}
	if t.text == "all" {
		n.Kind = All
	}
	v := p.tok
	p.advance()
	_, constant := constantsByName[v.text]
	switch {
	case v.kind != identToken || !p.is(","):
		p.fail(v.pos, "%s takes a name and a condition: write %s(x, x > 0)", t.text, t.text)
	case reserved[v.text] || constant:
		p.fail(v.pos, "%q is a reserved word: choose another name", v.text)
	case v.text == "record" || v.text == "before" || v.text == "auth" || v.text == "now":
		p.fail(v.pos, "%q has a meaning already: choose another name", v.text)
	}
	p.expect(",")
	p.vars = append(p.vars, v.text)
	body := p.expr()
	p.vars = p.vars[:len(p.vars)-1]
	p.expect(")")
	n.Args = []*Node{receiver, body}
	return p.node(n)
}

// The limits of a pattern. The time that matching takes grows with the pattern's instructions, in which a
// repetition such as x{500} counts 500 times.
const (
	maxPattern     = 512 // bytes
	maxPatternSize = 2000
)

func (p *parser) pattern(n *Node) {
	arg := n.Args[1]
	if arg.Kind != Literal || arg.Value.typ != TypeString {
		p.fail(arg.Pos, "the pattern of matches must be a string in quotes")
		return
	}
	re, size, err := compilePattern(arg.Value.Text())
	if err != nil {
		p.fail(arg.Pos, "%v", err)
		return
	}
	n.re, n.reSize = re, size
}

func compilePattern(text string) (re *regexp.Regexp, size int, err error) {
	if len(text) > maxPattern {
		return nil, 0, fmt.Errorf("the pattern is too long: it has %d bytes, %d are allowed", len(text), maxPattern)
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		if e, ok := err.(*syntax.Error); ok {
			return nil, 0, fmt.Errorf("the pattern is broken: %v: `%s`", e.Code, e.Expr)
		}
		return nil, 0, fmt.Errorf("the pattern is broken: %v", err)
	}
	if size = patternSize(tree); size > maxPatternSize {
		return nil, 0, fmt.Errorf("the pattern repeats too much: it has %d steps, %d are allowed", size, maxPatternSize)
	}
	re, err = regexp.Compile(text)
	return re, size, err
}

// patternSize estimates the instructions of a pattern before any of them is made. Parsing has bounded nested
// repetitions, so it can't overflow.
func patternSize(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n += patternSize(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}

// time makes timestamp("…") and duration("…") values already here, so that a wrong one is found at once.
func (p *parser) time(n *Node) (v Value, ok bool) {
	arg := n.Args[0]
	if arg.Kind != Literal || arg.Value.typ != TypeString {
		return v, false
	}
	if n.Name == "duration" {
		d, ok := parseDuration(arg.Value.b)
		if !ok {
			p.fail(arg.Pos, `this is not a duration: write it as "90s" or "1h30m"`)
		}
		return DurationValue(d), true
	}
	v.typ = TypeTimestamp
	sec, nano, ok := parseTimestamp(arg.Value.b)
	if !ok {
		p.fail(arg.Pos, `this is not a timestamp: write it as "2026-11-20T09:30:00Z"`)
	}
	v.num, v.nano = uint64(sec), nano
	return v, true
}

// didYouMean is `: did you mean "…"?` for the name nearest to a mistyped one, or empty if none is near.
func didYouMean(name string, known []string) string {
	best, least := "", 1+max(1, min(3, len(name)/3))
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// distance is how many letters must be inserted, deleted, changed or swapped with their neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	var two, one, row [65]int // the rows of a's prefixes two and one shorter, and the present one
	for j := range row {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one = one, row
	}
	return one[len(b)]
}
