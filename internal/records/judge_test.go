package records_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"croft/internal/identity"
	"croft/internal/records/expr"
)

// What the model of model_test.go goes by, written from the docs and without the code that it judges, but for the
// expressions: package expr is held against cel-go elsewhere.

// object is a record as the model has it.
type object = map[string]any

// rawOf is an object as compact JSON.
func rawOf(o any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(o); err != nil {
		panic(err) // it came from JSON
	}
	return bytes.TrimSpace(b.Bytes())
}

func objectOf(raw []byte) object {
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		panic(fmt.Sprintf("%v: %s", err, raw))
	}
	return positiveZeros(o).(object)
}

// positiveZeros makes each -0 a 0, as it is stored.
func positiveZeros(v any) any {
	switch v := v.(type) {
	case float64:
		return v + 0
	case []any:
		for i := range v {
			v[i] = positiveZeros(v[i])
		}
	case object:
		for name := range v {
			v[name] = positiveZeros(v[name])
		}
	}
	return v
}

// at is the value at a path, and whether there is one.
func at(o object, path string) (any, bool) {
	name, rest, deeper := strings.Cut(path, ".")
	v, ok := o[name]
	if !ok || !deeper {
		return v, ok
	}
	below, ok := v.(object)
	if !ok {
		return nil, false
	}
	return at(below, rest)
}

// mergePatch is RFC 7396.
func mergePatch(target, patch any) any {
	changes, ok := patch.(object)
	if !ok {
		return patch
	}
	old, _ := target.(object)
	merged := object{}
	maps.Copy(merged, old)
	for name, change := range changes {
		if change == nil {
			delete(merged, name)
		} else {
			merged[name] = mergePatch(merged[name], change)
		}
	}
	return merged
}

// rank sorts values by their types.
func rank(v any, ok bool) int {
	if !ok {
		return 0
	}
	switch v := v.(type) {
	case nil:
		return 1
	case bool:
		if v {
			return 3
		}
		return 2
	case float64:
		return 4
	case string:
		return 5
	}
	return 6
}

func compareAt(a, b object, path string) int {
	x, okX := at(a, path)
	y, okY := at(b, path)
	if c := cmp.Compare(rank(x, okX), rank(y, okY)); c != 0 {
		return c
	}
	switch x := x.(type) {
	case float64:
		return cmp.Compare(x, y.(float64))
	case string:
		return strings.Compare(x, y.(string))
	}
	return 0
}

// inOrder compares two records as a list sorts them. Ties go by id, in the direction of the last field; without fields the
// newest come first.
func inOrder(sort []string) func(a, b object) int {
	if len(sort) == 0 {
		sort = []string{"-id"}
	}
	last := sort[len(sort)-1]
	tie := "id"
	if strings.HasPrefix(last, "-") {
		tie = "-id"
	}
	sort = append(slices.Clone(sort), tie)
	return func(a, b object) int {
		for _, field := range sort {
			path, desc := strings.CutPrefix(field, "-")
			if c := compareAt(a, b, path); c != 0 {
				if desc {
					return -c
				}
				return c
			}
		}
		return 0
	}
}

// authOf is what expressions see of a caller.
func authOf(c *identity.Caller) *expr.Auth {
	a := &expr.Auth{SignedIn: c.Kind == identity.User, ID: c.ID, Email: c.Email, Roles: c.Roles, Verified: c.Verified}
	if c.Token != nil {
		a.Token = rawOf(map[string]any{"scopes": c.Token.Scopes})
	}
	return a
}

// judgement is an expression that is asked about many records.
type judgement struct {
	program        *expr.Program
	record, before expr.Object
	env            expr.Env
}

func judge(t rapid.TB, text string, mode expr.Mode, c *identity.Caller, now time.Time) *judgement {
	e, err := expr.Parse(text, mode)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	j := &judgement{program: expr.Compile(e)}
	j.record.Names, j.before.Names = j.program.Fields(), j.program.Fields()
	j.env = expr.Env{Record: &j.record, Before: &j.before, Auth: authOf(c), Now: now}
	return j
}

func (j *judgement) holds(record, before []byte) bool {
	j.record.JSON, j.before.JSON = record, before
	return j.program.Match(&j.env)
}

// modelIndex is an index of a definition.
type modelIndex struct {
	Name   string   `json:"name"`
	Fields []string `json:"fields"`
	Unique bool     `json:"unique"`
	Where  string   `json:"where,omitempty"`
}

// claims are what a record has in a unique index that no other record may have. A record with a missing or null field claims
// nothing; an array claims each of its scalars, an object its names; of two such fields only the first would count, so it
// claims nothing either.
func (ix *modelIndex) claims(t rapid.TB, o object) map[string]bool {
	if !ix.Unique || ix.Where != "" && !judge(t, ix.Where, expr.Filter, nobody, time.Time{}).holds(rawOf(o), nil) {
		return nil
	}
	tuples := []string{""}
	expanded := false
	for _, field := range ix.Fields {
		v, ok := at(o, strings.TrimPrefix(field, "-"))
		var choices []any
		var kind string
		switch v := v.(type) {
		case []any:
			choices, kind = v, "element "
		case object:
			for name := range v {
				choices = append(choices, name)
			}
			kind = "element "
		default:
			if !ok || v == nil {
				return nil
			}
			choices = []any{v}
		}
		if kind != "" {
			if expanded {
				return nil
			}
			expanded = true
		}
		var longer []string
		for _, tuple := range tuples {
			for _, choice := range choices {
				switch choice.(type) {
				case nil, []any, object:
				default:
					longer = append(longer, fmt.Sprintf("%s|%s%T %v", tuple, kind, choice, choice))
				}
			}
		}
		tuples = longer
	}
	claims := map[string]bool{}
	for _, tuple := range tuples {
		claims[tuple] = true
	}
	return claims
}
