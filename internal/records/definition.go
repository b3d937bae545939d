package records

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records/index"
	"croft/internal/records/rawjson"
)

// definition is what an owner says of a collection. Its JSON is the body of a PUT, in one order and with every member,
// so that equal definitions have equal bytes.
type definition struct {
	Schema  json.RawMessage   `json:"schema"`
	Indexes []indexDefinition `json:"indexes"`
	Access  accessDefinition  `json:"access"`
	Checks  []checkDefinition `json:"checks"`
	Hidden  []string          `json:"hidden"`
}

type indexDefinition struct {
	Name   string   `json:"name"`
	Fields []string `json:"fields"` // "due", "-due", "address.city"
	Unique bool     `json:"unique"`
	Where  string   `json:"where,omitempty"`
}

// accessDefinition holds a rule for each action. One that is null is for admins only.
type accessDefinition struct {
	Read   *string `json:"read"`
	Create *string `json:"create"`
	Update *string `json:"update"`
	Delete *string `json:"delete"`
}

func (a *accessDefinition) rule(action string) **string {
	switch action {
	case identity.Read:
		return &a.Read
	case identity.Create:
		return &a.Create
	case identity.Update:
		return &a.Update
	case identity.Delete:
		return &a.Delete
	}
	return nil
}

type checkDefinition struct {
	Name    string `json:"name"`
	Expr    string `json:"expr"`
	Message string `json:"message"`
}

// Limits of a definition. They are far above what applications need and keep one collection's upkeep bounded.
const (
	maxIndexes = 32
	maxChecks  = 64
	maxHidden  = 64
)

// readOnlyMembers stand in what a GET of a collection returns beside its definition. They may be sent back, so that what was
// read can be edited and put: rev is then a condition, the others are not read.
var readOnlyMembers = map[string]bool{
	"name": true, "created": true, "updated": true, "records": true, "index_states": true, "warnings": true,
}

