package records

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"croft/internal/errs"
	"croft/internal/store"
)

// upkeep is the work that a change of a collection leaves behind: indexes to build, and keys to delete. It is done in
// slices, each an update among those of requests, and goes on after a restart.
type upkeep struct {
	r      *Records
	ctx    context.Context
	cancel context.CancelFunc
	poke   chan struct{} // holds one: there may be work
	done   sync.WaitGroup
}

// How much one slice does: some milliseconds in the writer.
const (
	buildSlice   = 500  // records
	discardSlice = 2000 // keys
	firstSlice   = 2000 // records that a definition's own update indexes, so that small collections are ready at once
)

// buildState is how far an index is built. There is none once it is ready.
type buildState struct {
	After string `json:"after"`           // the last record that was indexed
	Done  uint64 `json:"done"`            // how many were
	Of    uint64 `json:"of"`              // how many there were at the beginning
	Error string `json:"error,omitempty"` // why it can't be built
}

func startUpkeep(r *Records) *upkeep {
	u := &upkeep{r: r, poke: make(chan struct{}, 1)}
	u.ctx, u.cancel = context.WithCancel(context.Background())
	u.wake()
	u.done.Go(u.run)
	return u
}

func (u *upkeep) wake() {
	select {
	case u.poke <- struct{}{}:
	default:
	}
}

func (u *upkeep) close() {
	u.cancel()
	u.done.Wait()
}

func (u *upkeep) run() {
	for {
		select {
		case <-u.ctx.Done():
			return
		case <-u.poke:
		}
		for {
			more, err := u.slice()
			if err != nil {
				if u.ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
					u.r.o.Log.Error("the upkeep of collections stopped; it goes on at the next change of a collection or the next start", "error", err)
				}
				break
			}
			if !more {
				break
			}
		}
	}
}

// slice does a part of the work, and reports whether there is more.
func (u *upkeep) slice() (more bool, err error) {
	for _, coll := range u.r.catalog.Load().byName {
		for _, ix := range coll.indexes {
			if ix.build != nil && ix.upkept() {
				return true, u.r.db.Update(u.ctx, func(tx *store.Tx) error { return u.r.buildNext(tx, coll, ix.Number) })
			}
		}
	}
	prefix, err := u.discarded()
	if prefix == nil || err != nil {
		return false, err
	}
	return true, u.r.db.Reclaim(u.ctx, func(tx *store.Tx) error { return discardNext(tx, prefix) })
}

func buildKey(collection, index uint32) []byte {
	key := binary.BigEndian.AppendUint32(store.Catalog.Key([]byte{'b'}), collection)
	return binary.BigEndian.AppendUint32(key, index)
}

// readBuilds reads how far the collection's indexes are built.
func (coll *collection) readBuilds(tx *store.Tx) error {
	for _, ix := range coll.indexes {
		value, err := tx.Get(buildKey(coll.number, ix.Number))
		if err != nil {
			return err
		}
		if value == nil {
			continue
		}
		ix.build = &buildState{}
		if err := json.Unmarshal(value, ix.build); err != nil {
			return fmt.Errorf("%w: the state of index %s of %s: %w", store.ErrDamaged, ix.Name, coll.name, err)
		}
	}
	return nil
}

// buildFirst begins to build a new index, in the update that defines it. A small collection is done with that; one whose
// records collide is refused.
func buildFirst(tx *store.Tx, coll *collection, ix *builtIndex) error {
	b, err := buildSome(tx, coll, ix, firstSlice)
	ix.build = b
	return err
}

// buildNext goes on with an index, and puts its new state into the catalog.
func (r *Records) buildNext(tx *store.Tx, seen *collection, number uint32) error {
	coll, err := r.load(tx, seen.name)
	if err != nil || coll == nil || coll.number != seen.number {
		return err // dropped meanwhile
	}
	for _, ix := range coll.indexes {
		if ix.Number != number || ix.build == nil || !ix.upkept() {
			continue
		}
		b, err := buildSome(tx, coll, ix, buildSlice)
		var e *errs.Error
		if errors.As(err, &e) {
			if err := r.giveUp(tx, coll, ix, e); err != nil {
				return err
			}
		} else if err != nil {
			return err
		} else {
			ix.build = b
		}
		if ix.build == nil {
			r.o.Log.Info("an index is ready", "collection", coll.name, "index", ix.Name)
		}
	}
	tx.OnCommit(func() { r.replace(coll.name, coll) })
	return nil
}

