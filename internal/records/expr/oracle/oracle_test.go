// Package oracle compares the expression language with cel-go and with CEL's conformance cases. It is a module of
// its own, so that neither is among what Croft is built from.
//
//	cd internal/records/expr/oracle && go test -args -n 100000 -seed 1
package oracle

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"

	"croft/internal/records/expr"
)

var (
	count = flag.Int("n", 100_000, "how many random expressions to compare")
	seed  = flag.Uint64("seed", 0, "the seed of the random expressions; 0 takes one from the clock")
)

var now = time.Date(2026, 11, 20, 9, 30, 0, 123456789, time.UTC)

// The callers that expressions are evaluated for.
var callers = []*expr.Auth{
	nil,
	{SignedIn: true, ID: "u1", Email: "ann@example.org", Roles: []string{"admin", "ab"}, Verified: true},
	{SignedIn: true, ID: "abc", Roles: []string{}, Token: []byte(`{"scopes":[{"collection":"notes","actions":["read"]}]}`)},
}

// TestRandomExpressions evaluates each random expression over two records by cel-go and by expr, in three ways:
// as it is, bound to the caller, and printed and parsed again. The generator (generate_test.go) leaves out what the
// package documents as different: arithmetic of ints with doubles, % of doubles, ints and doubles that only exact
// comparison can tell apart, timestamps of ints.
func TestRandomExpressions(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: go test -args -n %d -seed %d", *seed, *count, *seed)
	env, err := cel.NewEnv(
		cel.Variable("record", cel.DynType), cel.Variable("auth", cel.DynType), cel.Variable("now", cel.TimestampType),
		cel.EnableMacroCallTracking(), ext.Strings(),
		cel.EnableErrorOnBadPresenceTest(true), // has() of what is no object: an error, as CEL's definition says
	)
	if err != nil {
		t.Fatal(err)
	}
	g := &generator{Rand: rand.New(rand.NewPCG(*seed, 0))}
	var values, errors, matches, wrong int
	for i := 0; i < *count && wrong < 10; i++ {
		text := g.condition()
		e, err := expr.Parse(text, expr.Rule)
		if err != nil {
			if tooLarge(err) {
				continue
			}
			t.Fatalf("%s\n\tdoes not parse: %v", text, err)
		}
		ast, issues := env.Parse(text)
		if issues.Err() != nil {
			t.Fatalf("%s\n\tcel-go does not parse it: %v", text, issues.Err())
		}
		compareTrees(t, ast, e)
		program, err := env.Program(ast)
		if err != nil {
			t.Fatalf("%s\n\t%v", text, err)
		}
		auth := callers[g.IntN(len(callers))]
		ours := expr.Compile(e)
		bound := expr.Bind(e, auth, now)
		residual := expr.Compile(bound)
		for range 2 {
			decoded, raw := g.record()
			theirs, _, theirErr := program.Eval(map[string]any{"record": decoded, "auth": celAuth(auth), "now": now})
			environment := &expr.Env{Record: &expr.Object{Names: ours.Fields(), JSON: raw}, Auth: auth, Now: now}
			v, err := ours.Eval(environment)
			if difference := compare(v, err, theirs, theirErr); difference != "" {
				t.Errorf("%s\n\tover %s\n\tas %s\n\t%s", text, raw, celAuthJSON(auth), difference)
				wrong++
			}
			matched := ours.Match(environment)
			if matched != (theirErr == nil && theirs == types.True) {
				t.Errorf("%s\n\tover %s\n\tmatch: %v, cel-go: %v %v", text, raw, matched, theirs, theirErr)
				wrong++
			}
			environment.Record = &expr.Object{Names: residual.Fields(), JSON: raw}
			v, err = residual.Eval(environment)
			if difference := compare(v, err, theirs, theirErr); difference != "" {
				t.Errorf("%s\n\tbound as %s: %s\n\tover %s\n\t%s", text, celAuthJSON(auth), bound, raw, difference)
				wrong++
			}
			if matched && bound.AlwaysFalse() || !matched && bound.AlwaysTrue() {
				t.Errorf("%s\n\tbound: %s\n\tover %s\n\tmatch: %v, but always the opposite", text, bound, raw, matched)
				wrong++
			}
			trimmed := expr.Compile(expr.Trim(bound))
			environment.Record = &expr.Object{Names: trimmed.Fields(), JSON: raw}
			if trimmed.Match(environment) != matched {
				t.Errorf("%s\n\ttrimmed: %s\n\tover %s\n\tmatch: %v, but not trimmed", text, expr.Trim(bound), raw, matched)
				wrong++
			}
			switch {
			case theirErr != nil:
				errors++
			case matched:
				matches++
				values++
			default:
				values++
			}
		}
	}
	t.Logf("%d values (%d of them true), %d errors", values, matches, errors)
}

