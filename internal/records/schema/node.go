package schema

import (
	"regexp"

	"croft/internal/records/rawjson"
)

// A node is one schema: the whole one, or one that stands inside it.
// Everything is read-only after Compile.
type node struct {
	pointer string // into the whole schema
	id      int    // its place in parser.nodes
	bool    *bool  // for the schemas true and false

	// What any value must be.
	types     typeSet // 0: any
	enum      [][]byte
	isEnum    bool
	constant  []byte
	format    string
	hasFormat func([]byte) bool // nil: none

	// Numbers.
	minimum, maximum, exclusiveMinimum, exclusiveMaximum *float64
	multipleOf                                           []byte

	// Strings.
	minLength, maxLength int // maxLength -1: none; so are the others below
	pattern              *regexp.Regexp

	// Arrays.
	minItems, maxItems int
	uniqueItems        bool
	items              *node
	prefixItems        []*node
	contains           *node
	unevaluatedItems   *node

	// Objects.
	minProperties, maxProperties int
	members                      []member       // of "properties" and "required", in this order
	index                        map[string]int // into members, by quoted name; nil when there are few
	required                     int            // how many of members are
	closed                       bool           // "additionalProperties": false
	additional                   *node          // "additionalProperties": {…}
	patternProperties            []member
	propertyNames                *node
	dependentSchemas             []member // and the schemas of "dependencies"
	unevaluatedProperties        *node

	// Schemas for the same value.
	refs  []reference // "$ref" and "$dynamicRef"
	ref   *node       // what "$ref" stands for
	allOf []*node
	anyOf []*node
	oneOf []*node
	ways  []*node // "not", "if", "then", "else"

	elsewhere []*node // "$defs", "definitions", "contentSchema": nothing applies them here

	fallback  []byte  // "default"; nil: none
	filled    []byte  // the same with the defaults inside it
	applied   []*node // layers, kept
	fills     bool    // properties in or below it have defaults
	defaulted []int   // which of members have a default
	readOnly  bool

	plain bool // has keywords of the quick way only
}

// A member is a named schema of an object.
type member struct {
	name     string
	key      []byte // the name as it stands in canonical JSON
	node     *node  // nil: the name is only required
	required bool
}

// A reference is a "$ref" or "$dynamicRef" as written. Since a schema is one
// resource ("$id" inside it is refused), the dynamic kind finds the same target.
type reference struct {
	keyword string
	text    string
	target  *node
}

// fewMembers is up to how many members a walk beats a map.
const fewMembers = 12

// find is the place in members of a quoted name, -1 if it isn't there. Records
// mostly have their members in the schema's order: next is where to look first.
func (n *node) find(key []byte, next int) int {
	if next < len(n.members) && string(n.members[next].key) == string(key) {
		return next
	}
	if n.index != nil {
		if i, ok := n.index[string(key)]; ok {
			return i
		}
		return -1
	}
	for i := range n.members {
		if string(n.members[i].key) == string(key) {
			return i
		}
	}
	return -1
}

// names are those of "properties".
func (n *node) names() []string {
	var names []string
	for _, m := range n.members {
		if m.node != nil {
			names = append(names, m.name)
		}
	}
	return names
}

// inPlace calls f with each schema that applies to the same value as n.
func (n *node) inPlace(f func(*node)) {
	for _, r := range n.refs {
		if r.target != nil {
			f(r.target)
		}
	}
	for _, list := range [][]*node{n.allOf, n.anyOf, n.oneOf, n.ways} {
		for _, c := range list {
			f(c)
		}
	}
	for _, m := range n.dependentSchemas {
		f(m.node)
	}
}

// layers are the schemas that surely apply to a value of n: itself, and through
// "$ref" and "allOf".
func (n *node) layers() []*node {
	if n.applied != nil {
		return n.applied
	}
	list := []*node{n}
	for i := 0; i < len(list); i++ {
		for _, r := range list[i].refs {
			if r.target != nil {
				list = append(list, r.target)
			}
		}
		list = append(list, list[i].allOf...)
	}
	return list
}

// A typeSet is a set of JSON Schema's types.
type typeSet uint8

const (
	typeNull typeSet = 1 << iota
	typeBoolean
	typeNumber
	typeInteger
	typeString
	typeArray
	typeObject
)

var typeNames = []struct {
	name string
	set  typeSet
}{
	{"null", typeNull}, {"boolean", typeBoolean}, {"number", typeNumber}, {"integer", typeInteger},
	{"string", typeString}, {"array", typeArray}, {"object", typeObject},
}

func typeNamed(name string) typeSet {
	for _, t := range typeNames {
		if t.name == name {
			return t.set
		}
	}
	return 0
}

func (s typeSet) names() []string {
	var names []string
	for _, t := range typeNames {
		if s&t.set != 0 {
			names = append(names, t.name)
		}
	}
	return names
}

// typeOf is the type of a canonical value; a whole number is typeNumber too.
func typeOf(raw []byte) typeSet {
	switch rawjson.KindOf(raw) {
	case rawjson.Null:
		return typeNull
	case rawjson.True, rawjson.False:
		return typeBoolean
	case rawjson.Num:
		return typeNumber
	case rawjson.String:
		return typeString
	case rawjson.Array:
		return typeArray
	}
	return typeObject
}

// isWhole tells whether a canonical number has no fraction. Canonical numbers
// have an exponent only below 1e-6 and from 1e21 on, where all doubles are whole.
func isWhole(raw []byte) bool {
	fraction := false
	for i, c := range raw {
		switch c {
		case '.':
			fraction = true
		case 'e':
			return raw[i+1] == '+'
		}
	}
	return !fraction
}
