package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"croft/internal/errs"
	"croft/internal/records/index"
	"croft/internal/records/rawjson"
	"croft/internal/store"
)

// builtIndex is an index of a collection, ready to make entries, and how far it is built.
type builtIndex struct {
	*index.Index
	fields []field
	where  *rule       // nil holds always
	build  *buildState // nil when it is ready
}

// field is a path into a record: the top-level field, ready to be looked up, and the names below it.
type field struct {
	name name
	rest []string
}

func fieldOf(path []string) field { return field{nameOf(path[0]), path[1:]} }

// of returns the field's raw value, nil if it is missing.
func (f *field) of(s *stored) []byte {
	value := s.field(&f.name)
	if value == nil || len(f.rest) == 0 {
		return value
	}
	return rawjson.Path(value, f.rest...)
}

func newBuiltIndex(ix *index.Index) *builtIndex {
	b := &builtIndex{Index: ix}
	for _, f := range ix.Fields {
		b.fields = append(b.fields, fieldOf(f.Path))
	}
	if ix.Where != nil {
		b.where = newRule(ix.Where)
	}
	return b
}

// upkept reports whether writes keep the index in step: all but one that can't be built.
func (ix *builtIndex) upkept() bool { return ix.build == nil || ix.build.Error == "" }

// indexesPrefix is the beginning of all keys of a collection's indexes.
func indexesPrefix(collection uint32) []byte {
	return binary.BigEndian.AppendUint32(store.Indexes.Key(), collection)
}

// prefix is the beginning of the index's keys.
func (ix *builtIndex) prefix(coll *collection) []byte {
	return binary.BigEndian.AppendUint32(indexesPrefix(coll.number), ix.Number)
}

// prefixLen is the length of every index's prefix: space, collection, index.
const prefixLen = 1 + 4 + 4

// indexOf finds the index that a key belongs to.
func (coll *collection) indexOf(key []byte) *builtIndex {
	number := binary.BigEndian.Uint32(key[prefixLen-4:])
	for _, ix := range coll.indexes {
		if ix.Number == number {
			return ix
		}
	}
	return nil
}

// appendEntries adds the keys of a record's entries in one index.
func (ix *builtIndex) appendEntries(keys *index.Keys, coll *collection, s *stored, id string) error {
	if ix.where != nil && !ix.where.holds(&grant{coll: coll, caller: nobody}, s, nil) {
		return nil
	}
	var prefix [prefixLen]byte
	p := append(prefix[:0], byte(store.Indexes))
	p = binary.BigEndian.AppendUint32(p, coll.number)
	p = binary.BigEndian.AppendUint32(p, ix.Number)
	next := 0 // Add asks for the fields in their order
	return keys.Add(ix.Index, p, id, func([]string) []byte {
		next++
		return ix.fields[next-1].of(s)
	})
}

// entryChanges are the index entries of a record as it was and as it will be.
type entryChanges struct{ old, new index.Keys }

// prepare makes the entries of a write; before is nil when there was no record.
func (e *entryChanges) prepare(w *write, before *stored) error {
	e.old.Reset()
	e.new.Reset()
	var after stored
	if w.value != nil {
		var err error
		if after, err = openStored(w.value); err != nil {
			return err
		}
	}
	for _, ix := range w.coll.indexes {
		if !ix.upkept() {
			continue
		}
		if before != nil {
			if err := ix.appendEntries(&e.old, w.coll, before, w.id); err != nil {
				return fmt.Errorf("the index entries of a stored record: %w", err)
			}
		}
		if w.value != nil {
			if err := ix.appendEntries(&e.new, w.coll, &after, w.id); err != nil {
				return err
			}
		}
	}
	return nil
}

// store writes what changed among the entries.
func (e *entryChanges) store(tx *store.Tx, w *write, r *Records) error {
	return index.Diff(&e.old, &e.new, tx.Delete, func(key, unique []byte) error {
		if unique != nil {
			other, err := w.coll.collides(tx, key, unique, w.id)
			if err != nil {
				return err
			}
			if other != "" {
				return w.notUnique(tx, w.coll.indexOf(key), other)
			}
		}
		return tx.Put(key, nil)
	})
}

// collides returns the id of another record whose entry begins as an entry of id does that must be unique, "" if there is none.
func (coll *collection) collides(tx *store.Tx, key, unique []byte, id string) (string, error) {
	var scratch [64]byte
	ix := coll.indexOf(key)
	c := tx.Scan(store.Prefix(unique))
	for c.Next() {
		if other := ix.ID(c.Key()[prefixLen:], scratch[:]); string(other) != id {
			return string(other), nil
		}
	}
	return "", c.Err()
}

// notUnique is the error of a record whose indexed values are another one's. Who may read that one learns its id.
func (w *write) notUnique(tx *store.Tx, ix *builtIndex, other string) error {
	e := &errs.Error{Code: errs.NotUnique, Text: "another record has the same " + ix.fieldNames()}
	for _, f := range ix.Fields {
		e.Fields = append(e.Fields, errs.Field{Pointer: rawjson.Pointer(f.Path...), Code: "not_unique", Message: e.Text})
	}
	s, ok, err := getRecord(tx, w.coll.number, other)
	if err != nil {
		return err
	}
	g := w.coll.grant(w.caller, w.now)
	if ok && w.caller.InScope(w.coll.name, "read") && g.reads(&s) {
		e.Members = map[string]any{"id": other}
	}
	return e
}

// fieldNames names the index's fields for people.
func (ix *builtIndex) fieldNames() string {
	names := make([]string, len(ix.Fields))
	for i, f := range ix.Fields {
		names[i] = strings.Join(f.Path, ".")
	}
	return strings.Join(names, " and ")
}

// built gathers the entries of records that an index is built over.
type built struct {
	keys index.Keys
	ids  []string // of each key
}

func (b *built) add(coll *collection, ix *builtIndex, s *stored, id string) error {
	if err := ix.appendEntries(&b.keys, coll, s, id); err != nil {
		var e *errs.Error
		if errors.As(err, &e) {
			return errs.New(errs.Conflict, fmt.Sprintf("the index %s can't be built: in record %s, %s", ix.Name, id, e.Text))
		}
		return err
	}
	for len(b.ids) < b.keys.Len() {
		b.ids = append(b.ids, id)
	}
	return nil
}

// store writes the entries, unless two records collide.
func (b *built) store(tx *store.Tx, coll *collection, ix *builtIndex) error {
	for i := range b.keys.Len() {
		key := b.keys.Key(i)
		if unique := b.keys.Unique(i); unique != nil {
			other, err := coll.collides(tx, key, unique, b.ids[i])
			if err != nil {
				return err
			}
			if other != "" {
				return &errs.Error{
					Code:    errs.NotUnique,
					Text:    fmt.Sprintf("the unique index %s can't be built: records %s and %s have the same %s", ix.Name, other, b.ids[i], ix.fieldNames()),
					Members: map[string]any{"ids": []string{other, b.ids[i]}},
				}
			}
		}
		if err := tx.Put(key, nil); err != nil {
			return err
		}
	}
	return nil
}
