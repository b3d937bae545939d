package records

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"croft/internal/records/index"
	"croft/internal/records/rawjson"
	"croft/internal/store"
)

// maxFaults is how many faults Check tells.
const maxFaults = 100

// Check reads everything that the package stores and holds it together: each record is as this package writes it, each has just the
// entries that its indexes demand, and each collection the count of its records. It returns what is wrong.
func (r *Records) Check(ctx context.Context) error {
	k := &checking{ctx: ctx}
	err := r.db.View(func(tx *store.Tx) error {
		k.tx = tx
		catalog, err := r.loadCatalog(tx)
		if err != nil {
			return err
		}
		last, err := tx.Seq()
		if err != nil {
			return err
		}
		known := map[uint32]bool{}
		for _, coll := range catalog.byName {
			known[coll.number] = true
			if err := k.collection(coll, last); err != nil {
				return err
			}
		}
		return k.strays(known)
	})
	return errors.Join(append(k.faults, err)...)
}

type checking struct {
	ctx    context.Context
	tx     *store.Tx
	faults []error
}

func (k *checking) fault(format string, args ...any) {
	if len(k.faults) < maxFaults {
		k.faults = append(k.faults, fmt.Errorf("%w: "+format, append([]any{store.ErrDamaged}, args...)...))
	}
}

// collection holds a collection's records against its entries: each record's are looked up, and the numbers compared.
func (k *checking) collection(coll *collection, last uint64) error {
	s, err := readState(k.tx, coll.number)
	if err != nil {
		return err
	}
	if s.generation != coll.generation {
		k.fault("collection %s: its state is of another definition", coll.name)
	}
	prefix := recordPrefix(coll.number)
	records := uint64(0)
	entries := make([]int, len(coll.indexes))
	c := k.tx.Scan(store.Prefix(prefix))
	for ; c.Next(); records++ {
		if k.ctx.Err() != nil {
			return k.ctx.Err()
		}
		id := string(c.Key()[len(prefix):])
		stored, err := k.record(c.Value(), id, last)
		if err != nil {
			k.fault("record %s of %s: %w", id, coll.name, err)
			continue
		}
		for i, ix := range coll.indexes {
			if ix.build != nil {
				continue
			}
			n, err := k.entries(coll, ix, stored, id)
			if err != nil {
				return err
			}
			entries[i] += n
		}
	}
	if c.Err() != nil {
		return c.Err()
	}
	if records != s.records {
		k.fault("collection %s counts %d records and has %d", coll.name, s.records, records)
	}
	for i, ix := range coll.indexes {
		if ix.build != nil {
			continue
		}
		n := 0
		c := k.tx.Scan(store.Prefix(ix.prefix(coll)))
		for c.Next() {
			n++
		}
		if c.Err() != nil {
			return c.Err()
		}
		if n != entries[i] {
			k.fault("index %s of %s has %d entries, its records make %d", ix.Name, coll.name, n, entries[i])
		}
	}
	return nil
}

// record verifies that a record is stored as this package would store it.
func (k *checking) record(value []byte, id string, last uint64) (*stored, error) {
	s, err := openStored(value)
	if err != nil {
		return nil, err
	}
	canonical, err := rawjson.Canonical(nil, s.json, rawjson.Limits{})
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(canonical, s.json) || !bytes.Equal(appendStored(nil, s.json), value) {
		return nil, errStored
	}
	if idOf(&s) != id {
		return nil, fmt.Errorf("its id is %s", idOf(&s))
	}
	seq, err := seqOf(revOf(s.json, id))
	if err != nil || seq > last {
		return nil, fmt.Errorf("its rev is none that was given out")
	}
	return &s, nil
}

// entries looks up the entries that a record must have, and returns how many those are.
func (k *checking) entries(coll *collection, ix *builtIndex, s *stored, id string) (int, error) {
	var keys index.Keys
	if err := ix.appendEntries(&keys, coll, s, id); err != nil {
		k.fault("record %s of %s can't be indexed by %s: %w", id, coll.name, ix.Name, err)
		return 0, nil
	}
	for i := range keys.Len() {
		value, err := k.tx.Get(keys.Key(i))
		if err != nil {
			return 0, err
		}
		if value == nil {
			k.fault("record %s of %s misses an entry of %s", id, coll.name, ix.Name)
		}
		if unique := keys.Unique(i); unique != nil {
			other, err := coll.collides(k.tx, keys.Key(i), unique, id)
			if err != nil {
				return 0, err
			}
			if other != "" {
				k.fault("records %s and %s of %s have the same %s", id, other, coll.name, ix.fieldNames())
			}
		}
	}
	return keys.Len(), nil
}

// strays finds records and entries of no collection, but for those that are being deleted.
func (k *checking) strays(known map[uint32]bool) error {
	var discarded [][]byte
	d := k.tx.Scan(store.Prefix(discardPrefix))
	for d.Next() {
		discarded = append(discarded, bytes.Clone(d.Key()[len(discardPrefix):]))
	}
	if d.Err() != nil {
		return d.Err()
	}
	for _, space := range []store.Space{store.Records, store.Indexes} {
		c := k.tx.Scan(store.Prefix(space.Key()))
		for c.Next() {
			number := binary.BigEndian.Uint32(c.Key()[1:])
			if !known[number] {
				dead := false
				for _, prefix := range discarded {
					dead = dead || bytes.HasPrefix(c.Key(), prefix)
				}
				if !dead {
					k.fault("%s of a collection that is not there", space)
				}
			}
			// All of one collection stand together: on to the next.
			c.Seek(store.After(c.Key()[:5]))
		}
		if c.Err() != nil {
			return c.Err()
		}
	}
	return nil
}
