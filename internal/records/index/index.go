// Package index makes the keys under which a collection's indexes list its records. It is pure: it reads JSON and
// makes bytes, and knows no store. What it promises:
//
//   - Keys sort as the query language compares values (see AppendValue), and equal keys mean equal values.
//   - Every record that an index holds has exactly one value entry in it, also where fields are missing or hold arrays, so
//     that a scan of the value entries lists each record once, in order.
//
// # Keys
//
// Package records writes them to the space Indexes, with empty values:
//
//	Indexes-space byte | collection u32 | index u32 | class | ordered value of each field … | id
//
// This package makes what follows the index's number:
//
//	class    0x00 a value entry, n an entry for an element of the n-th field
//	values   one for each field, self-delimiting; all bytes inverted where the field is descending
//	id       0x00 id, or 0xff inverted(id) 0xff in an index whose last field is descending
//
// The id sorts in the direction of the last field, as it does in a list's order (see package plan), so that an index
// over the fields of a sort gives its order, ties included, read forward or backward. No id contains the byte in front of
// it, so it is found from the key's end.
//
// An ordered value is one of
//
//	0x10                         missing
//	0x20                         null
//	0x30                         false
//	0x40                         true
//	0x50 8 bytes                 number: the double's bits, made to sort
//	0x60 text 0x00 0x00          string; each 0x00 in the text is 0x00 0xff
//	0x70                         array or object: not indexed as such, all alike
//
// # Arrays
//
// Where a field holds an array, the record has an element entry for each distinct scalar in it, beside its value
// entry; the element's value stands in the field's place. An object counts as the array of its names, since that is what
// `in` and exists() make of it in expressions. Only the first such field of an index does this.
//
// # Unique indexes
//
// Their keys are no different: two records collide where their keys are equal up to the id (see Keys.Unique). A
// record with a missing or null field collides with none, and arrays collide by their elements, one by one.
package index

import (
	"bytes"

	"croft/internal/records/expr"
)

// The limits of indexed values. MaxFields values of MaxText bytes make a key of less than 28,800 bytes; bbolt takes
// 32,768.
const (
	MaxFields   = 7
	MaxText     = 4096  // bytes of an indexed string, a zero byte counting twice
	MaxElements = 1_000 // scalars of an indexed array, names of an indexed object
)

// ValueEntry is the class of value entries: the first byte of what this package makes.
const ValueEntry = 0x00

// ElementEntry is the class of the entries for elements of the i-th field, from 0.
func ElementEntry(i int) byte { return byte(i + 1) }

// A Field is a field of an index.
type Field struct {
	Path []string
	Desc bool
}

// An Index is an index of a collection.
type Index struct {
	Number uint32 // in the collection; never used again
	Name   string
	Fields []Field // 1 to MaxFields, no path twice
	Unique bool
	// Where is the condition under which a record is in the index, nil for all of them. Whoever writes the entries evaluates it.
	// It depends on the record alone, neither on auth nor on now, and is as expr.Bind leaves it.
	Where *expr.Expr
}

// IDDesc reports whether ids sort descending in the index's keys.
func (ix *Index) IDDesc() bool { return ix.Fields[len(ix.Fields)-1].Desc }

// AppendID appends an id, which ends a key.
func AppendID[T string | []byte](dst []byte, id T, desc bool) []byte {
	if !desc {
		dst = append(dst, 0x00)
		return append(dst, id...)
	}
	dst = append(dst, 0xff)
	start := len(dst)
	dst = append(dst, id...)
	invert(dst[start:])
	return append(dst, 0xff)
}

// ID is the id that a key of the index ends with: a part of the key, or decoded to scratch where ids are descending.
// A key that ends with none gives an empty one.
func (ix *Index) ID(key, scratch []byte) []byte {
	if !ix.IDDesc() {
		return key[bytes.LastIndexByte(key, 0x00)+1:]
	}
	if len(key) == 0 {
		return nil
	}
	key = key[:len(key)-1]
	id := append(scratch[:0], key[bytes.LastIndexByte(key, 0xff)+1:]...)
	invert(id)
	return id
}

func invert(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}
