package records

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"croft/internal/store"
)

// Derived reports whether an entry can be made anew from others: Repair has that done.
func Derived(key []byte) bool {
	return len(key) > 0 && key[0] == byte(store.Indexes) ||
		len(key) > 1 && key[0] == byte(store.Catalog) && (key[1] == 'n' || key[1] == 'b')
}

// SeqOf is the number of the change that made a record, or the definition of a collection, what it is; 0 for other entries,
// which don't tell.
func SeqOf(key, value []byte) uint64 {
	switch {
	case len(key) > 5 && key[0] == byte(store.Records):
		s, err := openStored(value)
		if err != nil {
			return 0
		}
		seq, err := seqOf(revOf(s.json, string(key[5:])))
		if err != nil {
			return 0
		}
		return seq
	case bytes.HasPrefix(key, catalogNames):
		var kept storedCollection
		if json.Unmarshal(value, &kept) != nil {
			return 0
		}
		return kept.Generation
	}
	return 0
}

// Repair puts in order what was taken out of a damaged file: other entries may be missing, and there are none that are Derived. Each
// collection's records are counted, its indexes are built anew when the file is next used, and records whose collection's definition is
// lost get one that is for admins only. It returns the names of those collections.
func Repair(tx *store.Tx, now time.Time) (made []string, err error) {
	p := &repair{tx: tx, now: now.UTC().Format(timeLayout), collections: map[uint32]*storedCollection{}, names: map[string]bool{}, counts: map[uint32]uint64{}}
	for _, step := range []func() error{p.catalog, p.count, p.adopt, p.write} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return p.made, nil
}

type repair struct {
	tx  *store.Tx
	now string

	collections map[uint32]*storedCollection // by number
	names       map[string]bool
	counts      map[uint32]uint64 // records, by their collection's number
	discarded   [][]byte          // prefixes whose keys are being deleted
	stale       [][]byte          // keys that are written anew
	last        uint32            // the highest number of a collection
	made        []string
}

func (p *repair) catalog() error {
	c := p.tx.Scan(store.Prefix(store.Catalog.Key()))
	for c.Next() {
		key := bytes.Clone(c.Key())
		if len(key) < 2 {
			continue
		}
		switch rest := key[2:]; key[1] {
		case 'c':
			kept := new(storedCollection)
			if err := json.Unmarshal(c.Value(), kept); err != nil {
				return fmt.Errorf("collection %s: %w", rest, err)
			}
			if p.collections[kept.Number] != nil {
				return fmt.Errorf("%w: collection %s has the number of another one", store.ErrDamaged, rest)
			}
			p.collections[kept.Number], p.names[string(rest)] = kept, true
			p.last = max(p.last, kept.Number)
		case 'd':
			p.discarded = append(p.discarded, rest)
		case 'x':
			if v := c.Value(); len(v) == 4 {
				p.last = max(p.last, binary.BigEndian.Uint32(v))
			}
		case 'n', 'b':
			p.stale = append(p.stale, key)
		}
	}
	return c.Err()
}

// count counts records, but for those that are being deleted.
func (p *repair) count() error {
	c := p.tx.Scan(store.Prefix(store.Records.Key()))
	for c.Next() {
		key := c.Key()
		if len(key) < 5 {
			continue
		}
		number := binary.BigEndian.Uint32(key[1:])
		p.last = max(p.last, number)
		if p.collections[number] == nil && slices.ContainsFunc(p.discarded, func(prefix []byte) bool { return bytes.HasPrefix(key, prefix) }) {
			continue
		}
		p.counts[number]++
	}
	return c.Err()
}

// adopt makes a collection for records that have none.
func (p *repair) adopt() error {
	var def definition
	empty, err := def.encode()
	if err != nil {
		return err
	}
	for number := range p.counts {
		if p.collections[number] != nil {
			continue
		}
		name := fmt.Sprintf("recovered_%d", number)
		for n := 2; p.names[name]; n++ {
			name = fmt.Sprintf("recovered_%d_%d", number, n)
		}
		seq, err := p.tx.NextSeq()
		if err != nil {
			return err
		}
		kept := &storedCollection{Number: number, Generation: seq, Created: p.now, Updated: p.now, Definition: empty}
		value, err := encode(kept)
		if err != nil {
			return err
		}
		if err := p.tx.Put(catalogKey(name), value); err != nil {
			return err
		}
		p.collections[number], p.names[name] = kept, true
		p.made = append(p.made, name)
	}
	slices.Sort(p.made)
	return nil
}

// write writes what is derived but small, and has the indexes built.
func (p *repair) write() error {
	for _, key := range p.stale {
		if err := p.tx.Delete(key); err != nil {
			return err
		}
	}
	for number, kept := range p.collections {
		if err := (state{kept.Generation, p.counts[number]}).write(p.tx, number); err != nil {
			return err
		}
		for _, ix := range kept.IndexNumbers {
			value, err := encode(&buildState{Of: p.counts[number]})
			if err != nil {
				return err
			}
			if err := p.tx.Put(buildKey(number, ix), value); err != nil {
				return err
			}
		}
	}
	if p.last == 0 {
		return nil
	}
	return p.tx.Put(keyLastNumber, binary.BigEndian.AppendUint32(nil, p.last))
}
