package expr_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"croft/internal/records/expr"
)

// FuzzParse: no text breaks the parser, errors stand inside the text, and what parses is printed so that it
// parses to the same again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`status == "open" && (rank > 3 || tags.exists(t, t.startsWith("x")))`,
		`!has(record.a.b) || record["in"][0].c in ["a", 1.5, null, true]`,
		`a ? -b : c % 2 == 0x1F && d.matches(r"^\d+$")`,
		`timestamp(due) - now < duration("1h30m") && auth.roles.all(r, r != "")`,
		"'''a\r\n\\u00e9''' + \"\\101\" // comment",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, mode := range []expr.Mode{expr.Filter, expr.RuleUpdate} {
			e, err := expr.Parse(text, mode)
			if err != nil {
				fault, ok := err.(*expr.Error)
				if !ok || fault.Pos < 0 || fault.Pos > len(text) || fault.Msg == "" || !utf8.ValidString(fault.Error()) && utf8.ValidString(text) {
					t.Fatalf("%q: error %#v", text, err)
				}
				continue
			}
			expr.Check(e, nil)
			again, err := expr.Parse(e.String(), mode)
			if err != nil {
				if strings.Contains(err.Error(), " too ") { // the text in full is longer
					continue
				}
				t.Fatalf("%q as %q: %v", text, e, err)
			}
			if again.String() != e.String() {
				t.Fatalf("%q as %q, again %q", text, e, again)
			}
		}
	})
}

// FuzzEval: no expression and no record breaks the evaluator, and Eval, Match, Bind, Trim and Equalities agree.
func FuzzEval(f *testing.F) {
	for _, text := range []string{
		`status == "open" && rank in [1, 2.5, "a"] && owner == auth.id`,
		`items.exists(i, i.name.contains("b") || i.n * 2 > 3) || auth.roles[1] in tags`,
		`timestamp(created) + duration(took) > now ? size(tags) : address["ci" + "ty"]`,
		`esc != "x" && !(title.lowerAscii().matches("m.*k")) || items == [items[0]]`,
	} {
		f.Add(text, document)
	}
	f.Add(`a == 1`, `{"a":1e400,"\u0061":"\ud800"}`)
	f.Fuzz(func(t *testing.T, text, record string) {
		e, err := expr.Parse(text, expr.Filter)
		if err != nil {
			return
		}
		raw := []byte(record)
		if json.Valid(raw) {
			raw = compact(t, record)
		}
		p, budget := expr.Compile(e), int64(100_000)
		p.Budget = &budget
		env := &expr.Env{Record: &expr.Object{Names: p.Fields(), JSON: raw}, Auth: visitor, Now: now}
		v, err := p.Eval(env)
		truth := err == nil && v.Bool()
		text1 := v.String()
		budget = 100_000
		if p.Match(env) != truth {
			t.Fatalf("%q over %q: Eval %v, %v; Match differs", text, raw, v, err)
		}
		if err == expr.ErrBudget || !json.Valid(raw) {
			return
		}
		for _, q := range p.Equalities() {
			field := env.Record.Field(q.Slot)
			if truth && string(field) != string(q.JSON) && !strings.Contains(record, `\`) && !strings.ContainsAny(string(field), ".eE") {
				t.Fatalf("%q over %q: true, but %s is not %s", text, raw, field, q.JSON)
			}
		}
		bound := expr.Bind(e, visitor, now)
		b := expr.Compile(bound)
		env.Record = &expr.Object{Names: b.Fields(), JSON: raw}
		w, boundErr := b.Eval(env)
		if boundErr != expr.ErrBudget && ((err == nil) != (boundErr == nil) || err == nil && text1 != w.String()) {
			t.Fatalf("%q over %q: %v, %v; bound %q: %v, %v", text, raw, text1, err, bound, w, boundErr)
		}
		c := expr.Compile(expr.Trim(bound))
		env.Record = &expr.Object{Names: c.Fields(), JSON: raw}
		if c.Match(env) != truth || truth && bound.AlwaysFalse() || !truth && bound.AlwaysTrue() {
			t.Fatalf("%q over %q: %v; bound %q, trimmed %q", text, raw, truth, bound, expr.Trim(bound))
		}
	})
}
