package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"croft/internal/errs"
	"croft/internal/records/rawjson"
)

const (
	maxFaults = 100 // told of one record
	maxValue  = 40  // characters of a schema's value in a text
	maxValues = 12  // of an enum in a text
)

// A report gathers the faults of one value, in words. The values themselves
// are never in them: they may be secret.
type report struct {
	fields []errs.Field
}

func (r *report) full() bool { return len(r.fields) >= maxFaults }

func (r *report) put(path []string, code, format string, args ...any) {
	r.fields = append(r.fields, errs.Field{Pointer: rawjson.Pointer(path...), Code: code, Message: fmt.Sprintf(format, args...)})
}

// add puts one fault of the library's kinds into words. The node is the schema
// it comes from, nil when that is JSON Schema's own.
func (r *report) add(path []string, k jsonschema.ErrorKind, n *node) {
	switch k := k.(type) {
	case *kind.Type:
		r.put(path, "type", "must be %s%s", orList(typeWords(k.Want)), notWords(k))
	case *kind.Const:
		r.put(path, "const", "must be %s", display(k.Want))
	case *kind.Enum:
		r.put(path, "enum", "must be %s", oneOf(k.Want))
	case *kind.Format:
		r.put(path, "format", "must be %s", formatWords(k.Want))
	case *kind.FalseSchema:
		r.put(path, "not_allowed", "is not allowed")

	case *kind.Required:
		for _, name := range k.Missing {
			r.put(below(path, name), "required", "is required")
		}
	case *kind.DependentRequired:
		for _, name := range k.Missing {
			r.put(below(path, name), "required", "is required when %s is there", strconv.Quote(k.Prop))
		}
	case *kind.Dependency:
		for _, name := range k.Missing {
			r.put(below(path, name), "required", "is required when %s is there", strconv.Quote(k.Prop))
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			r.unknown(below(path, name), name, n)
		}
	case *kind.MinProperties:
		r.put(path, "min_properties", "must have at least %s", count(k.Want, "field"))
	case *kind.MaxProperties:
		r.put(path, "max_properties", "must have at most %s", count(k.Want, "field"))

	case *kind.MinItems:
		r.put(path, "min_items", "must have at least %s", count(k.Want, "item"))
	case *kind.MaxItems:
		r.put(path, "max_items", "must have at most %s", count(k.Want, "item"))
	case *kind.UniqueItems:
		r.put(path, "unique_items", "must not have the same item twice, but items %d and %d are the same (counted from 0)", k.Duplicates[0], k.Duplicates[1])
	case *kind.Contains:
		r.put(path, "contains", "must have at least one item of the kind that the schema asks for (contains)")
	case *kind.MinContains:
		r.put(path, "min_contains", "must have at least %s of the kind that the schema asks for (contains), not %d", count(k.Want, "item"), len(k.Got))
	case *kind.MaxContains:
		r.put(path, "max_contains", "must have at most %s of the kind that the schema limits (contains), not %d", count(k.Want, "item"), len(k.Got))

	case *kind.MinLength:
		r.put(path, "min_length", "must be at least %s long", count(k.Want, "character"))
	case *kind.MaxLength:
		r.put(path, "max_length", "must be at most %s long", count(k.Want, "character"))
	case *kind.Pattern:
		r.put(path, "pattern", "must match the pattern %s", clip(k.Want))

	case *kind.Minimum:
		r.put(path, "minimum", "must be at least %s", ratWords(k.Want))
	case *kind.Maximum:
		r.put(path, "maximum", "must be at most %s", ratWords(k.Want))
	case *kind.ExclusiveMinimum:
		r.put(path, "exclusive_minimum", "must be more than %s", ratWords(k.Want))
	case *kind.ExclusiveMaximum:
		r.put(path, "exclusive_maximum", "must be less than %s", ratWords(k.Want))
	case *kind.MultipleOf:
		r.put(path, "multiple_of", "must be a multiple of %s", ratWords(k.Want))

	case *kind.Not:
		r.put(path, "not", "is what the schema forbids (not)")
	case *kind.OneOf:
		r.put(path, "one_of", "must fit exactly one of the schema's choices (oneOf), but fits two: numbers %d and %d (counted from 0)", k.Subschemas[0], k.Subschemas[1])
	default:
		r.put(path, "schema", "does not fit the schema")
	}
}