var (
	collectionName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$`)
	partName       = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
)

func checkCollectionName(name string) error {
	if len(name) > 64 || !collectionName.MatchString(name) {
		return errs.New(errs.Invalid, "a collection's name has small letters, digits and _, begins with a letter, may have one dot, and at most 64 characters: notes, shop.orders")
	}
	return nil
}

// parseDefinition reads the body of a PUT, and the rev that it says it is based on.
func parseDefinition(body []byte) (def definition, rev string, err error) {
	body, err = rawjson.Canonical(nil, body, rawjson.Limits{})
	if err != nil {
		return def, "", jsonError(err)
	}
	if rawjson.KindOf(body) != rawjson.Object {
		return def, "", errs.At(errs.Invalid, "", "type", "a definition is an object")
	}
	p := &definitionParser{}
	for it := rawjson.Members(body); it.Next(); {
		value, at := it.Value(), rawjson.Pointer(it.Name())
		switch it.Name() {
		case "schema":
			if rawjson.KindOf(value) != rawjson.Null {
				def.Schema = bytes.Clone(value)
			}
		case "indexes":
			def.Indexes = array(p, value, at, maxIndexes, p.index)
		case "relations":
			if k := rawjson.KindOf(value); k != rawjson.Null && string(value) != "{}" {
				p.fault(at, "not_supported", "relations don't work yet: leave them out")
			}
		case "access":
			p.access(&def.Access, value, at)
		case "checks":
			def.Checks = array(p, value, at, maxChecks, p.check)
		case "hidden":
			def.Hidden = array(p, value, at, maxHidden, p.hidden)
		case "rev":
			rev = p.text(value, at)
		default:
			if !readOnlyMembers[it.Name()] {
				p.fault(at, "unknown_field", "a definition has schema, indexes, access, checks and hidden")
			}
		}
	}
	unique(p, "/indexes", def.Indexes, func(d indexDefinition) string { return d.Name })
	unique(p, "/checks", def.Checks, func(d checkDefinition) string { return d.Name })
	unique(p, "/hidden", def.Hidden, func(field string) string { return field })
	return def, rev, p.err()
}

// encode returns the definition's one JSON form.
func (d *definition) encode() ([]byte, error) {
	if d.Schema == nil {
		d.Schema = json.RawMessage("null")
	}
	if d.Indexes == nil {
		d.Indexes = []indexDefinition{}
	}
	if d.Checks == nil {
		d.Checks = []checkDefinition{}
	}
	if d.Hidden == nil {
		d.Hidden = []string{}
	}
	b, err := encode(d)
	if err != nil {
		return nil, err
	}
	return rawjson.Canonical(nil, b, rawjson.Limits{})
}

// encode is json.Marshal that leaves <, > and & as people write them.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// definitionParser gathers the faults of a definition, so that all are told at once.
type definitionParser struct{ faults []errs.Field }

func (p *definitionParser) fault(pointer, code, format string, args ...any) {
	p.faults = append(p.faults, errs.Field{Pointer: pointer, Code: code, Message: fmt.Sprintf(format, args...)})
}

func (p *definitionParser) err() error {
	if p.faults == nil {
		return nil
	}
	text := p.faults[0].Message
	if len(p.faults) > 1 {
		text = fmt.Sprintf("there are %d faults", len(p.faults))
	}
	return &errs.Error{Code: errs.Invalid, Text: text, Fields: p.faults}
}

func (p *definitionParser) text(value []byte, at string) string {
	if rawjson.KindOf(value) != rawjson.String {
		p.fault(at, "type", "must be a string")
		return ""
	}
	return rawjson.Text(value)
}

func (p *definitionParser) name(value []byte, at string) string {
	s := p.text(value, at)
	if s != "" && !partName.MatchString(s) {
		p.fault(at, "bad_name", "a name has small letters, digits and _, begins with a letter, and has at most 64 characters")
	}
	return s
}

// array reads each element of an array.
func array[T any](p *definitionParser, value []byte, at string, most int, read func(value []byte, at string) T) []T {
	if rawjson.KindOf(value) == rawjson.Null {
		return nil
	}
	if rawjson.KindOf(value) != rawjson.Array {
		p.fault(at, "type", "must be an array")
		return nil
	}
	var all []T
	for it := rawjson.Elements(value); it.Next(); {
		if len(all) == most {
			p.fault(at, "too_many", "at most %d are allowed", most)
			return all
		}
		all = append(all, read(it.Value(), fmt.Sprintf("%s/%d", at, len(all))))
	}
	return all
}

// members calls read for each member of an object, and tells those it doesn't know.
func (p *definitionParser) members(value []byte, at, known string, read func(name string, value []byte, at string) bool) {
	if rawjson.KindOf(value) != rawjson.Object {
		p.fault(at, "type", "must be an object")
		return
	}
	for it := rawjson.Members(value); it.Next(); {
		at := at + rawjson.Pointer(it.Name())
		if !read(it.Name(), it.Value(), at) {
			p.fault(at, "unknown_field", "here stand %s", known)
		}
	}
}

func (p *definitionParser) index(value []byte, at string) (d indexDefinition) {
	p.members(value, at, "name, fields, unique and where", func(name string, value []byte, at string) bool {
		switch name {
		case "name":
			d.Name = p.name(value, at)
		case "fields":
			d.Fields = array(p, value, at, index.MaxFields, p.text)
		case "unique":
			if k := rawjson.KindOf(value); k != rawjson.True && k != rawjson.False {
				p.fault(at, "type", "must be true or false")
			}
			d.Unique = rawjson.KindOf(value) == rawjson.True
		case "where":
			d.Where = p.text(value, at)
		default:
			return false
		}
		return true
	})
	if d.Name == "" {
		p.fault(at+"/name", "required", "an index needs a name")
	}
	if len(d.Fields) == 0 {
		p.fault(at+"/fields", "required", "an index needs at least one field")
	}
	unique(p, at+"/fields", d.Fields, func(field string) string { return strings.TrimPrefix(field, "-") })
	return d
}

func (p *definitionParser) access(a *accessDefinition, value []byte, at string) {
	if rawjson.KindOf(value) == rawjson.Null {
		return
	}
	p.members(value, at, "read, create, update and delete", func(name string, value []byte, at string) bool {
		rule := a.rule(name)
		if rule == nil {
			return false
		}
		if rawjson.KindOf(value) != rawjson.Null {
			text := p.text(value, at)
			*rule = &text
		}
		return true
	})
}

func (p *definitionParser) check(value []byte, at string) (d checkDefinition) {
	p.members(value, at, "name, expr and message", func(name string, value []byte, at string) bool {
		switch name {
		case "name":
			d.Name = p.name(value, at)
		case "expr":
			d.Expr = p.text(value, at)
		case "message":
			d.Message = p.text(value, at)
		default:
			return false
		}
		return true
	})
	if d.Name == "" {
		p.fault(at+"/name", "required", "a check needs a name")
	}
	if d.Expr == "" {
		p.fault(at+"/expr", "required", "a check needs an expression")
	}
	return d
}

func (p *definitionParser) hidden(value []byte, at string) string {
	field := p.text(value, at)
	switch {
	case rawjson.KindOf(value) != rawjson.String: // told already
	case isSystem(field):
		p.fault(at, "system_field", "%s is a system field, which can't be hidden", field)
	case strings.Contains(field, "."):
		p.fault(at, "not_supported", "only whole top-level fields can be hidden")
	case field == "":
		p.fault(at, "bad_name", "a hidden field needs a name")
	}
	return field
}

// unique tells names that occur twice.
func unique[T any](p *definitionParser, at string, all []T, name func(T) string) {
	seen := map[string]bool{}
	for i, d := range all {
		n := name(d)
		if n != "" && seen[n] {
			p.fault(fmt.Sprintf("%s/%d", at, i), "duplicate", "%s stands here twice", n)
		}
		seen[n] = true
	}
}

// jsonError is the error of a text that is not strict JSON.
func jsonError(err error) error {
	e, ok := err.(*rawjson.Error)
	if !ok {
		return err
	}
	code := errs.InvalidJSON
	if e.Code == rawjson.CodeReserved || e.Code == rawjson.CodeNumber {
		code = errs.Invalid
	}
	return errs.At(code, e.Pointer, e.Code, e.Msg)
}
