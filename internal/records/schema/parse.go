package schema

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"croft/internal/errs"
	"croft/internal/records/rawjson"
)

const (
	dialect = "https://json-schema.org/draft/2020-12/schema"

	// A schema of a hundred fields with descriptions has some 30 KiB.
	maxBytes = 256 << 10
	// The library compiles in time quadratic in this: 5,000 take a second.
	maxNodes = 5000
	// RE2's time is the text's length times the pattern's instructions.
	maxPattern      = 1000 // bytes
	maxInstructions = 4096
	// Lengths and counts are kept as int, which has 32 bits on small machines.
	maxCount = 1<<31 - 1
)

// systemFields are the record's members that a schema has no say in.
var systemFields = []string{"id", "rev", "created", "updated", "owner"}

// A parser takes a schema apart and notes everything that is wrong with it,
// except what the meta-schema tells (a keyword of the wrong type, say).
type parser struct {
	nodes     []*node // all of them, in document order
	byPointer map[string]*node
	anchors   map[string]*node
	patterns  map[string]*regexp.Regexp
	rootID    string
	problems  []errs.Field
}

func (p *parser) problem(pointer, code, format string, args ...any) {
	p.problems = append(p.problems, errs.Field{Pointer: pointer, Code: code, Message: fmt.Sprintf(format, args...)})
}

// schema parses the schema at a pointer.
func (p *parser) schema(raw []byte, pointer string) *node {
	n := &node{
		pointer: pointer, id: len(p.nodes), plain: true,
		maxLength: -1, maxItems: -1, maxProperties: -1,
	}
	p.nodes = append(p.nodes, n)
	p.byPointer[pointer] = n
	switch rawjson.KindOf(raw) {
	case rawjson.True, rawjson.False:
		b := raw[0] == 't'
		n.bool = &b
	case rawjson.Object:
		for it := rawjson.Members(raw); it.Next(); {
			name := it.Name()
			p.keyword(n, name, it.Value(), pointer+rawjson.Pointer(name))
		}
		n.finish()
	}
	return n
}

// finish makes what find needs.
func (n *node) finish() {
	for _, m := range n.members {
		if m.required {
			n.required++
		}
	}
	if len(n.members) > fewMembers {
		n.index = make(map[string]int, len(n.members))
		for i, m := range n.members {
			n.index[string(m.key)] = i
		}
	}
}

