package records

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"

	"croft/internal/store"
)

// catalog holds the collections. It is never changed: a change makes a new one.
type catalog struct {
	byName map[string]*collection
}

// with returns a catalog with a collection added or replaced, or without it if it is nil.
func (c *catalog) with(name string, coll *collection) *catalog {
	byName := maps.Clone(c.byName)
	if coll == nil {
		delete(byName, name)
	} else {
		coll.settle()
		byName[name] = coll
	}
	return &catalog{byName}
}

// storedCollection is a collection as the catalog keeps it.
type storedCollection struct {
	Number       uint32          `json:"number"`
	Generation   uint64          `json:"generation"` // the number of the change that made it so: its rev
	Created      string          `json:"created"`
	Updated      string          `json:"updated"`
	IndexNumbers []uint32        `json:"index_numbers"` // in the order of the definition's indexes
	LastIndex    uint32          `json:"last_index"`    // the highest number that an index ever had
	Definition   json.RawMessage `json:"definition"`
}

var (
	catalogNames  = store.Catalog.Key([]byte{'c'})
	keyLastNumber = store.Catalog.Key([]byte{'x'})
)

func catalogKey(name string) []byte {
	return append(catalogNames[:len(catalogNames):len(catalogNames)], name...)
}

// loadCatalog reads all collections.
func (r *Records) loadCatalog(tx *store.Tx) (*catalog, error) {
	c := &catalog{byName: map[string]*collection{}}
	cursor := tx.Scan(store.Prefix(catalogNames))
	for cursor.Next() {
		name := string(cursor.Key()[len(catalogNames):])
		coll, err := r.compile(tx, name, cursor.Value())
		if err != nil {
			return nil, err
		}
		coll.settle()
		c.byName[name] = coll
	}
	return c, cursor.Err()
}

// load reads one collection; it is nil if there is none.
func (r *Records) load(tx *store.Tx, name string) (*collection, error) {
	value, err := tx.Get(catalogKey(name))
	if value == nil || err != nil {
		return nil, err
	}
	return r.compile(tx, name, value)
}

// compile makes a collection of what the catalog keeps.
func (r *Records) compile(tx *store.Tx, name string, value []byte) (*collection, error) {
	var kept storedCollection
	if err := json.Unmarshal(value, &kept); err != nil {
		return nil, fmt.Errorf("%w: collection %s: %w", store.ErrDamaged, name, err)
	}
	var def definition
	if err := json.Unmarshal(kept.Definition, &def); err != nil {
		return nil, fmt.Errorf("%w: the definition of %s: %w", store.ErrDamaged, name, err)
	}
	coll, err := newCollection(name, &kept, &def)
	if err != nil {
		return nil, fmt.Errorf("collection %s can't be used: %w", name, err)
	}
	if old := r.catalog.Load(); old != nil && old.byName[name] != nil && old.byName[name].number == coll.number {
		coll.live = old.byName[name].live
	} else {
		coll.live.defined.Store(coll.generation)
	}
	return coll, coll.readBuilds(tx)
}

// nextNumber gives a new collection its number. Numbers are never used again, so that what is left of a dropped collection
// can't show up in a new one.
func nextNumber(tx *store.Tx) (uint32, error) {
	value, err := tx.Get(keyLastNumber)
	if err != nil {
		return 0, err
	}
	n := uint32(1)
	if len(value) == 4 {
		n = binary.BigEndian.Uint32(value) + 1
	}
	return n, tx.Put(keyLastNumber, binary.BigEndian.AppendUint32(nil, n))
}
