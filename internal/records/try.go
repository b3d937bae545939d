package records

import (
	"context"
	"errors"
	"fmt"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records/expr"
	"croft/internal/records/rawjson"
	"croft/internal/store"
)

// tried is what a try is about: {"as": a user's id or null, "action", "record"}.
type tried struct {
	as     *identity.Caller
	action string
	id     string // of a stored record, "" for one that is given whole
	body   []byte // the record, or for an update of a stored one a merge patch to it
}

// Try tells an admin whether a caller would be allowed an action on a record, and if not, which part of the rule said no.
// The record is given whole, or has the id of a stored one; for an update its other members are then a merge patch.
// Nothing is changed.
func (r *Records) Try(ctx context.Context, c *identity.Caller, name string, body []byte) ([]byte, error) {
	if err := manages(c); err != nil {
		return nil, err
	}
	coll, err := r.find(name)
	if err != nil {
		return nil, err
	}
	t, err := r.parseTry(ctx, body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Allowed bool   `json:"allowed"`
		Because string `json:"because"`
	}
	err = r.db.View(func(tx *store.Tx) error {
		if coll, err = r.seen(tx, coll); err != nil {
			return err
		}
		record, before, err := t.records(tx, coll, r)
		if err != nil {
			return err
		}
		answer.Allowed, answer.Because = t.decide(coll.grant(t.as, r.o.Now()), record, before)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return encode(answer)
}

func (r *Records) parseTry(ctx context.Context, body []byte) (*tried, error) {
	body, err := rawjson.Canonical(nil, body, rawjson.Limits{})
	if err != nil {
		return nil, jsonError(err)
	}
	t := &tried{as: nobody}
	p := &definitionParser{}
	var as string
	p.members(body, "", "as, action and record", func(name string, value []byte, at string) bool {
		switch name {
		case "as":
			if rawjson.KindOf(value) != rawjson.Null {
				as = p.text(value, at)
			}
		case "action":
			t.action = p.text(value, at)
		case "record":
			if rawjson.KindOf(value) != rawjson.Object {
				p.fault(at, "type", "must be an object")
				break
			}
			t.body = value
		default:
			return false
		}
		return true
	})
	if (&accessDefinition{}).rule(t.action) == nil {
		p.fault("/action", "bad_action", "must be read, create, update or delete")
	}
	if t.body == nil && rawjson.Get(body, "record") == nil {
		p.fault("/record", "required", "is the record that the action is on")
	} else if id := rawjson.Get(t.body, "id"); rawjson.KindOf(id) == rawjson.String {
		t.id = rawjson.Text(id)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	if as == "" {
		return t, nil
	}
	if r.o.CallerByID == nil {
		return nil, errs.At(errs.Invalid, "/as", "unknown_user", "users are not known here")
	}
	t.as, err = r.o.CallerByID(ctx, as)
	if e := (*errs.Error)(nil); errors.As(err, &e) && e.Code == errs.NotFound {
		return nil, errs.At(errs.Invalid, "/as", "unknown_user", "there is no user of this id")
	}
	return t, err
}

// records returns the record that the rule is asked about, and for an update or delete how it was before.
func (t *tried) records(tx *store.Tx, coll *collection, r *Records) (record, before *stored, err error) {
	var kept stored
	ok := false
	if t.id != "" && t.action != identity.Create {
		if kept, ok, err = getRecord(tx, coll.number, t.id); err != nil {
			return nil, nil, err
		}
	}
	given, body := split(nil, t.body)
	now := appendTime(nil, r.o.Now())
	s := system{id: rawjson.AppendString(nil, t.id), created: now, updated: now, owner: ownerOf(t.as)}
	switch {
	case ok:
		var old []byte
		s, old = split(nil, kept.json)
		if t.action == identity.Update {
			s.updated = now
		}
		body = merge(nil, old, body)
	case t.action == identity.Create && coll.schema != nil:
		if body, err = coll.schema.ApplyDefaults(nil, body); err != nil {
			return nil, nil, err
		}
	}
	if given.owner != nil {
		s.owner = given.owner
	}
	w := &write{coll: coll, caller: t.as, body: body}
	if err := w.build(&s, body); err != nil {
		return nil, nil, err
	}
	made, err := openStored(w.value)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case t.action == identity.Read || t.action == identity.Create:
		return &made, nil, nil
	case !ok:
		return &made, &made, nil
	case t.action == identity.Delete:
		return &kept, &kept, nil
	}
	return &made, &kept, nil
}

// decide runs the rule, and finds the part of it that says no.
func (t *tried) decide(g *grant, record, before *stored) (allowed bool, because string) {
	if g.caller.IsAdmin() {
		return true, "admins pass every rule"
	}
	if (t.action == identity.Update || t.action == identity.Delete) && !g.reads(before) {
		return false, "the caller may not read the record, so it answers 404: " + t.saysNo(g, identity.Read, before, nil)
	}
	if g.allow(t.action, record, before) == nil {
		return true, "the rule holds: " + g.coll.access[t.action].expr.String()
	}
	return false, t.saysNo(g, t.action, record, before)
}

// saysNo tells which part of a rule does not hold.
func (t *tried) saysNo(g *grant, action string, record, before *stored) string {
	r := g.coll.access[action]
	if r == nil {
		return fmt.Sprintf("there is no %s rule, so only admins may", action)
	}
	var was []byte
	if before != nil {
		was = before.json
	}
	_, because := expr.Explain(r.expr, record.json, was, g.bound(), g.now)
	return because
}
