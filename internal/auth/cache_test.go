package auth

import (
	"encoding/binary"
	"testing"

	"croft/internal/identity"
)

func numbered(n int) (h hash) {
	binary.BigEndian.PutUint64(h[:], uint64(n))
	return h
}

func newEntry(user string, used int64) *entry {
	e := &entry{caller: &identity.Caller{ID: user}, kind: kindSession, end: 1 << 60}
	e.used.Store(used)
	return e
}

// What was read before something was forgotten is not kept after it, whichever way it was forgotten.
func TestCacheKeepsNothingOld(t *testing.T) {
	for name, forget := range map[string]func(c *cache, h hash){
		"session": func(c *cache, h hash) { c.forget(h) },
		"user":    func(c *cache, _ hash) { c.forgetUser("ben") },
	} {
		c, h := newCache(), numbered(1)
		_, gen := c.get(h)
		e := newEntry("ben", 1) // read from the disk here
		forget(c, h)
		c.put(h, e, gen)
		if e, _ := c.get(h); e != nil {
			t.Errorf("%s: what was read before is kept", name)
		}
		_, gen = c.get(h)
		c.put(h, e, gen)
		if e, _ := c.get(h); e == nil {
			t.Errorf("%s: what was read after is not kept", name)
		}
		forget(c, h)
		if e, _ := c.get(h); e != nil {
			t.Errorf("%s: it is still there", name)
		}
	}
}

// The cache is bounded, and when an entry was last used is not lost with it.
func TestCacheIsBounded(t *testing.T) {
	const more = 500
	c := newCache()
	for i := range cacheSize + more {
		_, gen := c.get(numbered(i))
		c.put(numbered(i), newEntry("ben", int64(i+1)), gen)
	}
	if len(c.entries) != cacheSize {
		t.Errorf("%d entries", len(c.entries))
	}
	uses := c.unstored()
	for i := range cacheSize + more {
		if h := numbered(i); uses[h].at != int64(i+1) || c.lastUse(h) != int64(i+1) {
			t.Fatalf("the use of entry %d is %d", i, uses[h].at)
		}
	}
	c.forgetUser("ben")
	if len(c.entries) != 0 || len(c.unstored()) != cacheSize+more {
		t.Errorf("%d entries and %d uses of a user who has changed", len(c.entries), len(c.unstored()))
	}
	c.markStored(uses)
	if n := len(c.unstored()); n != 0 {
		t.Errorf("%d uses are still to be written", n)
	}
}
