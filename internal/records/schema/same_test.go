package schema

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"croft/internal/records/rawjson"
)

// Names, texts and numbers are few, so that random records meet random schemas.
var (
	someNames   = []string{"a", "b", "c", "é", "q\"t"}
	someTexts   = []string{`""`, `"x"`, `"open"`, `"done"`, `"é😀"`, `"a\nb"`, `"2026-11-20T09:30:00Z"`, `"2026-02-30"`, `"joe@example.org"`, `"a long text, \"quoted\""`}
	someNumbers = []string{"0", "1", "2", "-1", "0.5", "1.5", "3", "100", "1e+21", "1e-7", "0.3"}
	somePattern = []string{"^[a-z]*$", "o", "^.{2,5}$", "\\\\d"}
)

func plainSchema(t *rapid.T, depth int) string {
	pick := func(list []string) string { return rapid.SampledFrom(list).Draw(t, "pick") }
	if depth == 0 && rapid.IntRange(0, 9).Draw(t, "bool") == 0 {
		return pick([]string{"true", "false"})
	}
	var parts []string
	add := func(chance int, name string, value func() string) {
		if rapid.IntRange(0, chance).Draw(t, name) == 0 {
			parts = append(parts, fmt.Sprintf("%q:%s", name, value()))
		}
	}
	small := func() string { return fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "small")) }
	types := []string{`"null"`, `"boolean"`, `"number"`, `"integer"`, `"string"`, `"array"`, `"object"`}
	if depth > 0 && rapid.Bool().Draw(t, "structured") {
		types = types[5:]
	}
	add(1, "type", func() string {
		if rapid.IntRange(0, 3).Draw(t, "several") == 0 {
			return "[" + strings.Join(rapid.SliceOfNDistinct(rapid.SampledFrom(types), 1, len(types), rapid.ID).Draw(t, "types"), ",") + "]"
		}
		return pick(types)
	})
	add(7, "enum", func() string {
		n := rapid.IntRange(1, 4).Draw(t, "values")
		var values []string
		for range n {
			if v := someValue(t, 1); !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		return "[" + strings.Join(values, ",") + "]"
	})
	add(12, "const", func() string { return someValue(t, 1) })
	add(7, "format", func() string { return `"` + pick(formatNames()) + `"` })
	add(5, "minLength", small)
	add(5, "maxLength", small)
	add(7, "pattern", func() string { return `"` + pick(somePattern) + `"` })
	add(5, "minimum", func() string { return pick(someNumbers) })
	add(5, "maximum", func() string { return pick(someNumbers) })
	add(7, "exclusiveMinimum", func() string { return pick(someNumbers) })
	add(7, "exclusiveMaximum", func() string { return pick(someNumbers) })
	add(7, "multipleOf", func() string { return pick([]string{"1", "2", "0.1", "0.5", "1e-7"}) })
	add(5, "minItems", small)
	add(5, "maxItems", small)
	add(3, "uniqueItems", func() string { return pick([]string{"true", "false"}) })
	add(7, "minProperties", small)
	add(7, "maxProperties", small)
	add(3, "required", func() string {
		names := rapid.SliceOfNDistinct(rapid.SampledFrom(someNames), 0, 3, rapid.ID).Draw(t, "names")
		var quoted []string
		for _, n := range names {
			quoted = append(quoted, string(rawjson.AppendString(nil, n)))
		}
		return "[" + strings.Join(quoted, ",") + "]"
	})
	if depth > 0 {
		add(3, "items", func() string { return plainSchema(t, depth-1) })
		add(0, "properties", func() string {
			var members []string
			for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom(someNames), 0, 4, rapid.ID).Draw(t, "names") {
				members = append(members, string(rawjson.AppendKey(nil, n))+plainSchema(t, depth-1))
			}
			return "{" + strings.Join(members, ",") + "}"
		})
		add(2, "additionalProperties", func() string {
			if rapid.Bool().Draw(t, "schema") {
				return plainSchema(t, depth-1)
			}
			return pick([]string{"true", "false"})
		})
	}
	add(6, "$ref", func() string { return `"#/$defs/d"` })
	return "{" + strings.Join(parts, ",") + "}"
}

