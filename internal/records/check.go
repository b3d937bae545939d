package records

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"

	"croft/internal/records/index"
	"croft/internal/records/rawjson"
	"croft/internal/store"
)

// Checked is what Check found of a collection.
type Checked struct {
	Name    string
	Records uint64 // that are whole
	Damaged uint64 // that are not
}

// Check reads everything that the package stores and holds it together: each definition can be used, each record is as this package
// writes it, each has just the entries that its indexes demand, and each collection the count of its records. It calls
// report with what is wrong. It needs no Records, writes nothing, and its memory doesn't grow with the file.
//
// An entry that fails its checksum is counted but not reported: the check of the file itself does that.
func Check(ctx context.Context, tx *store.Tx, report func(where, what string)) ([]Checked, error) {
	k := &checking{ctx: ctx, tx: tx, report: report, seed: maphash.MakeSeed(), known: map[uint32]*collection{}}
	last, err := tx.Seq()
	if err != nil {
		return nil, err
	}
	k.last = last
	if err := k.catalog(); err != nil {
		return nil, err
	}
	var all []Checked
	for _, coll := range k.collections {
		found, err := k.collection(coll)
		if err != nil {
			return nil, err
		}
		all = append(all, found)
	}
	return all, k.strays()
}

type checking struct {
	ctx    context.Context
	tx     *store.Tx
	report func(where, what string)
	last   uint64 // the number of the last change
	seed   maphash.Seed

	collections []*collection // in the order of their names
	known       map[uint32]*collection
	discarded   [][]byte // prefixes whose keys are being deleted
	unusable    bool     // there is a definition that can't be read: whose entries they are is not known
	keys        index.Keys
	buf         []byte
}

// each calls f with the entries whose keys begin with prefix, and whether their checksums are good.
func (k *checking) each(prefix []byte, f func(key, value []byte, whole bool) error) error {
	// Without an end: a scan would want the entry behind it to be whole.
	c := k.tx.Scan(store.Range{Lo: prefix, Unchecked: true, Reads: 1 << 10})
	for n := 0; c.Next() && bytes.HasPrefix(c.Key(), prefix); n++ {
		if n%1024 == 0 && k.ctx.Err() != nil {
			return k.ctx.Err()
		}
		if err := f(c.Key(), c.Value(), c.Verify() == nil); err != nil {
			return err
		}
	}
	return c.Err()
}

// catalog reads the collections, and holds what else the catalog has against them.
func (k *checking) catalog() error {
	err := k.each(catalogNames, func(key, value []byte, whole bool) error {
		name := string(key[len(catalogNames):])
		if !whole {
			k.unusable = true
			return nil
		}
		coll, err := new(Records).compile(k.tx, name, value)
		if err != nil {
			k.unusable = true
			k.report("collection "+name, "its definition can't be used: "+err.Error())
			return nil
		}
		if other := k.known[coll.number]; other != nil {
			k.report("collection "+name, "it has the number of "+other.name)
		}
		k.collections, k.known[coll.number] = append(k.collections, coll), coll
		return nil
	})
	if err != nil {
		return err
	}
	highest := uint32(0)
	prefix := store.Catalog.Key()
	return errors.Join(k.each(prefix, func(key, value []byte, whole bool) error {
		if !whole || len(key) < 2 {
			return nil
		}
		rest := key[2:]
		var coll *collection
		if len(rest) >= 4 {
			coll = k.known[binary.BigEndian.Uint32(rest)]
		}
		switch kind := key[1]; {
		case kind == 'c':
		case kind == 'd':
			k.discarded = append(k.discarded, bytes.Clone(rest))
		case kind == 'x' && len(rest) == 0 && len(value) == 4:
			highest = binary.BigEndian.Uint32(value)
		case kind == 'n' && len(rest) == 4:
			if coll == nil && !k.unusable {
				k.report("collections", "there is a count of records for a collection that is not there")
			}
		case kind == 'b' && len(rest) == 8:
			// From its second byte on, the key reads like one of the index's.
			if !k.unusable && (coll == nil || coll.indexOf(key[1:]) == nil) {
				k.report("collections", "there is the progress of an index that is not there")
			}
		default:
			k.report("collections", "there is an entry of a kind that Croft doesn't write")
		}
		return nil
	}), k.numbers(highest))
}

