package schema

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"croft/internal/errs"
	"croft/internal/records/rawjson"
)

// The library knows schemas by their addresses. These lead nowhere (RFC 6761).
const (
	schemaURL = "https://croft.invalid/schema"
	deniedURL = "https://croft.invalid/denied"
)

// A large record that doesn't fit could have half a million faults, each some
// 300 bytes in the library. Above this size it is asked for the verdict alone.
const maxDetailed = 64 << 10

// A library is a schema in santhosh-tekuri/jsonschema.
type library struct {
	compiler *jsonschema.Compiler
	patterns map[string]*regexp.Regexp
}

// noLoader refuses to fetch anything. References were checked before, so it is
// the second lock on the door.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is outside of the schema: nothing is ever fetched", url)
}

func newLibrary(raw []byte, patterns map[string]*regexp.Regexp) (*library, error) {
	l := &library{compiler: jsonschema.NewCompiler(), patterns: patterns}
	c := l.compiler
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(l.regexp)
	for name, has := range formats {
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: func(v any) error {
			if s, ok := v.(string); ok && !has([]byte(s)) {
				return errFormat
			}
			return nil
		}})
	}
	if err := c.AddResource(schemaURL, decode(raw)); err != nil {
		return nil, err
	}
	return l, c.AddResource(deniedURL, map[string]any{"not": map[string]any{"$ref": schemaURL}})
}

var errFormat = errors.New("not of this format")

// regexp gives the library the schema's own patterns. It also asks for values
// of the format "regex", for which parsing is enough: compiling a stranger's
// pattern could take much memory.
func (l *library) regexp(source string) (jsonschema.Regexp, error) {
	if re, ok := l.patterns[source]; ok {
		return re, nil
	}
	if !isRegex([]byte(source)) {
		return nil, errFormat
	}
	return (*regexp.Regexp)(nil), nil
}

func isRegex(s []byte) bool {
	if len(s) > maxPattern {
		return false
	}
	_, err := syntax.Parse(string(s), syntax.Perl)
	return err == nil
}

// at is the schema at a pointer into the whole one.
func (l *library) at(pointer string) (*jsonschema.Schema, error) {
	return l.compiler.Compile(schemaURL + "#" + (&url.URL{Fragment: pointer}).EscapedFragment())
}

// decode makes the values that the library works on.
func decode(raw []byte) any {
	switch rawjson.KindOf(raw) {
	case rawjson.True, rawjson.False:
		return raw[0] == 't'
	case rawjson.Num:
		return json.Number(raw)
	case rawjson.String:
		return rawjson.Text(raw)
	case rawjson.Array:
		list := []any{}
		for it := rawjson.Elements(raw); it.Next(); {
			list = append(list, decode(it.Value()))
		}
		return list
	case rawjson.Object:
		m := map[string]any{}
		for it := rawjson.Members(raw); it.Next(); {
			m[it.Name()] = decode(it.Value())
		}
		return m
	}
	return nil
}

// slow holds a value to a schema through the library.
func (s *Schema) slow(raw []byte) []errs.Field {
	if s.levels >= 0 && depth(raw) > s.levels {
		return tooDeep(s.levels)
	}
	v := decode(raw)
	if len(raw) > maxDetailed {
		if s.denied.Validate(v) != nil {
			return nil
		}
		return []errs.Field{{Code: "schema", Message: "does not fit the schema (it is too large to say where)"}}
	}
	err := s.whole.Validate(v)
	if err == nil {
		return nil
	}
	return faults(err, raw, s.nodes)
}

func tooDeep(levels int) []errs.Field {
	return []errs.Field{{Code: "too_deep", Message: fmt.Sprintf("is nested too deep: since its references branch, this schema can check %s only", count(levels, "level"))}}
}

// faults puts the library's error about raw into words.
func faults(err error, raw []byte, nodes map[string]*node) []errs.Field {
	t := teller{raw: raw, nodes: nodes}
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) { // can't be: the library has no others
		return []errs.Field{{Code: "schema", Message: "does not fit the schema"}}
	}
	t.tell(v)
	return t.report.sorted()
}

// depth is how deep arrays and objects nest.
func depth(raw []byte) int {
	deepest := 0
	for it := rawjson.Members(raw); it.Next(); {
		deepest = max(deepest, depth(it.Value()))
	}
	for it := rawjson.Elements(raw); it.Next(); {
		deepest = max(deepest, depth(it.Value()))
	}
	if k := rawjson.KindOf(raw); k == rawjson.Array || k == rawjson.Object {
		deepest++
	}
	return deepest
}

// A teller walks the library's tree of errors.
type teller struct {
	report report
	raw    []byte
	nodes  map[string]*node // nil: the errors are about JSON Schema's own
}