// keyword parses one keyword of n. A value of the wrong type is left for the
// meta-schema to complain about.
func (p *parser) keyword(n *node, name string, v []byte, at string) {
	switch name {
	case "$schema":
		if s := text(v); s != "" && strings.TrimSuffix(s, "#") != dialect {
			p.problem(at, "dialect", "must be %q: Croft speaks this version of JSON Schema only", dialect)
		}
	case "$id":
		p.identifier(n, v, at)
	case "$anchor", "$dynamicAnchor":
		if s := text(v); s != "" {
			if other, taken := p.anchors[s]; taken && other != n {
				p.problem(at, "bad_ref", "the anchor is there already, at %s", shown(other.pointer))
			}
			p.anchors[s] = n
		}
	case "$ref", "$dynamicRef":
		n.plain = n.plain && name == "$ref"
		if rawjson.KindOf(v) == rawjson.String {
			n.refs = append(n.refs, reference{keyword: name, text: text(v)})
		}
	case "$defs", "definitions":
		for _, m := range p.schemaMap(v, at) {
			n.elsewhere = append(n.elsewhere, m.node)
		}
	case "contentSchema":
		n.elsewhere = append(n.elsewhere, p.schema(v, at))
	case "$comment", "title", "description", "examples", "deprecated", "writeOnly", "contentEncoding", "contentMediaType":
		// Notes.

	case "type":
		switch rawjson.KindOf(v) {
		case rawjson.String:
			n.types = typeNamed(text(v))
		case rawjson.Array:
			for it := rawjson.Elements(v); it.Next(); {
				n.types |= typeNamed(text(it.Value()))
			}
		}
	case "enum":
		n.isEnum = rawjson.KindOf(v) == rawjson.Array
		for it := rawjson.Elements(v); it.Next(); {
			n.enum = append(n.enum, it.Value())
		}
	case "const":
		n.constant = v
	case "format":
		p.format(n, v, at)
	case "default":
		n.fallback = v
		p.noDollar(v, at)
	case "readOnly":
		n.readOnly = string(v) == "true"

	case "minimum":
		n.minimum = number(v)
	case "maximum":
		n.maximum = number(v)
	case "exclusiveMinimum":
		n.exclusiveMinimum = number(v)
	case "exclusiveMaximum":
		n.exclusiveMaximum = number(v)
	case "multipleOf":
		if f := number(v); f != nil && *f > 0 {
			n.multipleOf = v
		}

	case "minLength":
		n.minLength = p.count(v, at)
	case "maxLength":
		n.maxLength = p.count(v, at)
	case "pattern":
		if rawjson.KindOf(v) == rawjson.String {
			n.pattern = p.pattern(text(v), at)
		}

	case "minItems":
		n.minItems = p.count(v, at)
	case "maxItems":
		n.maxItems = p.count(v, at)
	case "uniqueItems":
		n.uniqueItems = string(v) == "true"
	case "items":
		n.items = p.schema(v, at)
	case "prefixItems":
		n.prefixItems, n.plain = p.schemas(v, at), false
	case "contains":
		n.contains, n.plain = p.schema(v, at), false
	case "minContains", "maxContains":
		p.count(v, at)
		n.plain = false
	case "unevaluatedItems":
		n.unevaluatedItems, n.plain = p.schema(v, at), false

	case "minProperties":
		n.minProperties = p.count(v, at)
	case "maxProperties":
		n.maxProperties = p.count(v, at)
	case "properties":
		for _, m := range p.schemaMap(v, at) {
			if strings.HasPrefix(m.name, "$") {
				p.problem(at+rawjson.Pointer(m.name), "reserved_name", `names of a record's fields must not begin with "$"`)
			}
			n.member(m.key).node = m.node
		}
	case "required":
		for it := rawjson.Elements(v); it.Next(); {
			if rawjson.KindOf(it.Value()) == rawjson.String {
				n.member(it.Value()).required = true
			}
		}
	case "additionalProperties":
		switch rawjson.KindOf(v) {
		case rawjson.True, rawjson.False:
			n.closed = v[0] == 'f'
			p.schema(v, at) // so that a reference may point to it
		default:
			n.additional = p.schema(v, at)
		}
	case "patternProperties":
		n.patternProperties, n.plain = p.schemaMap(v, at), false
		for _, m := range n.patternProperties {
			p.pattern(m.name, at+rawjson.Pointer(m.name))
		}
	case "propertyNames":
		n.propertyNames, n.plain = p.schema(v, at), false
	case "dependentRequired":
		n.plain = false
	case "dependentSchemas":
		n.dependentSchemas, n.plain = append(n.dependentSchemas, p.schemaMap(v, at)...), false
	case "dependencies":
		n.plain = false
		for it := rawjson.Members(v); it.Next(); {
			if rawjson.KindOf(it.Value()) != rawjson.Array {
				sub := p.schema(it.Value(), at+rawjson.Pointer(it.Name()))
				n.dependentSchemas = append(n.dependentSchemas, member{name: it.Name(), key: it.Key(), node: sub})
			}
		}
	case "unevaluatedProperties":
		n.unevaluatedProperties, n.plain = p.schema(v, at), false

	case "allOf":
		n.allOf, n.plain = p.schemas(v, at), false
	case "anyOf":
		n.anyOf, n.plain = p.schemas(v, at), false
	case "oneOf":
		n.oneOf, n.plain = p.schemas(v, at), false
	case "not", "if", "then", "else":
		n.ways, n.plain = append(n.ways, p.schema(v, at)), false

	default:
		p.unknown(name, at)
	}
}

// member is n's member of a quoted name, added when it is new.
func (n *node) member(key []byte) *member {
	i := n.find(key, 0)
	if i < 0 {
		i = len(n.members)
		n.members = append(n.members, member{name: rawjson.Text(key), key: key})
	}
	return &n.members[i]
}

func (p *parser) schemas(raw []byte, at string) []*node {
	var list []*node
	for it := rawjson.Elements(raw); it.Next(); {
		list = append(list, p.schema(it.Value(), at+"/"+strconv.Itoa(len(list))))
	}
	return list
}

func (p *parser) schemaMap(raw []byte, at string) []member {
	var list []member
	for it := rawjson.Members(raw); it.Next(); {
		name := it.Name()
		list = append(list, member{name: name, key: it.Key(), node: p.schema(it.Value(), at+rawjson.Pointer(name))})
	}
	return list
}

func (p *parser) identifier(n *node, v []byte, at string) {
	id := strings.TrimSuffix(text(v), "#")
	switch {
	case n.pointer != "":
		p.problem(at, "embedded_id", `"$id" may stand only at the top of the schema; name a part of it with "$anchor"`)
	case strings.Contains(id, "://json-schema.org/"):
		p.problem(at, "reserved_id", "this name belongs to JSON Schema itself; choose one of your own, or none")
	default:
		p.rootID = id
	}
}

func (p *parser) format(n *node, v []byte, at string) {
	if rawjson.KindOf(v) != rawjson.String {
		return
	}
	n.format = text(v)
	if n.hasFormat = formats[n.format]; n.hasFormat == nil {
		known := formatNames()
		p.problem(at, "unknown_format", "unknown format%s; the known ones are %s", didYouMean(n.format, known), strings.Join(known, ", "))
	}
}

