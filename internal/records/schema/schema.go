package schema

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"croft/internal/errs"
	"croft/internal/records/expr"
	"croft/internal/records/rawjson"
)

// A Schema is a JSON Schema ready for use.
type Schema struct {
	root  *node
	nodes map[string]*node // by pointer

	// For schemas that aren't plain; nil else.
	whole, denied *jsonschema.Schema // the schema, and what it doesn't let through
	levels        int                // how deep a value may nest, -1 for any

	readOnly [][]string
	shape    *expr.Shape
	never    map[*expr.Shape]bool // shapes that no value has
}

// Compile makes a Schema of its JSON. The error is an *errs.Error with every
// fault found, with pointers into raw.
func Compile(raw []byte) (*Schema, error) {
	if len(raw) > maxBytes {
		return nil, refuse(errs.Field{Code: "too_large", Message: "the schema has more than 256 KiB"})
	}
	raw, err := rawjson.Canonical(nil, raw, rawjson.Limits{})
	if err != nil {
		var e *rawjson.Error
		errors.As(err, &e)
		return nil, refuse(errs.Field{Pointer: e.Pointer, Code: e.Code, Message: e.Msg})
	}
	p := &parser{byPointer: map[string]*node{}, anchors: map[string]*node{}, patterns: map[string]*regexp.Regexp{}}
	root := p.schema(raw, "")
	if len(p.nodes) > maxNodes {
		return nil, refuse(errs.Field{Code: "too_large", Message: "the schema consists of more than 5,000 schemas"})
	}
	p.references(raw)
	p.systemProperties(root)

	lib, err := newLibrary(raw, p.patterns)
	if err != nil {
		return nil, refuse(errs.Field{Code: "schema", Message: err.Error()})
	}
	whole, err := lib.at("")
	var meta *jsonschema.SchemaValidationError
	switch {
	case errors.As(err, &meta):
		p.add(faults(meta.Err, raw, nil))
	case err != nil && len(p.problems) == 0:
		p.problem("", "schema", "is not a schema that Croft can use: %v", err)
	}
	if p.endless() || len(p.problems) > 0 {
		return nil, refuse(p.problems...)
	}

	s := &Schema{root: root, nodes: p.byPointer, levels: p.levels()}
	if len(p.problems) == 0 { // else the ways through it may be too many to walk
		s.readOnly = p.readOnly(root)
		p.defaults(lib, s)
	}
	if len(p.problems) > 0 {
		return nil, refuse(p.problems...)
	}
	b := shaper{shapes: map[string]*expr.Shape{}, never: map[*expr.Shape]bool{}}
	s.shape, s.never = b.shape([]*node{root}), b.never
	if !isPlain(root) {
		s.whole = whole
		if s.denied, err = lib.compiler.Compile(deniedURL); err != nil {
			return nil, refuse(errs.Field{Code: "schema", Message: err.Error()})
		}
	}
	return s, nil
}

// add notes what JSON Schema's own schema says, but where we said it better.
func (p *parser) add(found []errs.Field) {
	ours := len(p.problems)
	for _, f := range found {
		if !slices.ContainsFunc(p.problems[:ours], func(o errs.Field) bool { return o.Pointer == f.Pointer }) {
			p.problems = append(p.problems, f)
		}
	}
}

// refuse is the error about a schema's faults.
func refuse(problems ...errs.Field) error {
	slices.SortFunc(problems, func(a, b errs.Field) int {
		return cmp.Or(comparePointers(a.Pointer, b.Pointer), strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message))
	})
	problems = slices.Compact(problems)
	if len(problems) > maxFaults {
		problems = problems[:maxFaults]
	}
	text := "the schema can't be used"
	if len(problems) == 1 {
		text += ": " + shown(problems[0].Pointer) + " " + problems[0].Message
	} else {
		text += ": it has " + count(len(problems), "fault")
	}
	return &errs.Error{Code: errs.Invalid, Text: text, Fields: problems}
}

// isPlain tells whether everything that applies to values of n is of the quick way.
func isPlain(n *node) bool {
	seen := map[*node]bool{}
	var visit func(*node) bool
	visit = func(n *node) bool {
		if n == nil || seen[n] {
			return true
		}
		seen[n] = true
		for _, m := range n.members {
			if !visit(m.node) {
				return false
			}
		}
		return n.plain && visit(n.ref) && visit(n.items) && visit(n.additional)
	}
	return visit(n)
}

// Validate tells what is wrong with a record, given as canonical JSON without
// its system fields: every fault with its pointer, in words, but none of the
// record's values. Nothing means that it fits.
func (s *Schema) Validate(raw []byte) []errs.Field {
	if s.whole != nil {
		return s.slow(raw)
	}
	return quick(s.root, s.levels, raw)
}

// quick is Validate for plain schemas.
func quick(n *node, levels int, raw []byte) []errs.Field {
	if levels >= 0 && depth(raw) > levels {
		return tooDeep(levels)
	}
	var w walker
	if w.value(n, raw) {
		return nil
	}
	w.report = new(report)
	w.value(n, raw)
	return w.report.sorted()
}

// fits holds a value to a schema inside the whole one, while that is compiled.
func fits(lib *library, s *Schema, n *node, raw []byte) ([]errs.Field, error) {
	if isPlain(n) {
		return quick(n, s.levels, raw), nil
	}
	whole, err := lib.at(n.pointer)
	if err != nil {
		return nil, err
	}
	if err := whole.Validate(decode(raw)); err != nil {
		return faults(err, raw, s.nodes), nil
	}
	return nil, nil
}