func (t *teller) tell(e *jsonschema.ValidationError) {
	path := e.InstanceLocation
	switch k := e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.AllOf, *kind.Reference:
		for _, c := range e.Causes {
			t.tell(c)
		}
	case *kind.AnyOf:
		t.choices(e, "any_of")
	case *kind.OneOf:
		if len(k.Subschemas) == 0 {
			t.choices(e, "one_of")
			return
		}
		t.report.add(path, k, nil)
	case *kind.PropertyNames:
		t.propertyName(e, k.Property)
	case *kind.FalseSchema:
		pointer := pointerOf(e.SchemaURL)
		if owner, ok := strings.CutSuffix(pointer, "/unevaluatedProperties"); ok && len(path) > 0 {
			t.report.unknown(path, path[len(path)-1], t.nodes[owner])
			return
		}
		t.report.add(path, k, nil)
	default:
		t.report.add(path, k, t.nodes[pointerOf(e.SchemaURL)])
	}
}

// pointerOf is the pointer in a schema's address.
func pointerOf(address string) string {
	_, fragment, _ := strings.Cut(address, "#")
	pointer, err := url.PathUnescape(fragment)
	if err != nil {
		return fragment
	}
	return pointer
}

// choices tells why a value fits none of several schemas. When it is of the
// wrong type for all of them, or for all but one, it says so in plain words.
// Otherwise it tells the closest one's faults in short.
func (t *teller) choices(e *jsonschema.ValidationError, code string) {
	type branch struct {
		fields []errs.Field
		types  []string // wanted, when it is the type that doesn't fit
		values int      // faults of enum and const: likely another kind of thing
	}
	here := rawjson.Pointer(e.InstanceLocation...)
	var branches []branch
	var types []string
	got := ""
	for _, c := range e.Causes {
		sub := teller{raw: t.raw, nodes: t.nodes}
		sub.tell(c)
		b := branch{fields: sub.report.sorted()}
		if k, ok := soleKind(c).(*kind.Type); ok && len(b.fields) == 1 && b.fields[0].Pointer == here {
			b.types, got = k.Want, k.Got
			types = append(types, k.Want...)
			continue
		}
		for _, f := range b.fields {
			if f.Code == "enum" || f.Code == "const" {
				b.values++
			}
		}
		branches = append(branches, b)
	}
	switch len(branches) {
	case 0:
		t.report.add(e.InstanceLocation, &kind.Type{Got: got, Want: unique(types)}, nil)
		return
	case 1:
		t.report.fields = append(t.report.fields, branches[0].fields...)
		return
	}
	best := slices.MinFunc(branches, func(a, b branch) int {
		return cmp.Or(cmp.Compare(a.values, b.values), cmp.Compare(len(a.fields), len(b.fields)))
	})
	var words []string
	for i, f := range best.fields {
		if i == 3 {
			words = append(words, fmt.Sprintf("and %d more", len(best.fields)-i))
			break
		}
		message, _, _ := strings.Cut(f.Message, "; the closest: ") // choices in choices would fill pages
		words = append(words, strings.TrimSpace(strings.TrimPrefix(f.Pointer, here)+" "+message))
	}
	t.report.put(e.InstanceLocation, code, "fits none of the %d choices; the closest: %s", len(e.Causes), strings.Join(words, "; "))
}

func unique(names []string) []string {
	var list []string
	for _, name := range names {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// soleKind looks through groups and references of one error.
func soleKind(e *jsonschema.ValidationError) jsonschema.ErrorKind {
	for {
		switch e.ErrorKind.(type) {
		case *kind.Group, *kind.AllOf, *kind.Reference:
			if len(e.Causes) == 1 {
				e = e.Causes[0]
				continue
			}
		}
		return e.ErrorKind
	}
}

// propertyName tells that a member's name isn't allowed. The library (6.0.3)
// lets this error's location be overwritten by later ones, so it is looked for
// when it doesn't hold.
func (t *teller) propertyName(e *jsonschema.ValidationError, name string) {
	path := e.InstanceLocation
	if rawjson.Get(lookup(t.raw, path), name) == nil {
		path = objectWith(t.raw, name, len(path), nil)
	}
	sub := teller{raw: rawjson.AppendString(nil, name), nodes: t.nodes}
	for _, c := range e.Causes {
		sub.tell(c)
	}
	why := "is not allowed"
	if fields := sub.report.sorted(); len(fields) > 0 {
		why = fields[0].Message
	}
	t.report.put(below(path, name), "property_name", "the name of this field %s", why)
}

// objectWith is the path to the first object, so many levels deep, that has a member of this name.
func objectWith(raw []byte, name string, levels int, path []string) []string {
	if levels == 0 {
		if rawjson.Get(raw, name) != nil {
			return path
		}
		return nil
	}
	for it := rawjson.Members(raw); it.Next(); {
		if found := objectWith(it.Value(), name, levels-1, below(path, it.Name())); found != nil {
			return found
		}
	}
	i := 0
	for it := rawjson.Elements(raw); it.Next(); i++ {
		if found := objectWith(it.Value(), name, levels-1, below(path, itoa(i))); found != nil {
			return found
		}
	}
	return nil
}
