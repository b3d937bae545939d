package expr

import (
	"strings"
	"time"
)

// Explain reports whether e is true of a record, given as JSON, and if not, which part of it was to blame: the first
// of its conditions that didn't hold, and all of them where any would have done.
func Explain(e *Expr, record, before []byte, auth *Auth, now time.Time) (holds bool, because string) {
	x := explainer{expr: e, record: record, before: before, env: Env{Auth: auth, Now: now}}
	v, err := x.eval(e.Root)
	if err == nil && v.Bool() {
		return true, ""
	}
	return false, x.because(e.Root)
}

type explainer struct {
	expr           *Expr
	record, before []byte
	env            Env
}

func (x *explainer) eval(n *Node) (Value, error) {
	p := Compile(&Expr{Root: n, Text: x.expr.Text, Mode: x.expr.Mode})
	env := x.env
	if x.record != nil {
		env.Record = &Object{p.Fields(), x.record}
	}
	if x.before != nil {
		env.Before = &Object{p.Fields(), x.before}
	}
	return p.Eval(&env)
}

// because explains why n is not true.
func (x *explainer) because(n *Node) string {
	switch n.Kind {
	case And:
		for _, a := range n.Args {
			if v, err := x.eval(a); err != nil || !v.Bool() {
				return x.because(a)
			}
		}
	case Or:
		reasons := make([]string, len(n.Args))
		for i, a := range n.Args {
			reasons[i] = x.because(a)
		}
		return strings.Join(reasons, "; ")
	}
	v, err := x.eval(n)
	switch e, ok := err.(*Error); {
	case ok:
		return format(n) + ": " + e.Msg
	case err != nil:
		return format(n) + ": " + err.Error()
	case v.Type() != TypeBool:
		return format(n) + ": expected true or false, not " + v.Type().String()
	}
	return format(n) + " is false"
}
