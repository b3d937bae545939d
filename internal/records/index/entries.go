package index

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"croft/internal/errs"
	"croft/internal/records/rawjson"
)

// Keys are the keys of a record's entries, in one index or in several. The zero value has none. Its memory is used again
// after Reset.
type Keys struct {
	buf   []byte
	spans []span
}

// A span is where a key stands in buf. Up to unique it must be nobody else's; 0 if it may be.
type span struct{ start, end, unique int }

// Reset drops all keys.
func (k *Keys) Reset() { k.buf, k.spans = k.buf[:0], k.spans[:0] }

// Len is how many keys there are.
func (k *Keys) Len() int { return len(k.spans) }

// Key is the i-th key. It is valid until the next Reset.
func (k *Keys) Key(i int) []byte {
	s := k.spans[i]
	return k.buf[s.start:s.end:s.end]
}

// Unique is the beginning of the i-th key that no other record's key may have; nil if others may.
func (k *Keys) Unique(i int) []byte {
	s := k.spans[i]
	if s.unique == 0 {
		return nil
	}
	return k.buf[s.start:s.unique:s.unique]
}

// Add adds the keys of a record's entries in the index, each beginning with prefix. The function value gives the
// field at a path in canonical JSON, nil if there is none. Where a value can't be indexed, the error is an *errs.Error that names
// its field, and no key is added.
func (k *Keys) Add(ix *Index, prefix []byte, id string, value func(path []string) []byte) error {
	e := entry{ix: ix, compared: ix.Unique, expanded: -1}
	e.start = len(k.buf)
	k.buf = append(append(k.buf, prefix...), ValueEntry)
	e.values = len(k.buf)
	var container []byte
	for i := range ix.Fields {
		raw := value(ix.Fields[i].Path)
		before := len(k.buf)
		k.buf = AppendValue(k.buf, raw, ix.Fields[i].Desc)
		if len(k.buf)-before > maxValue {
			k.buf = k.buf[:e.start]
			return e.refuse(i, "too_long", fmt.Sprintf("is too long for the index %s: at most %d bytes", ix.Name, MaxText))
		}
		switch kind := rawjson.KindOf(raw); {
		case kind == rawjson.None || kind == rawjson.Null:
			e.compared = false
		case kind < rawjson.Array:
		case e.expanded < 0:
			e.expanded, e.marker, container = i, before, raw
		default:
			e.compared = false
		}
	}
	e.tail = len(k.buf)
	k.buf = AppendID(k.buf, id, ix.IDDesc())
	e.end = len(k.buf)

	s := span{start: e.start, end: e.end}
	if e.compared && e.expanded < 0 {
		s.unique = e.tail
	}
	k.spans = append(k.spans, s)
	if e.expanded < 0 {
		return nil
	}
	return k.addElements(&e, container)
}

// maxValue is the length of the longest ordered value: a tag, a text, and its end.
const maxValue = 1 + MaxText + 2

// An entry is a value entry that was just appended to Keys, in parts: prefix and class from start, values, id
// from tail to end.
type entry struct {
	ix                       *Index
	start, values, tail, end int
	compared                 bool // must be unique
	expanded                 int  // the number of the first field that is an array or an object, -1 if none is
	marker                   int  // where its marker stands
}

// addElements adds the element entries of the record whose value entry was just added.
func (k *Keys) addElements(e *entry, container []byte) error {
	first := len(k.spans)
	prefix := e.values - 1
	n := 0
	for it := elementsOf(container); it.next(); {
		kind := rawjson.KindOf(it.value)
		if kind >= rawjson.Array {
			continue
		}
		s := span{start: len(k.buf)}
		k.buf = append(append(k.buf, k.buf[e.start:prefix]...), ElementEntry(e.expanded))
		k.buf = append(k.buf, k.buf[e.values:e.marker]...)
		before := len(k.buf)
		k.buf = AppendValue(k.buf, it.value, e.ix.Fields[e.expanded].Desc)
		n++
		var err error
		switch {
		case n > MaxElements:
			err = e.refuse(e.expanded, "too_many", fmt.Sprintf("has too many elements for the index %s: at most %d", e.ix.Name, MaxElements))
		case len(k.buf)-before > maxValue:
			err = e.refuse(e.expanded, "too_long", fmt.Sprintf("has an element that is too long for the index %s: at most %d bytes", e.ix.Name, MaxText))
		}
		if err != nil {
			k.buf, k.spans = k.buf[:e.start], k.spans[:first-1]
			return err
		}
		k.buf = append(k.buf, k.buf[e.marker+1:e.tail]...)
		if e.compared && kind != rawjson.Null {
			s.unique = len(k.buf)
		}
		k.buf = append(k.buf, k.buf[e.tail:e.end]...)
		s.end = len(k.buf)
		k.spans = append(k.spans, s)
	}
	elements := k.spans[first:]
	slices.SortFunc(elements, k.compare)
	elements = slices.CompactFunc(elements, func(a, b span) bool { return k.compare(a, b) == 0 })
	k.spans = k.spans[:first+len(elements)]
	return nil
}

func (e *entry) refuse(field int, code, message string) error {
	path := e.ix.Fields[field].Path
	return errs.At(errs.Invalid, rawjson.Pointer(path...), code, strings.Join(path, ".")+" "+message)
}

// An elementIter walks the elements of an array or the names of an object.
type elementIter struct {
	elements rawjson.ElementIter
	members  rawjson.MemberIter
	value    []byte
}

// elementsOf begins at a container, which is of one of the two kinds; the walk over the other one is empty.
func elementsOf(container []byte) elementIter {
	return elementIter{elements: rawjson.Elements(container), members: rawjson.Members(container)}
}

func (it *elementIter) next() bool {
	switch {
	case it.elements.Next():
		it.value = it.elements.Value()
	case it.members.Next():
		it.value = it.members.Key()
	default:
		return false
	}
	return true
}

func (k *Keys) compare(a, b span) int {
	return bytes.Compare(k.buf[a.start:a.end], k.buf[b.start:b.end])
}

// Diff calls remove for the keys in old that are not in new, and add for those in new that are not in old, with what must
// be unique in them (see Unique). It sorts both, and stops at the first error.
func Diff(old, new *Keys, remove func(key []byte) error, add func(key, unique []byte) error) error {
	slices.SortFunc(old.spans, old.compare)
	slices.SortFunc(new.spans, new.compare)
	i, j := 0, 0
	for i < old.Len() || j < new.Len() {
		c := 0
		switch {
		case i == old.Len():
			c = 1
		case j == new.Len():
			c = -1
		default:
			c = bytes.Compare(old.Key(i), new.Key(j))
		}
		switch {
		case c == 0:
			i, j = i+1, j+1
			continue
		case c < 0:
			if err := remove(old.Key(i)); err != nil {
				return err
			}
			i++
		default:
			if err := add(new.Key(j), new.Unique(j)); err != nil {
				return err
			}
			j++
		}
	}
	return nil
}
