package records

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records/rawjson"
	"croft/internal/store"
)

// maxRecord is the most bytes of a record's JSON: as a request's body is by default, which patches could
// otherwise pass step by step.
const maxRecord = 1 << 20

// Create stores a new record. Its id is the body's, or a new UUIDv7, which sorts by time.
func (r *Records) Create(ctx context.Context, c *identity.Caller, collection string, body []byte) (Document, error) {
	w := &write{method: post}
	err := r.write(ctx, c, collection, body, w)
	return w.document, err
}

// Put stores a record under an id, whether there was one or not. Hidden fields that the caller can't see and does not
// name keep their values.
func (r *Records) Put(ctx context.Context, c *identity.Caller, collection, id string, body []byte, cond Condition) (doc Document, created bool, err error) {
	w := &write{method: put, id: id, cond: cond}
	err = r.write(ctx, c, collection, body, w)
	return w.document, !w.existed, err
}

// Patch changes a record by a JSON Merge Patch.
func (r *Records) Patch(ctx context.Context, c *identity.Caller, collection, id string, body []byte, cond Condition) (Document, error) {
	w := &write{method: patch, id: id, cond: cond}
	err := r.write(ctx, c, collection, body, w)
	return w.document, err
}

// Delete removes a record.
func (r *Records) Delete(ctx context.Context, c *identity.Caller, collection, id string, cond Condition) error {
	return r.write(ctx, c, collection, nil, &write{method: remove, id: id, cond: cond})
}

type method uint8

const (
	post method = iota
	put
	patch
	remove
)

// write is a change of one record. What it stores is prepared outside the writer, against a state of the record; inside,
// it is stored if that is still the state, and prepared again if not.
type write struct {
	method method
	id     string
	cond   Condition

	caller *identity.Caller
	coll   *collection
	now    time.Time
	newID  bool   // the id was made for this record: there is none of it yet
	given  system // the system fields of the body
	body   []byte // its other fields

	// Set by prepare.
	existed bool
	rev     string // of the record as it was
	value   []byte // the new record as it will be stored, but for its rev; nil if it is deleted
	entries entryChanges

	document Document // the answer
}

func (r *Records) write(ctx context.Context, c *identity.Caller, collection string, body []byte, w *write) (err error) {
	if w.coll, err = r.find(collection); err != nil {
		return err
	}
	w.caller, w.now = c, r.o.Now()
	if w.method != remove {
		if err := w.read(body); err != nil {
			return err
		}
	}
	if err := w.identify(); err != nil {
		return err
	}
	if err := r.db.View(func(tx *store.Tx) error { return w.prepare(tx, r) }); err != nil {
		return err
	}
	update := r.db.Update
	if w.method == remove {
		update = r.db.Reclaim
	}
	if err := update(ctx, func(tx *store.Tx) error { return w.store(tx, r) }); err != nil {
		return err
	}
	return w.answer()
}

// read takes the body apart.
func (w *write) read(body []byte) error {
	object, err := rawjson.Canonical(make([]byte, 0, len(body)), body, rawjson.Limits{NoDollar: true})
	if err != nil {
		return jsonError(err)
	}
	if rawjson.KindOf(object) != rawjson.Object {
		return errs.At(errs.Invalid, "", "type", "a record is a JSON object")
	}
	w.given, w.body = split(make([]byte, 0, len(object)), object)
	return nil
}

// identify settles the record's id.
func (w *write) identify() error {
	switch {
	case w.method != post:
		return checkID(w.id, "/id")
	case w.given.id == nil:
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("make an id: %w", err)
		}
		w.id, w.newID = id.String(), true
		return nil
	case rawjson.KindOf(w.given.id) != rawjson.String:
		return errs.At(errs.Invalid, "/id", "type", "a record's id is a string")
	default:
		w.id = rawjson.Text(w.given.id)
		return checkID(w.id, "/id")
	}
}

// store writes what prepare made, or prepares it again if the record or the collection has changed since.
func (w *write) store(tx *store.Tx, r *Records) error {
	s, err := readState(tx, w.coll.number)
	if err != nil {
		return err
	}
	same := s.generation == w.coll.generation
	if same {
		if same, err = w.unchanged(tx); err != nil {
			return err
		}
	}
	if !same {
		if w.coll, err = r.current(tx, w.coll); err != nil {
			return err
		}
		if s, err = readState(tx, w.coll.number); err != nil {
			return err
		}
		if err := w.prepare(tx, r); err != nil {
			return err
		}
	}
	if err := w.entries.store(tx, w, r); err != nil {
		return err
	}
	seq, err := tx.NextSeq()
	if err != nil {
		return err
	}
	key := recordKey(w.coll.number, w.id)
	w.coll.live.touched.Store(seq)
	if w.value == nil {
		s.records--
		return firstError(tx.Delete(key), s.write(tx, w.coll.number))
	}
	setRev(w.value, w.id, seq)
	if err := tx.Put(key, w.value); err != nil {
		return err
	}
	if w.existed {
		return nil
	}
	s.records++
	return s.write(tx, w.coll.number)
}

