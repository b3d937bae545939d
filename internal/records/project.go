package records

import (
	"strings"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records/rawjson"
)

// projection is what a list or GET takes out of each record: fields= of the API.
type projection struct {
	fields []projected // in the order asked for
}

// projected is a field, whole or with only some of what is in it.
type projected struct {
	name name
	only *tree // nil takes all of it
}

// tree is the members to take out of an object, by name.
type tree struct {
	names []name
	below []*tree
}

// maxFieldsAsked bounds the work of a projection.
const maxFieldsAsked = 100

// projection reads a list of fields. id always comes along, so that a record can be asked for.
func (coll *collection) projection(c *identity.Caller, paths []string) (*projection, error) {
	if len(paths) > maxFieldsAsked {
		return nil, errs.At(errs.Invalid, "/fields", "too_many", "at most 100 fields can be asked for")
	}
	root := &tree{}
	root.add([]string{"id"})
	for _, path := range paths {
		parts, err := coll.visiblePath(c, path, "/fields")
		if err != nil {
			return nil, err
		}
		root.add(parts)
	}
	p := &projection{}
	for i := range root.names {
		p.fields = append(p.fields, projected{root.names[i], root.below[i]})
	}
	return p, nil
}

func (t *tree) add(path []string) {
	for i := range t.names {
		if rawjson.TextIs(t.names[i].quoted, path[0]) {
			switch {
			case len(path) == 1:
				t.below[i] = nil
			case t.below[i] != nil:
				t.below[i].add(path[1:])
			}
			return
		}
	}
	var below *tree
	if len(path) > 1 {
		below = &tree{}
		below.add(path[1:])
	}
	t.names, t.below = append(t.names, nameOf(path[0])), append(t.below, below)
}

// append appends the fields of a record as an object.
func (p *projection) append(dst []byte, s *stored) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for i := range p.fields {
		f := &p.fields[i]
		if value := s.field(&f.name); value != nil {
			dst = appendMember(dst, start, f.name.quoted, value, f.only)
		}
	}
	return append(dst, '}')
}

func appendMember(dst []byte, start int, quoted, value []byte, only *tree) []byte {
	if only != nil && rawjson.KindOf(value) != rawjson.Object {
		return dst // a path into what is no object has nothing
	}
	if len(dst) > start {
		dst = append(dst, ',')
	}
	dst = append(append(dst, quoted...), ':')
	if only == nil {
		return append(dst, value...)
	}
	dst = append(dst, '{')
	start = len(dst)
	for i := range only.names {
		if below := getQuoted(value, only.names[i].quoted); below != nil {
			dst = appendMember(dst, start, only.names[i].quoted, below, only.below[i])
		}
	}
	return append(dst, '}')
}

// visiblePath takes a path such as address.city apart, and refuses one of a hidden field but for admins. A schema that knows
// the field not refuses it too.
func (coll *collection) visiblePath(c *identity.Caller, path, pointer string) ([]string, error) {
	parts := strings.Split(path, ".")
	for _, p := range parts {
		if p == "" || strings.HasPrefix(parts[0], "-") { // --title is a slip of the hand
			return nil, errs.At(errs.Invalid, pointer, "bad_field", "a field is a name, or names with dots between: title, address.city")
		}
	}
	if coll.hidesFrom(c, parts[0]) {
		return nil, fieldNotAllowed(pointer, parts[0])
	}
	if coll.schema != nil && !isSystem(parts[0]) && coll.schema.Forbids(parts) {
		return nil, errs.At(errs.Invalid, pointer, "unknown_field", "the schema has no field "+path)
	}
	return parts, nil
}

// hidesFrom reports whether a field is hidden from a caller.
func (coll *collection) hidesFrom(c *identity.Caller, field string) bool {
	if c.IsAdmin() {
		return false
	}
	for i := range coll.hidden {
		if rawjson.TextIs(coll.hidden[i].quoted, field) {
			return true
		}
	}
	return false
}

// fieldNotAllowed is the same for hidden fields whether any record has them or not.
func fieldNotAllowed(pointer, field string) error {
	return errs.At(errs.FieldNotAllowed, pointer, "field_not_allowed", field+" can't be asked about")
}

// splitList splits a list with commas.
func splitList(s string) []string {
	if s == "" {
		return nil
	}
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
