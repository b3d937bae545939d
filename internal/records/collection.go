package records

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records/expr"
	"croft/internal/records/index"
	"croft/internal/records/schema"
)

// collection is a collection made ready to use. It is never changed, but for live.
type collection struct {
	name       string
	number     uint32
	generation uint64
	kept       *storedCollection
	def        *definition

	schema   *schema.Schema   // nil takes any object
	shape    *expr.Shape      // what the schema says of fields; nil is nothing
	indexes  []*builtIndex    // in the order of the definition
	ready    []*index.Index   // those that lists may use; see settle
	access   map[string]*rule // by action; one that is missing is for admins only
	checks   []check
	hidden   []name
	warnings []errs.Field

	live *live
}

// live is what all versions of a collection share.
type live struct {
	// touched is at least the number of the last change of a record, once there was one since the start. Only the writer
	// sets it.
	touched atomic.Uint64
	// defined is the generation of the newest definition, set by the writer before it is committed: ^0 when the collection is
	// dropped. Who finds another one than its own must look (see Records.seen).
	defined atomic.Uint64
}

type check struct {
	checkDefinition
	rule *rule
}

// newCollection makes a definition ready, or tells all that is wrong with it.
func newCollection(name string, kept *storedCollection, def *definition) (*collection, error) {
	coll := &collection{
		name: name, number: kept.Number, generation: kept.Generation, kept: kept, def: def,
		access: map[string]*rule{}, live: &live{},
	}
	p := &definitionParser{}
	if len(def.Schema) > 0 && string(def.Schema) != "null" {
		s, err := schema.Compile(def.Schema)
		p.schema(err)
		coll.schema = s
	}
	for _, field := range def.Hidden {
		coll.hidden = append(coll.hidden, nameOf(field))
	}
	if coll.schema != nil {
		coll.shape = coll.schema.Shape()
	}
	for _, action := range identity.Actions {
		text := *def.Access.rule(action)
		if text == nil {
			continue
		}
		mode := expr.Rule
		if action == identity.Update || action == identity.Delete {
			mode = expr.RuleUpdate
		}
		if e := coll.expression(p, *text, mode, "/access/"+action); e != nil {
			coll.access[action] = newRule(e)
		}
	}
	for i, d := range def.Checks {
		if e := coll.expression(p, d.Expr, expr.Rule, fmt.Sprintf("/checks/%d/expr", i)); e != nil {
			coll.checks = append(coll.checks, check{d, newRule(e)})
		}
	}
	for i, d := range def.Indexes {
		ix := coll.index(p, d, fmt.Sprintf("/indexes/%d", i))
		if i < len(kept.IndexNumbers) {
			ix.Number = kept.IndexNumbers[i]
		}
		coll.indexes = append(coll.indexes, newBuiltIndex(ix))
	}
	return coll, p.err()
}

// settle notes the indexes that are complete, before the collection is shown to requests.
func (coll *collection) settle() {
	coll.ready = nil
	for _, ix := range coll.indexes {
		if ix.build == nil {
			coll.ready = append(coll.ready, ix.Index)
		}
	}
}

// schema tells the faults of a schema, with pointers into the definition.
func (p *definitionParser) schema(err error) {
	var e *errs.Error
	switch {
	case err == nil:
	case errors.As(err, &e) && len(e.Fields) > 0:
		for _, f := range e.Fields {
			p.fault("/schema"+f.Pointer, f.Code, "%s", f.Message)
		}
	default:
		p.fault("/schema", "bad_schema", "%s", err)
	}
}

// expression parses an expression and holds it to the schema. What is odd about it but no fault becomes a warning.
func (coll *collection) expression(p *definitionParser, text string, mode expr.Mode, at string) *expr.Expr {
	e, err := expr.Parse(text, mode)
	if err != nil {
		p.fault(at, "bad_expression", "%s", err)
		return nil
	}
	for _, problem := range expr.Check(e, coll.shape) {
		if problem.Warning {
			coll.warnings = append(coll.warnings, errs.Field{Pointer: at, Code: "warning", Message: problem.Error.Error()})
		} else {
			p.fault(at, "bad_expression", "%s", problem.Error.Error())
		}
	}
	return e
}

// nobody is the anonymous caller.
var nobody = &identity.Caller{}

// index makes an index of its definition.
func (coll *collection) index(p *definitionParser, d indexDefinition, at string) *index.Index {
	ix := &index.Index{Name: d.Name, Unique: d.Unique}
	for i, field := range d.Fields {
		at := fmt.Sprintf("%s/fields/%d", at, i)
		path, desc := strings.CutPrefix(field, "-")
		parts := strings.Split(path, ".")
		ix.Fields = append(ix.Fields, index.Field{Path: parts, Desc: desc})
		switch {
		case strings.Contains("."+path+".", ".."), strings.HasPrefix(path, "-"):
			p.fault(at, "bad_field", "a field is a name, or names with dots between; a - in front means descending")
		case path == "rev":
			p.fault(at, "not_supported", "rev changes with every write and can't be indexed: index updated")
		case isSystem(parts[0]) && len(parts) > 1:
			p.fault(at, "bad_field", "%s is a system field and has no fields of its own", parts[0])
		case coll.schema != nil && !isSystem(parts[0]) && coll.schema.Forbids(parts):
			p.fault(at, "unknown_field", "the schema has no field %s", path)
		case d.Unique && coll.hidesFrom(nobody, parts[0]):
			p.fault(at, "hidden", "a unique index over a hidden field would let anyone find out its values")
		case i < len(d.Fields)-1 && coll.hidesFrom(nobody, parts[0]):
			p.fault(at, "hidden", "a hidden field must be the last of an index, or what the others are refused for would tell of it")
		}
	}
	if d.Where == "" {
		return ix
	}
	at += "/where"
	ix.Where = coll.expression(p, d.Where, expr.Filter, at)
	if ix.Where == nil {
		return ix
	}
	if !recordOnly(ix.Where.Root) {
		p.fault(at, "bad_expression", "it may ask about the record alone, not about auth or now, since an entry is made only when the record is written")
	}
	// As filters are, so that the planner can compare them.
	ix.Where = expr.Bind(ix.Where, &expr.Auth{}, time.Time{})
	for _, use := range ix.Where.Fields() {
		switch {
		case use.Path[0] == "rev":
			p.fault(at, "not_supported", "rev changes with every write and can't be indexed")
		case coll.hidesFrom(nobody, use.Path[0]):
			p.fault(at, "hidden", "an index on the condition of a hidden field would let anyone find out its values")
		}
	}
	return ix
}

// recordOnly reports whether an expression's value depends on the record alone.
func recordOnly(n *expr.Node) bool {
	if n.Kind == expr.Now || n.Kind == expr.Field && n.Root == expr.AuthRoot {
		return false
	}
	for _, arg := range n.Args {
		if !recordOnly(arg) {
			return false
		}
	}
	return true
}

// failedChecks tells the checks that a record does not pass.
func (coll *collection) failedChecks(g *grant, after *stored) []errs.Field {
	var faults []errs.Field
	for _, c := range coll.checks {
		if c.rule.holds(g, after, nil) {
			continue
		}
		message := c.Message
		if message == "" {
			message = "does not pass the check " + c.Name
		}
		faults = append(faults, errs.Field{Pointer: "", Code: c.Name, Message: message})
	}
	return faults
}

// sameIndex reports whether two indexes are defined alike, so that the one can take the place of the other as it is.
func sameIndex(a, b indexDefinition) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// rev is the collection's revision.
func (coll *collection) rev() string { return string(appendRev(nil, coll.generation)) }
