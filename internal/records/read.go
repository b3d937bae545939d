package records

import (
	"context"

	"croft/internal/identity"
	"croft/internal/records/rawjson"
	"croft/internal/store"
)

// Get appends a record's JSON, or the fields of it that are asked for ("" for all), to dst. When the condition says that the
// caller has it, nothing is appended.
func (r *Records) Get(ctx context.Context, c *identity.Caller, collection, id, fields string, cond Condition, dst []byte) (doc Document, err error) {
	coll, err := r.find(collection)
	if err != nil {
		return doc, err
	}
	if err := checkID(id, "/id"); err != nil {
		return doc, err
	}
	err = r.db.View(func(tx *store.Tx) error {
		if coll, err = r.seen(tx, coll); err != nil {
			return err
		}
		g := grant{coll: coll, caller: c, now: r.o.Now()}
		if err := g.ever(identity.Read); err != nil {
			return err
		}
		var only *projection
		if fields != "" {
			if only, err = coll.projection(c, splitList(fields)); err != nil {
				return err
			}
		}
		s, ok, err := getRecord(tx, coll.number, id)
		if err != nil {
			return err
		}
		if !ok || !g.reads(&s) {
			return notFound()
		}
		doc = Document{ID: id, Rev: string(revOf(s.json, id))}
		if cond.unmodified(doc.Rev) {
			return nil
		}
		doc.Modified = true
		if only != nil {
			doc.JSON = only.append(dst, &s)
		} else {
			doc.JSON = coll.appendVisible(dst, c, &s)
		}
		return nil
	})
	return doc, err
}

// appendVisible appends what a caller who may read a record sees of it: all but the hidden fields.
func (coll *collection) appendVisible(dst []byte, c *identity.Caller, s *stored) []byte {
	if len(coll.hidden) == 0 || c.IsAdmin() {
		return append(dst, s.json...)
	}
	dst = append(dst, '{')
	start := len(dst)
	for it := rawjson.Members(s.json); it.Next(); {
		if coll.hides(it.Key()) {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, it.Key()...), ':'), it.Value()...)
	}
	return append(dst, '}')
}

// hides reports whether a field, by its quoted name, is hidden.
func (coll *collection) hides(quoted []byte) bool {
	for i := range coll.hidden {
		if string(coll.hidden[i].quoted) == string(quoted) {
			return true
		}
	}
	return false
}

// keepHidden adds to the body of a PUT the hidden fields of the record that it replaces, when the caller can't see them and
// does not name them.
func (coll *collection) keepHidden(c *identity.Caller, body, old []byte) []byte {
	if len(coll.hidden) == 0 || c.IsAdmin() {
		return body
	}
	for i := range coll.hidden {
		quoted := coll.hidden[i].quoted
		value := getQuoted(old, quoted)
		if value == nil || getQuoted(body, quoted) != nil {
			continue
		}
		kept := append(make([]byte, 0, len(body)+len(quoted)+len(value)+2), body[:len(body)-1]...)
		if len(body) > len("{}") {
			kept = append(kept, ',')
		}
		body = append(append(append(append(kept, quoted...), ':'), value...), '}')
	}
	return body
}
