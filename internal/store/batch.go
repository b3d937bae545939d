package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// batch is the write transaction that the writer's functions share, and how to take back the one that runs.
type batch struct {
	bucket  *bbolt.Bucket
	cursor  *bbolt.Cursor
	sums    *bbolt.Bucket
	seq     uint64
	digest  uint64
	wrote   bool // there is something to commit
	writes  int  // to one key each
	removed int  // keys taken out, of whom each may have left an empty leaf: see Cursor.prev
	hooks   []hook
	undo    []change
	broken  error // of a write that failed midway: its function fails, whatever it returns
	arena   arena

	changed map[string]struct{} // keys that were written to, while a compaction wants to know
}

// change is how a key was before a function wrote to it.
type change struct {
	key    []byte
	sealed []byte // nil if it was not there
}

// hook is a call of Tx.OnCommit.
type hook struct {
	u *update
	f func()
}

// run runs the hook; a panic is raised by the Update that it belongs to.
func (h hook) run() {
	defer func() {
		if p := recover(); p != nil {
			h.u.panicked = &Panic{p, debug.Stack()}
		}
	}()
	h.f()
}

// fillPercent is how full a page is left that is split. New ids sort behind all others, so most pages are never written to
// again: at bbolt's own half, a file has a third more pages, and scans are slower. Fuller ones make updates of indexes costlier.
const fillPercent = 0.7

func (b *batch) begin(tx *bbolt.Tx) (err error) {
	b.wrote, b.writes, b.removed = false, 0, 0
	b.bucket, b.sums = tx.Bucket(bucketName), tx.Bucket(sumsName)
	b.bucket.FillPercent = fillPercent
	b.cursor = b.bucket.Cursor()
	b.digest = b.sums.Sequence()
	b.seq, err = readSeq(b.bucket)
	return err
}

// end lets go of what the batch held.
func (b *batch) end() {
	clear(b.hooks)
	clear(b.undo[:cap(b.undo)])
	b.undo, b.hooks = b.undo[:0], b.hooks[:0]
	b.bucket, b.cursor, b.sums = nil, nil, nil
	b.arena.reset()
}

// finish writes what goes with every commit.
func (b *batch) finish() error {
	return errors.Join(b.bucket.SetSequence(packSeq(b.seq)), b.sums.SetSequence(b.digest))
}

// run runs one function, and takes back what it wrote if it fails. The error is that of taking back.
func (b *batch) run(db *DB, u *update) error {
	b.undo, b.broken = b.undo[:0], nil
	seq, digest, hooks := b.seq, b.digest, len(b.hooks)
	u.call(&Tx{db: db, bucket: b.bucket, cursor: b.cursor, batch: b, update: u})
	if u.err == nil {
		u.err = b.broken
	}
	if u.err == nil && u.panicked == nil {
		b.wrote = b.wrote || len(b.undo) > 0 || b.seq != seq
		return nil
	}
	b.seq, b.digest, b.hooks = seq, digest, b.hooks[:hooks]
	for i := len(b.undo) - 1; i >= 0; i-- {
		var err error
		if c := b.undo[i]; c.sealed == nil {
			b.removed++
			err = b.bucket.Delete(c.key)
		} else {
			err = b.bucket.Put(c.key, c.sealed)
		}
		if err != nil {
			return fmt.Errorf("take back a failed update: %w", err)
		}
	}
	return nil
}

// call runs the update's function.
func (u *update) call(tx *Tx) {
	defer tx.end()
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err := faultError(p); err != nil {
			u.err = err
			return
		}
		u.panicked = &Panic{p, debug.Stack()}
	}()
	u.err = u.fn(tx)
}

// remember notes how a key is before it is written to, and takes it out of the digest. What the file's pages and
// the arena hold stays until the commit.
func (b *batch) remember(tx *Tx, key []byte) error {
	k, v := tx.cursor.Seek(key)
	c := change{key: b.arena.copy(key)}
	if bytes.Equal(k, key) {
		if _, err := unseal(k, v); err != nil {
			return err
		}
		c.sealed = v
		b.digest -= entryDigest(key, v)
	} else if err := tx.believeMiss(key, k, v); err != nil {
		return err
	}
	if b.changed != nil {
		b.changed[string(key)] = struct{}{}
	}
	b.undo = append(b.undo, c)
	b.writes++
	return nil
}

// adds is about how many bytes the batch adds to the file: what is stored, and a page that is half full for each write.
func (b *batch) adds() int64 {
	return 2*int64(b.arena.used) + 2*int64(b.writes)*int64(os.Getpagesize())
}

func (b *batch) put(tx *Tx, key, value []byte) (err error) {
	defer b.recoverDamage(&err)
	if err := b.remember(tx, key); err != nil {
		return err
	}
	// bbolt keeps the value until the commit.
	sealed := appendSealed(b.arena.alloc(sumSize + len(value))[:0], key, value)
	b.digest += entryDigest(key, sealed)
	return b.bucket.Put(key, sealed)
}

func (b *batch) delete(tx *Tx, key []byte) (err error) {
	defer b.recoverDamage(&err)
	if err := b.remember(tx, key); err != nil {
		return err
	}
	b.removed++
	return b.bucket.Delete(key)
}

func (b *batch) recoverDamage(err *error) {
	if p := recover(); p != nil {
		*err = panicDamage(p)
		b.broken = *err
	}
}

// arena is memory for one batch, used again by the next.
type arena struct {
	chunk []byte // its free memory is at its end; full chunks live as long as what they hold
	used  int    // bytes handed out since reset
}

const arenaChunk = 256 << 10

func (a *arena) alloc(n int) []byte {
	a.used += n
	if n > arenaChunk/4 {
		return make([]byte, n)
	}
	if cap(a.chunk)-len(a.chunk) < n {
		a.chunk = make([]byte, 0, arenaChunk)
	}
	start := len(a.chunk)
	a.chunk = a.chunk[:start+n]
	return a.chunk[start : start+n : start+n]
}

func (a *arena) copy(b []byte) []byte {
	c := a.alloc(len(b))
	copy(c, b)
	return c
}

// reset forgets the last batch; one chunk stays.
func (a *arena) reset() { a.chunk, a.used = a.chunk[:0], 0 }
