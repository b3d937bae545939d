package records

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"

	"croft/internal/store"
)

// A Count counts the records of a file whose tree is damaged, so that it can't be opened, by the entries that a walk over it
// still finds, and names the keys of the others. The zero value is ready.
type Count struct {
	names   map[uint32]string // of the collections, by number
	records map[uint32]*Checked
}

// Entry takes in an entry that is whole.
func (c *Count) Entry(key, value []byte) {
	switch {
	case bytes.HasPrefix(key, catalogNames):
		var kept storedCollection
		if json.Unmarshal(value, &kept) == nil {
			if c.names == nil {
				c.names = map[uint32]string{}
			}
			c.names[kept.Number] = string(key[len(catalogNames):])
		}
	case key[0] == byte(store.Records):
		if of := c.of(key); of != nil {
			of.Records++
		}
	}
}

// Damaged takes in the key of an entry that is not whole, and says what it is of.
func (c *Count) Damaged(key []byte) (where string) {
	if key[0] == byte(store.Records) {
		if of := c.of(key); of != nil {
			of.Damaged++
		}
	}
	return c.Name(key)
}

// Name says what an entry is of: no key is told, but for a record's id.
func (c *Count) Name(key []byte) string {
	name := "a collection that can't be read"
	if len(key) >= 5 {
		if known := c.names[binary.BigEndian.Uint32(key[1:])]; known != "" {
			name = known
		}
	}
	switch {
	case bytes.HasPrefix(key, catalogNames):
		if name := string(key[len(catalogNames):]); collectionName.MatchString(name) {
			return "the definition of " + name
		}
	case key[0] == byte(store.Records):
		if id := string(key[min(len(key), 5):]); idPattern.MatchString(id) {
			return "record " + id + " of " + name
		}
		return "a record of " + name
	case key[0] == byte(store.Indexes):
		return "an index of " + name
	}
	return store.Space(key[0]).String()
}

// of returns the count of the collection that a record's key belongs to, nil if that is malformed.
func (c *Count) of(key []byte) *Checked {
	if len(key) < 5 {
		return nil
	}
	number := binary.BigEndian.Uint32(key[1:])
	if c.records[number] == nil {
		if c.records == nil {
			c.records = map[uint32]*Checked{}
		}
		c.records[number] = &Checked{}
	}
	return c.records[number]
}

// Collections are the counts, in the order of the collections' names; those whose definition is lost come first, without one.
func (c *Count) Collections() []Checked {
	all := map[uint32]Checked{}
	for number, name := range c.names {
		all[number] = Checked{Name: name}
	}
	for number, n := range c.records {
		all[number] = Checked{c.names[number], n.Records, n.Damaged}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Checked) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
}