func someValue(t *rapid.T, depth int) string {
	kinds := 5
	if depth > 0 {
		kinds = 9
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "word")
	case 1, 2:
		return rapid.SampledFrom(someNumbers).Draw(t, "number")
	case 3, 4, 5:
		return rapid.SampledFrom(someTexts).Draw(t, "text")
	case 6, 7:
		var elements []string
		for range rapid.SampledFrom([]int{0, 1, 2, 3, 2 + 16*depth}).Draw(t, "length") {
			elements = append(elements, someValue(t, depth-1))
		}
		return "[" + strings.Join(elements, ",") + "]"
	}
	var members []string
	for _, n := range rapid.Permutation(someNames).Draw(t, "names")[:rapid.IntRange(0, 4).Draw(t, "members")] {
		members = append(members, string(rawjson.AppendKey(nil, n))+someValue(t, depth-1))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// The quick way and the library give the same verdicts in the same words.
// Each of the hundred rounds holds fifty values to a schema.
func TestBothWaysAgree(t *testing.T) {
	fit, unfit := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		top := plainSchema(rt, 2)
		if top[0] != '{' {
			return
		}
		raw := `{"$defs":{"d":{"type":["string","number","object","array"],"minLength":1,"maximum":2,"required":["a"]}}`
		if len(top) > 2 {
			raw += ","
		}
		raw += top[1:]
		s, err := Compile([]byte(raw))
		if err != nil {
			rt.Fatalf("%s: %v", raw, err)
		}
		if s.whole != nil {
			rt.Fatalf("%s is not plain", raw)
		}
		library := slowly(t, []byte(raw))
		for range 50 {
			value := someValue(rt, 2)
			doc, err := rawjson.Canonical(nil, []byte(value), rawjson.Limits{})
			if err != nil {
				rt.Fatal(err)
			}
			quick, slow := s.Validate(doc), library.slow(doc)
			if len(quick) == maxFaults && len(slow) == maxFaults {
				continue // which hundred, of more, is open
			}
			if !slices.Equal(quick, slow) {
				rt.Fatalf("schema %s\nrecord %s\nquick %v\nslow  %v", raw, doc, quick, slow)
			}
			if len(quick) == 0 {
				fit++
			} else {
				unfit++
			}
		}
	})
	t.Logf("%d values fitted, %d did not", fit, unfit)
	if fit == 0 || unfit == 0 {
		t.Error("the test tests nothing")
	}
}

// A list long enough to be sorted finds the same duplicates as the library.
func TestDuplicates(t *testing.T) {
	s, err := Compile([]byte(`{"uniqueItems":true}`))
	if err != nil {
		t.Fatal(err)
	}
	library := slowly(t, []byte(`{"uniqueItems":true}`))
	rapid.Check(t, func(rt *rapid.T) {
		var elements []string
		for i := range rapid.IntRange(0, 60).Draw(rt, "length") {
			switch rapid.IntRange(0, 30).Draw(rt, "kind") {
			case 0:
				elements = append(elements, `{"x":1,"y":[2]}`)
			case 1:
				elements = append(elements, `{"y":[2],"x":1}`)
			case 2:
				elements = append(elements, fmt.Sprintf(`[%d]`, i))
			default:
				elements = append(elements, fmt.Sprintf(`{"y":%d,"x":%d}`, i, rapid.IntRange(0, 3).Draw(rt, "x")))
			}
		}
		doc := []byte("[" + strings.Join(elements, ",") + "]")
		if quick, slow := s.Validate(doc), library.slow(doc); !slices.Equal(quick, slow) {
			rt.Fatalf("%s\nquick %v\nslow  %v", doc, quick, slow)
		}
	})
}