// unchanged reports whether the record is as prepare saw it.
func (w *write) unchanged(tx *store.Tx) (bool, error) {
	if w.newID {
		return true, nil
	}
	now, ok, err := getRecord(tx, w.coll.number, w.id)
	if err != nil || ok != w.existed {
		return false, err
	}
	return !ok || string(revOf(now.json, w.id)) == w.rev, nil
}

// prepare decides whether the caller may make the change, and makes what is to be stored.
func (w *write) prepare(tx *store.Tx, r *Records) error {
	var before stored
	var existed bool
	var err error
	if !w.newID {
		if before, existed, err = getRecord(tx, w.coll.number, w.id); err != nil {
			return err
		}
	}
	w.existed, w.rev = existed, ""
	if existed {
		w.rev = string(revOf(before.json, w.id))
	}
	g := w.coll.grant(w.caller, w.now)
	switch w.method {
	case post:
		err = w.create(g, existed)
	case put:
		err = w.replace(g, &before)
	case patch:
		err = w.merge(g, &before)
	case remove:
		err = w.delete(g, &before)
	}
	if err != nil {
		return err
	}
	var old *stored
	if existed {
		old = &before
	}
	return w.entries.prepare(w, old)
}

// create makes a new record.
func (w *write) create(g *grant, taken bool) error {
	if err := g.ever(identity.Create); err != nil {
		return err
	}
	if err := w.given.check(w.caller, nil); err != nil {
		return err
	}
	body := w.body
	if w.coll.schema != nil {
		var err error
		if body, err = w.coll.schema.ApplyDefaults(nil, body); err != nil {
			return fmt.Errorf("fill in defaults: %w", err)
		}
	}
	now := appendTime(nil, w.now)
	s := system{id: rawjson.AppendString(nil, w.id), created: now, updated: now, owner: w.given.owner}
	if s.owner == nil {
		s.owner = ownerOf(w.caller)
	}
	if err := w.build(&s, body); err != nil {
		return err
	}
	after, err := openStored(w.value)
	if err != nil {
		return err
	}
	if err := g.allow(identity.Create, &after, nil); err != nil {
		return err
	}
	if err := w.validate(g, body, &after, nil); err != nil {
		return err
	}
	if taken {
		return errs.At(errs.IDTaken, "/id", "taken", "a record of this id exists already")
	}
	return nil
}

// replace makes a record anew, or changes all of it.
func (w *write) replace(g *grant, before *stored) error {
	if err := g.everAny(identity.Create, identity.Update); err != nil {
		return err
	}
	if !w.existed || !g.reads(before) {
		if g.ever(identity.Create) != nil {
			// Where nothing may be created, a record that can't be read answers as one that isn't there.
			return notFound()
		}
		if !w.existed {
			if err := w.cond.check(""); err != nil {
				return err
			}
		}
		if err := w.putCreates(g); err != nil {
			return err
		}
		return nil
	}
	if err := w.cond.check(w.rev); err != nil {
		return err
	}
	if err := g.ever(identity.Update); err != nil {
		return err
	}
	return w.change(g, before, func(old []byte) []byte { return w.coll.keepHidden(w.caller, w.body, old) })
}

// putCreates creates the record of a PUT, whose id in the body may only be that of the address.
func (w *write) putCreates(g *grant) error {
	if w.given.id != nil && rawjson.Text(w.given.id) != w.id {
		return errs.At(errs.Invalid, "/id", "read_only", "must be the id in the address")
	}
	return w.create(g, w.existed)
}

// merge applies a patch.
func (w *write) merge(g *grant, before *stored) error {
	if err := w.reach(g, identity.Update, before); err != nil {
		return err
	}
	return w.change(g, before, func(old []byte) []byte { return merge(nil, old, w.body) })
}

func (w *write) delete(g *grant, before *stored) error {
	if err := w.reach(g, identity.Delete, before); err != nil {
		return err
	}
	w.value = nil
	return g.allow(identity.Delete, before, before)
}

// reach refuses to go on unless the record is there for the caller, who may some time do the action, and the condition holds.
func (w *write) reach(g *grant, action string, before *stored) error {
	if err := g.ever(action); err != nil {
		return err
	}
	if !w.existed || !g.reads(before) {
		return notFound()
	}
	return w.cond.check(w.rev)
}

func notFound() error { return errs.New(errs.NotFound, "there is no record of this id") }