// unknown tells of a member that a closed object has no room for.
func (r *report) unknown(path []string, name string, n *node) {
	suggestion := ""
	if n != nil {
		suggestion = didYouMean(name, n.names())
	}
	r.put(path, "unknown_field", "is not a known field%s", suggestion)
}

// sorted is the faults by place, each once, at most maxFaults.
func (r *report) sorted() []errs.Field {
	slices.SortFunc(r.fields, func(a, b errs.Field) int {
		if c := comparePointers(a.Pointer, b.Pointer); c != 0 {
			return c
		}
		return cmp.Or(strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message))
	})
	fields := slices.Compact(r.fields)
	if len(fields) > maxFaults {
		fields = fields[:maxFaults]
	}
	return fields
}

// comparePointers orders by segments, indexes as numbers.
func comparePointers(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a = cutSegment(a)
		y, b = cutSegment(b)
		if x == y {
			continue
		}
		i, err1 := strconv.Atoi(x)
		j, err2 := strconv.Atoi(y)
		if err1 == nil && err2 == nil && i != j {
			return i - j
		}
		return strings.Compare(x, y)
	}
	return len(a) - len(b)
}

func cutSegment(pointer string) (segment, rest string) {
	if i := strings.IndexByte(pointer[1:], '/'); i >= 0 {
		return pointer[1 : i+1], pointer[i+1:]
	}
	return pointer[1:], ""
}

func below(path []string, segment string) []string {
	return append(slices.Clip(path), segment)
}

func typeWord(name string) string {
	switch name {
	case "null":
		return "null"
	case "boolean":
		return "true or false"
	case "integer":
		return "a whole number"
	case "array":
		return "a list"
	case "object":
		return "an object"
	}
	return "a " + name
}

func typeWords(names []string) []string {
	var words []string
	for _, name := range names {
		if name != "null" && !(name == "integer" && slices.Contains(names, "number")) {
			words = append(words, typeWord(name))
		}
	}
	if slices.Contains(names, "null") {
		words = append(words, "null") // reads best at the end
	}
	return words
}

func notWords(k *kind.Type) string {
	if k.Got == "number" && slices.Contains(k.Want, "integer") {
		return "" // it has a fraction
	}
	return ", not " + typeWord(k.Got)
}

func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func oneOf(values []any) string {
	if len(values) == 0 {
		return "something else: the schema's list of values is empty"
	}
	var words []string
	for i, v := range values {
		if i == maxValues {
			words = append(words, fmt.Sprintf("… (%d more)", len(values)-i))
			break
		}
		words = append(words, display(v))
	}
	if len(words) == 1 {
		return words[0]
	}
	return "one of " + strings.Join(words, ", ")
}

// display is a value of the schema as JSON, cut short.
func display(v any) string {
	if s, ok := v.(string); ok {
		return clip(string(rawjson.AppendString(nil, s)))
	}
	b, err := json.Marshal(v)
	if err != nil { // can't be: it was decoded from JSON
		return "a certain value"
	}
	return clip(string(b))
}

// clip cuts a text short. Patterns and references may be a little longer than values.
func clip(s string) string {
	if utf8.RuneCountInString(s) <= maxValue {
		return s
	}
	return string([]rune(s)[:maxValue-1]) + "…"
}

func ratWords(r *big.Rat) string {
	f, _ := r.Float64()
	return string(rawjson.AppendNumber(nil, f))
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

func itoa(i int) string { return strconv.Itoa(i) }
