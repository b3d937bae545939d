package auth

import (
	"sync"
	"sync/atomic"
	"time"

	"croft/internal/identity"
)

// cacheSize bounds the callers kept in memory, some 400 bytes each. A household has a few dozen.
const cacheSize = 10_000

// A cache knows the callers behind the tokens that were used of late, so that most requests need no look at the file.
//
// Whoever changes what a caller may do forgets it here when that is committed, before the change is answered. One that
// is being looked up meanwhile may have been read before the commit; so a lookup notes the generation before it
// reads, and what it read is kept only if nothing was forgotten since.
type cache struct {
	mu      sync.RWMutex
	gen     uint64 // how often something was forgotten
	entries map[hash]*entry
	gone    map[hash]use // last uses of entries that were pushed out and are not on disk yet
}

// entry is a caller, shared by all requests with its token.
type entry struct {
	caller *identity.Caller
	kind   byte  // kindSession or kindToken
	end    int64 // it is not valid from then on, Unix milliseconds
	used   atomic.Int64
	stored atomic.Int64 // used, as it is on disk
}

// use is when a session or an API token was last used.
type use struct {
	kind byte
	at   int64 // Unix milliseconds
}

func newCache() *cache { return &cache{entries: map[hash]*entry{}, gone: map[hash]use{}} }

// get returns the entry of a token, or nil and the generation to give to put.
func (c *cache) get(h hash) (*entry, uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.entries[h], c.gen
}

// put keeps an entry that was read from the disk after get gave the generation.
func (c *cache) put(h hash, e *entry, gen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gen != gen {
		return
	}
	if u, ok := c.gone[h]; ok {
		e.used.Store(max(e.used.Load(), u.at))
		delete(c.gone, h)
	}
	if len(c.entries) >= cacheSize {
		c.pushOut()
	}
	c.entries[h] = e
}

// pushOut removes an entry that was not used for long: the oldest of a few, which the map picks at random. Exact order
// would have each request write to a list.
func (c *cache) pushOut() {
	const few = 8
	var oldest hash
	var found *entry
	n := 0
	for h, e := range c.entries {
		if found == nil || e.used.Load() < found.used.Load() {
			oldest, found = h, e
		}
		if n++; n == few {
			break
		}
	}
	if found.used.Load() > found.stored.Load() && len(c.gone) < cacheSize {
		c.gone[oldest] = use{found.kind, found.used.Load()}
	}
	delete(c.entries, oldest)
}

// forget removes an entry whose session or token has ended.
func (c *cache) forget(h hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen++
	delete(c.entries, h)
	delete(c.gone, h)
}

// forgetUser removes all entries of a user who has changed. Their last uses are kept, for the sessions may go on.
func (c *cache) forgetUser(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen++
	for h, e := range c.entries {
		if e.caller.ID != id {
			continue
		}
		if e.used.Load() > e.stored.Load() {
			c.gone[h] = use{e.kind, e.used.Load()}
		}
		delete(c.entries, h)
	}
}

// lastUse returns a use that is not on disk yet, or 0.
func (c *cache) lastUse(h hash) int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e := c.entries[h]; e != nil {
		return e.used.Load()
	}
	return c.gone[h].at
}

// unstored returns the uses that are not on disk yet.
func (c *cache) unstored() map[hash]use {
	c.mu.RLock()
	defer c.mu.RUnlock()
	uses := map[hash]use{}
	for h, e := range c.entries {
		if at := e.used.Load(); at > e.stored.Load() {
			uses[h] = use{e.kind, at}
		}
	}
	for h, u := range c.gone {
		uses[h] = u
	}
	return uses
}

// stored notes that uses are on disk.
func (c *cache) markStored(uses map[hash]use) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for h, u := range uses {
		if e := c.entries[h]; e != nil {
			e.stored.Store(u.at)
		}
		if c.gone[h].at <= u.at {
			delete(c.gone, h)
		}
	}
}

// touch notes a use, unless a later one is known.
func (e *entry) touch(now int64) {
	for {
		before := e.used.Load()
		if now <= before || e.used.CompareAndSwap(before, now) {
			return
		}
	}
}

// endsAt is when the entry ends if it is not used until then. API tokens don't end by idling.
func (e *entry) endsAt(idle time.Duration) int64 {
	if e.kind == kindSession {
		return min(e.end, e.used.Load()+idle.Milliseconds())
	}
	return e.end
}