// numbers holds the highest number that was given to a collection against those that they have.
func (k *checking) numbers(highest uint32) error {
	for _, coll := range k.collections {
		if coll.number > highest && !k.unusable {
			k.report("collection "+coll.name, "its number was never given out")
		}
	}
	return nil
}

// A tally is the number of some keys, and the sum of their hashes. Two that are equal are of the same keys, whatever their order:
// so records and entries are each read once, in the order of the file, and nothing is looked up unless something is wrong.
type tally struct{ n, sum uint64 }

func (t *tally) add(seed maphash.Seed, key []byte) {
	t.n++
	t.sum += maphash.Bytes(seed, key)
}

// collection checks the records of a collection, and their entries.
func (k *checking) collection(coll *collection) (Checked, error) {
	found := Checked{Name: coll.name}
	where := "collection " + coll.name
	made := make([]tally, len(coll.indexes))
	prefix := recordPrefix(coll.number)
	err := k.each(prefix, func(key, value []byte, whole bool) error {
		id := string(key[len(prefix):])
		if !whole {
			found.Damaged++
			return nil
		}
		s, fault := k.record(value, id)
		if fault != "" {
			found.Damaged++
			k.report(recordName(coll, id), fault)
			return nil
		}
		found.Records++
		for i, ix := range coll.indexes {
			if ix.build != nil {
				continue
			}
			k.keys.Reset()
			if err := ix.appendEntries(&k.keys, coll, s, id); err != nil {
				k.report(recordName(coll, id), fmt.Sprintf("it can't be in the index %s: %s", ix.Name, err))
				continue
			}
			for j := range k.keys.Len() {
				made[i].add(k.seed, k.keys.Key(j))
			}
		}
		return nil
	})
	if err != nil {
		return found, err
	}

	state, err := readState(k.tx, coll.number)
	switch {
	case errors.Is(err, store.ErrDamaged): // told by the check of the file
	case err != nil:
		return found, err
	case state.generation != coll.generation:
		k.report(where, "its state is of another definition")
	case state.records != found.Records+found.Damaged:
		k.report(where, fmt.Sprintf("it counts %d records and has %d", state.records, found.Records+found.Damaged))
	}
	for i, ix := range coll.indexes {
		if ix.build != nil {
			continue
		}
		has, err := k.entries(coll, ix)
		if err == nil && has != made[i] {
			err = k.differences(coll, ix)
		}
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

func recordName(coll *collection, id string) string {
	if !idPattern.MatchString(id) {
		return "a record of " + coll.name
	}
	return "record " + id + " of " + coll.name
}

// record verifies that a record is stored as this package would store it. It says what is wrong, or nothing.
func (k *checking) record(value []byte, id string) (s *stored, fault string) {
	const malformed = "it is not as Croft stores records"
	opened, err := openStored(value)
	if err != nil {
		return nil, malformed
	}
	k.buf, err = rawjson.Canonical(k.buf[:0], opened.json, rawjson.Limits{})
	if err != nil || !bytes.Equal(k.buf, opened.json) || rawjson.KindOf(k.buf) != rawjson.Object {
		return nil, malformed
	}
	k.buf = appendStored(k.buf[:0], opened.json)
	if !bytes.Equal(k.buf, value) {
		return nil, malformed
	}
	it := rawjson.Members(opened.json)
	for i, name := range systemFields {
		if !it.Next() || !rawjson.TextIs(it.Key(), name) {
			return nil, "it has no " + name
		}
		if i == 0 && !rawjson.TextIs(it.Value(), id) {
			return nil, "it says that it is another one"
		}
	}
	seq, err := seqOf(revOf(opened.json, id))
	if err != nil || seq > k.last {
		return nil, "its rev is none that was given out"
	}
	return &opened, ""
}

// entries tallies an index, and finds records that have the same in a unique one.
func (k *checking) entries(coll *collection, ix *builtIndex) (tally, error) {
	var has tally
	var values []byte // of the entry before: its key up to the id
	var other string  // its record
	var scratch [64]byte
	guarded := unknown // whether entries with these values collide
	err := k.each(ix.prefix(coll), func(key, _ []byte, whole bool) error {
		if !whole {
			return nil
		}
		has.add(k.seed, key)
		if !ix.Unique {
			return nil
		}
		id := ix.ID(key[prefixLen:], scratch[:])
		end := len(key) - len(index.AppendID(k.buf[:0], id, ix.IDDesc()))
		if end < prefixLen || !bytes.Equal(values, key[:end]) {
			values, other, guarded = append(values[:0], key[:max(end, 0)]...), string(id), unknown
			return nil
		}
		if guarded == unknown {
			// Missing values and null collide with none; the record knows.
			guarded = no
			if _, unique, ok := k.holds(coll, ix, key, string(id)); ok && unique {
				guarded = yes
			}
		}
		if guarded == yes {
			k.report("index "+ix.Name+" of "+coll.name, fmt.Sprintf("records %s and %s have the same %s", other, id, ix.fieldNames()))
		}
		return nil
	})
	return has, err
}

type answer uint8

const (
	unknown answer = iota
	yes
	no
)

// holds looks up a record, and whether an index must have this entry of it. It is not ok if the record can't be read.
func (k *checking) holds(coll *collection, ix *builtIndex, key []byte, id string) (there, unique, ok bool) {
	value, err := k.tx.Get(recordKey(coll.number, id))
	if value == nil {
		return false, false, err == nil
	}
	s, fault := k.record(value, id)
	k.keys.Reset()
	if err != nil || fault != "" || ix.appendEntries(&k.keys, coll, s, id) != nil {
		return false, false, false
	}
	for i := range k.keys.Len() {
		if bytes.Equal(k.keys.Key(i), key) {
			return true, k.keys.Unique(i) != nil, true
		}
	}
	return false, false, true
}

// differences tells where an index and the records differ. Where one can't be read, the other one's part is passed over.
func (k *checking) differences(coll *collection, ix *builtIndex) error {
	prefix := recordPrefix(coll.number)
	err := k.each(prefix, func(key, value []byte, whole bool) error {
		id := string(key[len(prefix):])
		if !whole {
			return nil
		}
		s, fault := k.record(value, id)
		if fault != "" {
			return nil
		}
		k.keys.Reset()
		if ix.appendEntries(&k.keys, coll, s, id) != nil {
			return nil // reported
		}
		for i := range k.keys.Len() {
			entry, err := k.tx.Get(k.keys.Key(i))
			if errors.Is(err, store.ErrDamaged) {
				continue
			}
			if err != nil {
				return err
			}
			if entry == nil {
				k.report(recordName(coll, id), "it misses an entry in the index "+ix.Name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var scratch [64]byte
	return k.each(ix.prefix(coll), func(key, _ []byte, whole bool) error {
		if !whole {
			return nil
		}
		id := string(ix.ID(key[prefixLen:], scratch[:]))
		if there, _, ok := k.holds(coll, ix, key, id); ok && !there {
			k.report("index "+ix.Name+" of "+coll.name, "it has an entry that "+recordName(coll, id)+" does not make")
		}
		return nil
	})
}

// strays finds records and entries of no collection and no index, but for those that are being deleted.
func (k *checking) strays() error {
	if k.unusable {
		return nil // they may belong to a definition that can't be read
	}
	for _, space := range []store.Space{store.Records, store.Indexes} {
		prefix := space.Key()
		c := k.tx.Scan(store.Range{Lo: prefix, Unchecked: true})
		for c.Next() && bytes.HasPrefix(c.Key(), prefix) {
			if err := k.ctx.Err(); err != nil {
				return err
			}
			key, belongs := c.Key(), len(prefix)+4
			if space == store.Indexes {
				belongs = prefixLen
			}
			if len(key) < belongs {
				if c.Verify() == nil {
					k.report(space.String(), "there is an entry of a kind that Croft doesn't write")
				}
				continue
			}
			coll := k.known[binary.BigEndian.Uint32(key[1:])]
			if coll == nil || space == store.Indexes && coll.indexOf(key) == nil {
				dead := c.Verify() != nil
				for _, prefix := range k.discarded {
					dead = dead || bytes.HasPrefix(key, prefix)
				}
				switch {
				case dead:
				case space == store.Records:
					k.report("records", "there are records of a collection that is not there")
				default:
					k.report("indexes", "there are entries of an index that is not there")
				}
			}
			// All of one collection, or index, stand together: on to the next.
			next := store.After(key[:belongs])
			c.Seek(next)
		}
		if err := c.Err(); err != nil {
			return err
		}
	}
	return nil
}