// change makes the new state of a record that exists.
func (w *write) change(g *grant, before *stored, apply func(old []byte) []byte) error {
	was, old := split(nil, before.json)
	if err := w.given.check(w.caller, &was); err != nil {
		return err
	}
	body := apply(old)
	s := was
	s.updated = appendTime(nil, w.now)
	if w.given.owner != nil {
		s.owner = w.given.owner
	}
	if err := w.build(&s, body); err != nil {
		return err
	}
	after, err := openStored(w.value)
	if err != nil {
		return err
	}
	if err := g.allow(identity.Update, &after, before); err != nil {
		return err
	}
	return w.validate(g, body, &after, before)
}

// build makes what will be stored.
func (w *write) build(s *system, body []byte) error {
	json := appendRecord(make([]byte, 0, len(body)+256), s, body)
	if len(json) > maxRecord && len(json)-w.hiddenLen(json) > maxRecord || len(json) > 2*maxRecord {
		return errs.New(errs.TooLarge, fmt.Sprintf("a record has at most %d bytes, and this one would have more", maxRecord))
	}
	if len(json) > 4*maxFields && members(json) > maxFields { // a field takes 4 bytes at least
		return errs.New(errs.TooLarge, fmt.Sprintf("a record has at most %d fields", maxFields))
	}
	w.value = appendStored(make([]byte, 0, len(json)+len(json)/4), json)
	return nil
}

// hiddenLen is how much of a record's JSON is of hidden fields that the caller neither sees nor names. They don't count, since
// their length could be found out by filling a record up.
func (w *write) hiddenLen(json []byte) int {
	n := 0
	for it := rawjson.Members(json); it.Next(); {
		if name := it.Name(); w.coll.hidesFrom(w.caller, name) && rawjson.Get(w.body, name) == nil {
			n += len(it.Key()) + len(it.Value()) + len(":,")
		}
	}
	return n
}

// validate holds the new state to the schema, to what only admins may set, and to the checks.
func (w *write) validate(g *grant, body []byte, after, before *stored) error {
	var faults []errs.Field
	if s := w.coll.schema; s != nil {
		faults = slices.DeleteFunc(s.Validate(body), w.ofOthers)
		if !w.caller.IsAdmin() {
			faults = append(faults, w.readOnly(before)...)
		}
	}
	if faults == nil {
		faults = w.coll.failedChecks(g, after)
	}
	if faults == nil {
		return nil
	}
	text := faults[0].Message
	if p := faults[0].Pointer; p != "" {
		text = p + " " + text
	}
	if len(faults) > 1 {
		text = fmt.Sprintf("the record has %d faults", len(faults))
	}
	return &errs.Error{Code: errs.Invalid, Text: text, Fields: faults}
}

// ofOthers reports whether a fault is of a hidden field that the caller neither sees nor names: one that was left as it is when
// the schema changed.
func (w *write) ofOthers(f errs.Field) bool {
	path, ok := rawjson.SplitPointer(f.Pointer)
	return ok && len(path) > 0 && w.coll.hidesFrom(w.caller, path[0]) && w.existed && rawjson.Get(w.body, path[0]) == nil
}

// readOnly tells the fields that only admins may set and that this change sets to something new.
func (w *write) readOnly(before *stored) []errs.Field {
	var faults []errs.Field
	after, err := openStored(w.value)
	if err != nil {
		return nil
	}
	for _, path := range w.coll.schema.ReadOnly() {
		if w.coll.hidesFrom(w.caller, path[0]) {
			// To compare with what is stored would tell whether it is the same.
			if rawjson.Get(w.body, path[0]) != nil {
				faults = append(faults, errs.Field{Pointer: rawjson.Pointer(path[0]), Code: "read_only", Message: "only an admin may set it"})
			}
			continue
		}
		given := rawjson.Path(after.json, path...)
		var was []byte
		if before != nil {
			was = rawjson.Path(before.json, path...)
		} else if given != nil && rawjson.Path(w.body, path...) == nil {
			continue // a default
		}
		if given == nil && was == nil || given != nil && was != nil && rawjson.Equal(given, was) {
			continue
		}
		faults = append(faults, errs.Field{Pointer: rawjson.Pointer(path...), Code: "read_only", Message: "only an admin may set it"})
	}
	return faults
}

// answer makes the document that the caller gets, of what was stored.
func (w *write) answer() error {
	if w.value == nil {
		return nil
	}
	after, err := openStored(w.value)
	if err != nil {
		return err
	}
	w.document = Document{ID: w.id, Rev: string(revOf(after.json, w.id)), Modified: true}
	g := w.coll.grant(w.caller, w.now)
	if w.caller.InScope(w.coll.name, identity.Read) && g.reads(&after) {
		w.document.JSON = w.coll.appendVisible(nil, w.caller, &after)
		return nil
	}
	// Who may not read it learns how to name it, and no more.
	w.document.JSON = fmt.Appendf(nil, `{"id":%s,"rev":"%s"}`, rawjson.AppendString(nil, w.id), w.document.Rev)
	return nil
}

func firstError(errors ...error) error {
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}
