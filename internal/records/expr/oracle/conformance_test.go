package oracle

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	celexpr "cel.dev/expr"
	_ "cel.dev/expr/conformance/proto2" // the messages that the cases refer to
	_ "cel.dev/expr/conformance/proto3"
	conformance "cel.dev/expr/conformance/test"
	"google.golang.org/protobuf/encoding/prototext"

	"croft/internal/records/expr"
)

var update = flag.Bool("update", false, "write testdata/conformance.txt again")

const listFile = "testdata/conformance.txt"

// differences are the cases of the subset in which the language differs from CEL on purpose.
var differences = map[string]string{
	"conversions/identity/timestamp": "timestamp() takes no ints",
}

// TestConformance runs the cases of CEL's conformance tests that are in the subset: those whose text Parse takes and
// whose bindings are JSON. testdata/conformance.txt lists them, so that none is lost unnoticed.
func TestConformance(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "cel.dev/expr").Output()
	if err != nil {
		t.Fatalf("where is the module cel.dev/expr? %v", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "tests/simple/testdata/*.textproto"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no conformance cases found: %v", err)
	}
	var ran []string
	all := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var file conformance.SimpleTestFile
		if err := prototext.Unmarshal(text, &file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, section := range file.Section {
			for _, c := range section.Test {
				all++
				id := file.Name + "/" + section.Name + "/" + c.Name
				if _, ok := differences[id]; ok {
					continue
				}
				record, ok := bindings(c)
				if !ok || c.CheckOnly || c.Container != "" || c.GetValue().GetTypeValue() != "" {
					continue // types are no values here
				}
				e, err := expr.Parse(c.Expr, expr.Filter)
				if err != nil && strings.Contains(err.Error(), "this is not a ") && c.GetEvalError() != nil {
					ran = append(ran, id) // a timestamp or duration refused already when it is parsed
					continue
				}
				if err != nil {
					continue
				}
				ran = append(ran, id)
				t.Run(id, func(t *testing.T) { runCase(t, c, e, record) })
			}
		}
	}
	for id, reason := range differences {
		t.Logf("differs: %s: %s", id, reason)
	}
	t.Logf("%d of %d cases are in the subset", len(ran), all)
	if *update {
		if err := os.WriteFile(listFile, []byte(strings.Join(ran, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range readList(t) {
		if !slices.Contains(ran, id) {
			t.Errorf("%s is in %s but did not run", id, listFile)
		}
	}
}

func readList(t *testing.T) []string {
	f, err := os.Open(listFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var ids []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		ids = append(ids, lines.Text())
	}
	return ids
}

func runCase(t *testing.T, c *conformance.SimpleTest, e *expr.Expr, record []byte) {
	p := expr.Compile(e)
	v, err := p.Eval(&expr.Env{Record: &expr.Object{Names: p.Fields(), JSON: record}})
	switch want := c.ResultMatcher.(type) {
	case *conformance.SimpleTest_EvalError, *conformance.SimpleTest_AnyEvalErrors:
		if err == nil {
			t.Errorf("%s: %v, want an error: %v", c.Expr, v, want)
		}
	case *conformance.SimpleTest_Value:
		compareValue(t, c.Expr, v, err, want.Value)
	case *conformance.SimpleTest_TypedResult:
		compareValue(t, c.Expr, v, err, want.TypedResult.Result)
	case nil: // true is meant
		if err != nil || !v.Bool() {
			t.Errorf("%s: %v, %v; want true", c.Expr, v, err)
		}
	default:
		t.Fatalf("%s: a matcher this test does not know: %T", c.Expr, want)
	}
}

func compareValue(t *testing.T, text string, v expr.Value, err error, want *celexpr.Value) {
	t.Helper()
	wanted, ok := valueJSON(want)
	if !ok {
		t.Fatalf("%s: its result is no JSON: %v", text, want)
	}
	if err != nil || v.String() != wanted {
		t.Errorf("%s: %v, %v; want %s", text, v, err, wanted)
	}
}

// bindings is the record whose fields are the case's variables.
func bindings(c *conformance.SimpleTest) (record []byte, ok bool) {
	members := map[string]json.RawMessage{}
	for name, b := range c.Bindings {
		text, ok := valueJSON(b.GetValue())
		if !ok || strings.Contains(name, ".") { // names with dots need CEL's containers
			return nil, false
		}
		members[name] = json.RawMessage(text)
	}
	return marshal(members), true
}

// valueJSON is a value as expr.Value.String prints it.
func valueJSON(v *celexpr.Value) (text string, ok bool) {
	switch kind := v.GetKind().(type) {
	case *celexpr.Value_NullValue:
		return "null", true
	case *celexpr.Value_BoolValue:
		return fmt.Sprint(kind.BoolValue), true
	case *celexpr.Value_Int64Value:
		return expr.IntValue(kind.Int64Value).String(), true
	case *celexpr.Value_DoubleValue:
		return expr.DoubleValue(kind.DoubleValue).String(), true
	case *celexpr.Value_StringValue:
		return expr.StringValue(kind.StringValue).String(), true
	case *celexpr.Value_ListValue:
		parts := []string{}
		for _, e := range kind.ListValue.Values {
			part, ok := valueJSON(e)
			if !ok {
				return "", false
			}
			parts = append(parts, part)
		}
		return "[" + strings.Join(parts, ",") + "]", true
	case *celexpr.Value_MapValue:
		members := map[string]json.RawMessage{}
		for _, entry := range kind.MapValue.Entries {
			key, isString := entry.Key.GetKind().(*celexpr.Value_StringValue)
			value, ok := valueJSON(entry.Value)
			if !ok || !isString {
				return "", false
			}
			members[key.StringValue] = json.RawMessage(value)
		}
		return string(marshal(members)), true
	}
	return "", false
}