// giveUp marks an index as one that can't be built. The collection's generation changes, so that no write that was prepared
// before still adds entries to it.
func (r *Records) giveUp(tx *store.Tx, coll *collection, ix *builtIndex, why *errs.Error) error {
	ix.build = &buildState{Of: ix.build.Of, Done: ix.build.Done, Error: why.Text}
	seq, err := tx.NextSeq()
	if err != nil {
		return err
	}
	s, err := readState(tx, coll.number)
	if err != nil {
		return err
	}
	s.generation, coll.generation, coll.kept.Generation = seq, seq, seq
	coll.live.defined.Store(seq)
	kept, err := encode(coll.kept)
	if err != nil {
		return err
	}
	r.o.Log.Warn("an index can't be built", "collection", coll.name, "index", ix.Name, "reason", why.Text)
	return firstError(s.write(tx, coll.number), tx.Put(catalogKey(coll.name), kept),
		putBuild(tx, coll, ix, ix.build), discard(tx, ix.prefix(coll)))
}

// buildSome indexes the next records, and writes how far it is. It returns nil when the index is ready.
func buildSome(tx *store.Tx, coll *collection, ix *builtIndex, most int) (*buildState, error) {
	b := *ix.build
	prefix := recordPrefix(coll.number)
	records := store.Prefix(prefix)
	if b.After != "" {
		records.Lo = append(recordKey(coll.number, b.After), 0) // ids have no zero bytes
	}
	c := tx.Scan(records)
	n := 0
	var entries built
	for ; n < most && c.Next(); n++ {
		id := string(c.Key()[len(prefix):])
		s, err := openStored(c.Value())
		if err != nil {
			return nil, err
		}
		if err := entries.add(coll, ix, &s, id); err != nil {
			return nil, err
		}
		b.After = id
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	// Written after the scan: a cursor is not to be used across writes.
	if err := entries.store(tx, coll, ix); err != nil {
		return nil, err
	}
	b.Done += uint64(n)
	if n < most {
		return nil, tx.Delete(buildKey(coll.number, ix.Number))
	}
	return &b, putBuild(tx, coll, ix, &b)
}

func putBuild(tx *store.Tx, coll *collection, ix *builtIndex, b *buildState) error {
	value, err := encode(b)
	if err != nil {
		return err
	}
	return tx.Put(buildKey(coll.number, ix.Number), value)
}

var discardPrefix = store.Catalog.Key([]byte{'d'})

// discard has all keys with a prefix deleted in the background.
func discard(tx *store.Tx, prefix []byte) error {
	return tx.Put(append(discardPrefix[:len(discardPrefix):len(discardPrefix)], prefix...), nil)
}

// discarded returns a prefix whose keys are to be deleted, nil if there is none.
func (u *upkeep) discarded() (prefix []byte, err error) {
	err = u.r.db.View(func(tx *store.Tx) error {
		c := tx.Scan(store.Prefix(discardPrefix))
		if c.Next() {
			prefix = append([]byte{}, c.Key()[len(discardPrefix):]...)
		}
		return c.Err()
	})
	return prefix, err
}

// discardNext deletes some of the keys with a prefix, and when there are none any more, the note of it.
func discardNext(tx *store.Tx, prefix []byte) error {
	var keys [][]byte
	c := tx.Scan(store.Prefix(prefix))
	for len(keys) < discardSlice && c.Next() {
		keys = append(keys, append([]byte{}, c.Key()...))
	}
	if err := c.Err(); err != nil {
		return err
	}
	for _, key := range keys {
		if err := tx.Delete(key); err != nil {
			return err
		}
	}
	if len(keys) < discardSlice {
		return tx.Delete(append(discardPrefix[:len(discardPrefix):len(discardPrefix)], prefix...))
	}
	return nil
}
