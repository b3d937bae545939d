package store

import (
	"bytes"

	"go.etcd.io/bbolt"
)

// Range is a range of keys and the way through it.
type Range struct {
	Lo, Hi  []byte // from Lo to before Hi; a nil Hi has no end
	Reverse bool   // from the end to the beginning
	// Unchecked leaves the checksums of values to the caller, who must call Cursor.Verify for what it hands on. For scans that pass
	// over most of what they see.
	Unchecked bool
	// Reads is how many bytes of a value an Unchecked scan will look at, as far as is known: they are fetched ahead.
	Reads int
}

// Prefix is the range of all keys that begin with p.
func Prefix(p []byte) Range { return Range{Lo: p, Hi: After(p)} }

// After returns the first key after all those that begin with p, or nil if there is none.
func After(p []byte) []byte {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0xff {
			next := bytes.Clone(p[:i+1])
			next[i]++
			return next
		}
	}
	return nil
}

// Cursor goes through a range of keys:
//
//	for c := tx.Scan(r); c.Next(); {
//		use(c.Key(), c.Value())
//	}
//	return c.Err()
//
// What it hands out is valid until the transaction ends. A function that writes to the range while it goes through it
// must call Seek before Next.
type Cursor struct {
	tx     *Tx
	r      Range
	bolt   *bbolt.Cursor
	target []byte // of Seek
	key    []byte
	sealed []byte
	value  []byte
	err    error
	state  cursorState

	// What an Unchecked scan has read ahead: those from at come next.
	ahead   []entry
	at      int
	touched byte
}

type entry struct{ key, sealed []byte }

// readAhead is how many entries an Unchecked scan takes at a time. It touches them all before it looks at one: the processor then
// waits for their memory at once, and not for each in turn, which is most of a scan's time.
const (
	readAhead = 16
	cacheLine = 64
)

type cursorState uint8

const (
	fresh  cursorState = iota // before the first key
	placed                    // on a key
	moved                     // by Seek: the target comes next
	ended
)

// Scan returns a cursor before the first key of the range.
func (tx *Tx) Scan(r Range) *Cursor {
	return &Cursor{tx: tx, r: r, bolt: tx.bucket.Cursor()}
}

// Next moves to the next key and reports whether there is one. When it returns false, Err says whether that is the end.
func (c *Cursor) Next() bool {
	if c.state == ended {
		return false
	}
	ok, err := c.next()
	if !ok {
		c.state, c.err = ended, err
		c.key, c.sealed, c.value = nil, nil, nil
	}
	return ok
}

func (c *Cursor) next() (ok bool, err error) {
	defer recoverDamage(&err)
	k, v := c.move()
	if c.state == placed && k != nil {
		order := bytes.Compare(k, c.key)
		if c.r.Reverse {
			order = -order
		}
		if order <= 0 {
			return false, damaged(k, "its key is out of order")
		}
	}
	c.state = placed
	if k == nil || c.beyond(k) {
		if k != nil {
			// The end is believed only when the key behind it is whole.
			_, err = unseal(k, v)
		}
		return false, err
	}
	c.key, c.sealed = k, v
	if c.r.Unchecked && len(v) >= sumSize {
		c.value = v[sumSize:]
		return true, nil
	}
	if c.value, err = unseal(k, v); err != nil {
		return false, err
	}
	c.value = c.tx.lent.lend(c.value)
	return true, nil
}

// beyond reports whether a key is behind the end of the range.
func (c *Cursor) beyond(k []byte) bool {
	if c.r.Reverse {
		return bytes.Compare(k, c.r.Lo) < 0
	}
	return c.r.Hi != nil && bytes.Compare(k, c.r.Hi) >= 0
}

// move takes one step in the cursor's direction.
func (c *Cursor) move() (k, v []byte) {
	switch {
	case c.state == moved && c.r.Reverse:
		k, v = c.bolt.Seek(c.target)
		if bytes.Equal(k, c.target) {
			return k, v
		}
		return c.prev(k)
	case c.state == moved:
		return c.bolt.Seek(c.target)
	case c.state == placed && c.r.Unchecked && c.tx.batch == nil:
		return c.buffered()
	case c.state == placed:
		return c.step()
	case c.r.Reverse && c.r.Hi == nil:
		return c.bolt.Last()
	case c.r.Reverse:
		k, _ = c.bolt.Seek(c.r.Hi)
		return c.prev(k)
	default:
		return c.bolt.Seek(c.r.Lo)
	}
}

// step goes one entry on from where bbolt's cursor stands.
func (c *Cursor) step() (k, v []byte) {
	if c.r.Reverse {
		return c.prev(c.key)
	}
	return c.bolt.Next()
}

// buffered takes the next entry of those read ahead.
func (c *Cursor) buffered() (k, v []byte) {
	if c.at == len(c.ahead) {
		if c.ahead == nil {
			c.ahead = make([]entry, 0, readAhead)
		}
		c.ahead, c.at = c.ahead[:0], 0
		for len(c.ahead) < readAhead {
			k, v := c.step()
			if k == nil {
				break
			}
			c.ahead = append(c.ahead, entry{k, v})
		}
		for _, e := range c.ahead {
			for at := 0; at < min(len(e.sealed), c.r.Reads+1); at += cacheLine {
				c.touched += e.sealed[at]
			}
		}
	}
	if c.at == len(c.ahead) {
		return nil, nil
	}
	e := c.ahead[c.at]
	c.at++
	return e.key, e.sealed
}

// prev moves before k, on which the cursor stands; nil stands behind the last key.
func (c *Cursor) prev(k []byte) (before, v []byte) {
	if k == nil {
		return c.bolt.Last()
	}
	before, v = c.bolt.Prev()
	if before != nil || c.tx.batch == nil {
		return before, v
	}
	// bbolt's Prev takes a leaf that the transaction has emptied for the beginning of everything; called again, it
	// goes on behind that leaf.
	if first, _ := c.tx.cursor.First(); bytes.Equal(first, k) {
		return nil, nil
	}
	for n := c.tx.batch.removed; n > 0 && before == nil; n-- {
		before, v = c.bolt.Prev()
	}
	return before, v
}

// Seek has the next Next go to key, or what follows it in the cursor's direction; not out of the range.
func (c *Cursor) Seek(key []byte) {
	if c.err != nil {
		return
	}
	c.state = moved
	c.ahead, c.at = c.ahead[:0], 0
	c.target = append(c.target[:0], key...)
	if c.r.Reverse && c.r.Hi != nil && bytes.Compare(key, c.r.Hi) >= 0 || !c.r.Reverse && bytes.Compare(key, c.r.Lo) < 0 {
		c.state = fresh
	}
}

// Key is the key that the cursor stands on.
func (c *Cursor) Key() []byte { return c.tx.lent.lend(c.key) }

// Value is its value.
func (c *Cursor) Value() []byte { return c.value }

// Verify checks the value that an Unchecked range left unchecked.
func (c *Cursor) Verify() error {
	_, err := unseal(c.key, c.sealed)
	return err
}

// Err is the error that ended the scan, or nil at the end of the range.
func (c *Cursor) Err() error { return c.err }