func (p *parser) pattern(source, at string) *regexp.Regexp {
	if len(source) > maxPattern {
		p.problem(at, "pattern", "the pattern has %d bytes; at most %d are allowed", len(source), maxPattern)
		return nil
	}
	parsed, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		hint := ""
		if strings.Contains(source, "(?=") || strings.Contains(source, "(?!") || strings.Contains(source, "(?<") {
			hint = "; looking ahead and behind are not possible, for they can take for ever"
		}
		p.problem(at, "pattern", "is not a pattern that Croft can run (RE2 syntax, https://github.com/google/re2/wiki/Syntax): %s%s",
			strings.TrimPrefix(err.Error(), "error parsing regexp: "), hint)
		return nil
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(prog.Inst) > maxInstructions {
		p.problem(at, "pattern", "the pattern is too involved; use smaller counts in braces")
		return nil
	}
	re, err := regexp.Compile(source)
	if err != nil { // can't be: it has just been parsed
		p.problem(at, "pattern", "%v", err)
		return nil
	}
	p.patterns[source] = re
	return re
}

func (p *parser) count(v []byte, at string) int {
	f := number(v)
	if f == nil || *f < 0 || !isWhole(v) {
		return 0
	}
	if *f > maxCount {
		p.problem(at, "maximum", "must be at most %d", maxCount)
		return 0
	}
	return int(*f)
}

// noDollar refuses a default whose names a record may not have.
func (p *parser) noDollar(raw []byte, at string) {
	for it := rawjson.Members(raw); it.Next(); {
		name := it.Name()
		if strings.HasPrefix(name, "$") {
			p.problem(at+rawjson.Pointer(name), "reserved_name", `names of a record's fields must not begin with "$"`)
		}
		p.noDollar(it.Value(), at+rawjson.Pointer(name))
	}
	i := 0
	for it := rawjson.Elements(raw); it.Next(); i++ {
		p.noDollar(it.Value(), at+"/"+strconv.Itoa(i))
	}
}

// hints are for keywords of other versions of JSON Schema, and of its relatives.
var hints = map[string]string{
	"$recursiveAnchor": `use "$dynamicAnchor"`,
	"$recursiveRef":    `use "$ref": "#"`,
	"$vocabulary":      "it is for the schemas of schemas",
	"additionalItems":  `use "prefixItems" for the first items and "items" for the rest`,
	"example":          `use "examples", a list`,
	"id":               `use "$id"`,
	"nullable":         `write "type": ["string", "null"]`,
	"optional":         `a field is optional unless "required" beside "properties" names it`,
	"$data":            "values of the record can be compared in the collection's checks",
	"discriminator":    `use "oneOf" with a "const" in each choice`,
}

func (p *parser) unknown(name, at string) {
	if strings.HasPrefix(name, "x-") {
		return
	}
	hint := didYouMean(name, keywords)
	if h, ok := hints[name]; ok {
		hint = ": " + h
	}
	p.problem(at, "unknown_keyword", `is not a keyword of JSON Schema 2020-12%s (names of your own begin with "x-")`, hint)
}

// keywords are those that parser.keyword knows, for suggestions.
var keywords = strings.Fields(`$anchor $comment $defs $dynamicAnchor $dynamicRef $id $ref $schema additionalProperties allOf anyOf const
	contains contentEncoding contentMediaType contentSchema default definitions dependencies dependentRequired dependentSchemas deprecated
	description else enum examples exclusiveMaximum exclusiveMinimum format if items maxContains maxItems maxLength maxProperties maximum
	minContains minItems minLength minProperties minimum multipleOf not oneOf pattern patternProperties prefixItems properties propertyNames
	readOnly required then title type unevaluatedItems unevaluatedProperties uniqueItems writeOnly`)

// systemProperties refuses a schema that wants to rule the system fields.
func (p *parser) systemProperties(root *node) {
	seen := map[*node]bool{}
	var visit func(*node)
	visit = func(n *node) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, m := range n.members {
			if !slices.Contains(systemFields, m.name) {
				continue
			}
			if m.node != nil {
				p.problem(m.node.pointer, "system_field", "%q is a system field: Croft sets it, and a schema can't declare it", m.name)
			} else {
				p.problem(n.pointer+"/required", "system_field", "%q is a system field: every record has it, and a schema can't require it", m.name)
			}
		}
		n.inPlace(visit)
	}
	visit(root)
}

// text is the text of a string, "" for anything else.
func text(raw []byte) string {
	if rawjson.KindOf(raw) != rawjson.String {
		return ""
	}
	return rawjson.Text(raw)
}

// number is the value of a number, nil for anything else.
func number(raw []byte) *float64 {
	if rawjson.KindOf(raw) != rawjson.Num {
		return nil
	}
	f, ok := rawjson.Number(raw)
	if !ok {
		return nil
	}
	return &f
}

// shown is a pointer as texts show it.
func shown(pointer string) string {
	if pointer == "" {
		return "the top"
	}
	return pointer
}