func tooLarge(err error) bool {
	for _, text := range []string{"too large", "too long", "too deeply"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// compareTrees prints cel-go's tree as text and parses that with ours: both must give one tree.
func compareTrees(t *testing.T, ast *cel.Ast, e *expr.Expr) {
	t.Helper()
	text, err := cel.AstToString(ast)
	if err != nil {
		t.Fatal(err)
	}
	again, err := expr.Parse(text, expr.Rule)
	if err != nil {
		if tooLarge(err) {
			return
		}
		t.Fatalf("%s\n\tcel-go's text %s\n\tdoes not parse: %v", e.Text, text, err)
	}
	if again.String() != e.String() {
		t.Fatalf("%s\n\tour tree:   %s\n\tcel-go's: %s", e.Text, e, again)
	}
	if again, err = expr.Parse(e.String(), expr.Rule); err != nil && !tooLarge(err) {
		t.Fatalf("%s\n\tprinted: %s\n\tdoes not parse: %v", e.Text, e, err)
	} else if err == nil && again.String() != e.String() {
		t.Fatalf("%s\n\tprinted: %s\n\tprinted again: %s", e.Text, e, again)
	}
}

func celAuth(a *expr.Auth) map[string]any {
	m := map[string]any{}
	if a == nil {
		return m
	}
	m["id"], m["email"], m["roles"], m["verified"] = a.ID, a.Email, a.Roles, a.Verified
	if a.Token != nil {
		var token any
		if err := json.Unmarshal(a.Token, &token); err != nil {
			panic(err)
		}
		m["token"] = token
	}
	return m
}

func celAuthJSON(a *expr.Auth) []byte {
	b, err := json.Marshal(celAuth(a))
	if err != nil {
		panic(err)
	}
	return b
}

// compare says how our result differs from cel-go's, empty if it doesn't.
func compare(v expr.Value, err error, theirs ref.Val, theirErr error) string {
	switch {
	case err != nil && theirErr != nil:
		return ""
	case err != nil:
		return fmt.Sprintf("error %v, but cel-go: %v", err, theirs)
	case theirErr != nil:
		return fmt.Sprintf("%v, but cel-go: error %v", v, theirErr)
	}
	ours, cel := v.String(), celText(theirs)
	var decoded any
	if err := json.Unmarshal([]byte(ours), &decoded); err != nil {
		return fmt.Sprintf("%s is no JSON: %v", ours, err)
	}
	if v.Type() == expr.TypeList || v.Type() == expr.TypeMap { // as the record spells it
		ours = string(marshal(decoded))
		if err := json.Unmarshal([]byte(cel), &decoded); err == nil {
			cel = string(marshal(decoded))
		}
	}
	if ours != cel {
		return fmt.Sprintf("%s, but cel-go: %s", ours, cel)
	}
	return ""
}

// celText is a value of cel-go as expr.Value.String prints it.
func celText(v ref.Val) string {
	switch v := v.(type) {
	case types.Timestamp:
		value := expr.TimestampValue(v.Time)
		return value.String()
	case types.Duration:
		value := expr.DurationValue(v.Duration)
		return value.String()
	case types.Int:
		return expr.IntValue(int64(v)).String()
	case types.Double:
		return expr.DoubleValue(float64(v)).String()
	case types.String:
		return expr.StringValue(string(v)).String()
	case types.Bool:
		return expr.BoolValue(bool(v)).String()
	case types.Null:
		return "null"
	case traits.Mapper:
		native, err := v.ConvertToNative(jsonMap)
		if err != nil {
			return err.Error()
		}
		return string(marshal(native))
	case traits.Lister:
		elements := []string{}
		for i := types.Int(0); i < v.Size().(types.Int); i++ {
			elements = append(elements, celText(v.Get(i)))
		}
		return "[" + strings.Join(elements, ",") + "]"
	}
	return fmt.Sprint(v)
}

// marshal is compact JSON with the names of objects in order.
func marshal(v any) []byte {
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false)
	if err := w.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSpace(b.Bytes())
}

var jsonMap = reflectType[map[string]any]()

// TestDocumentedDifferences holds both to what the package says of its differences.
func TestDocumentedDifferences(t *testing.T) {
	env, err := cel.NewEnv(cel.Variable("record", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		text, ours, cel string
	}{
		{"record.n + 1", "8.5", "error"},
		{"2 * record.n", "15", "error"},
		{"record.whole % 4", "3", "error"},
		{"record.whole % 4.0", "3", "error"},
		{"9007199254740993 == 9007199254740992.0", "false", "true"},
		{"9007199254740993 > 9007199254740992.0", "true", "false"},
	} {
		e, err := expr.Parse(test.text, expr.Rule)
		if err != nil {
			t.Fatal(err)
		}
		p := expr.Compile(e)
		ours := "error"
		if v, err := p.Eval(&expr.Env{Record: &expr.Object{Names: p.Fields(), JSON: []byte(`{"n":7.5,"whole":7}`)}}); err == nil {
			ours = v.String()
		}
		ast, issues := env.Parse(test.text)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		program, err := env.Program(ast)
		if err != nil {
			t.Fatal(err)
		}
		theirs := "error"
		if v, _, err := program.Eval(map[string]any{"record": map[string]any{"n": 7.5, "whole": 7.0}}); err == nil {
			theirs = celText(v)
		}
		if ours != test.ours || theirs != test.cel {
			t.Errorf("%s: %s, cel-go %s; documented: %s, cel-go %s", test.text, ours, theirs, test.ours, test.cel)
		}
	}
}
