package store

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// snapshot is the state after a commit: one read transaction that all readers share until the next commit, because
// to begin one of its own costs a reader more than its lookup. It stays open while there are no readers at all, so
// it needs a mapping that does not have to grow: bbolt waits for all readers before it maps the file anew.
type snapshot struct {
	tx     *bbolt.Tx
	bucket *bbolt.Bucket
	file   *os.File        // of the transaction
	users  *sync.WaitGroup // of the file

	// Guarded by DB.mu.
	refs    int
	pinned  bool            // it is kept for copies of the file
	cursors []*bbolt.Cursor // of readers that are done
}

// acquire returns the newest snapshot and a cursor on it, both to be given back to release.
func (db *DB) acquire() (*snapshot, *bbolt.Cursor, error) {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil, nil, ErrClosed
	}
	if err := db.Err(); err != nil {
		db.mu.Unlock()
		return nil, nil, err
	}
	db.readers.Add(1)
	if s := db.current; s != nil {
		s.refs++
		var cursor *bbolt.Cursor
		if n := len(s.cursors); n > 0 {
			cursor = s.cursors[n-1]
			s.cursors = s.cursors[:n-1]
		}
		db.mu.Unlock()
		if cursor == nil {
			cursor = s.bucket.Cursor()
		}
		return s, cursor, nil
	}
	db.mu.Unlock()

	s, err := db.begin()
	if err != nil {
		db.readers.Done()
		return nil, nil, err
	}
	s.refs = 1
	return s, s.bucket.Cursor(), nil
}

// release gives a snapshot back, and ends it when it was the last reader of an old one.
func (db *DB) release(s *snapshot, cursor *bbolt.Cursor) {
	db.mu.Lock()
	s.refs--
	last := s.refs == 0 && s != db.current && !s.pinned
	if s == db.current {
		s.cursors = append(s.cursors, cursor)
	}
	db.mu.Unlock()
	if last {
		s.end()
	}
	db.readers.Done()
}

// begin opens a read transaction of the newest commit.
func (db *DB) begin() (s *snapshot, err error) {
	db.engine.RLock()
	defer db.engine.RUnlock()
	tx, err := db.bolt.Begin(false)
	if err != nil {
		return nil, fmt.Errorf("begin to read: %w", err)
	}
	db.users.Add(1)
	s = &snapshot{tx: tx, file: db.file, users: db.users}
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	defer recoverDamage(&err)
	if s.bucket = tx.Bucket(bucketName); s.bucket == nil {
		return nil, fmt.Errorf("%w: its root is gone", ErrDamaged)
	}
	return s, nil
}

// end closes the snapshot's transaction. The error of a rollback is only that it is closed already.
func (s *snapshot) end() {
	_ = s.tx.Rollback()
	s.users.Done()
}

// roomToMap reports whether the mapping surely holds a transaction's state and what is added to it. Some is left for
// what an estimate misses.
func (db *DB) roomToMap(tx *bbolt.Tx, added int64) bool {
	return tx.Size()+added < db.mapped-min(db.mapped/8, 64<<20)
}

// remapped notes how large the mapping is after a commit that may have outgrown it: bbolt doubles it up to a gigabyte, and
// adds one at a time from there on.
func (db *DB) remapped(tx *bbolt.Tx) {
	const gigabyte = 1 << 30
	for used := tx.Size() + int64(db.bolt.Info().PageSize); used >= db.mapped; {
		if db.mapped < gigabyte {
			db.mapped = max(32<<10, 2*db.mapped)
		} else {
			db.mapped += gigabyte
		}
	}
}

// errStale says that the mapping shows another commit than the newest. Some file systems in user space are so (seen: the kernel drops
// the pages of a mapped FUSE file when a stat finds another time of change). The next commit would build on the older one, and lose
// the other.
var errStale = errors.New("the file system shows an old state of the file after a write, so no data file can be used on it: move it to another disk")

// share makes the newest commit what View sees, and pins the one before. Only the writer calls it, and Open.
func (db *DB) share() error {
	s, err := db.begin()
	if err != nil {
		return err
	}
	if s.tx.ID() < db.newest {
		s.end()
		return errStale
	}
	db.newest = s.tx.ID()
	db.remapped(s.tx)
	db.used = s.tx.Size()
	if !db.roomToMap(s.tx, 0) {
		s.end()
		s = nil // each reader begins its own
	}
	now := time.Now()
	if old := db.replace(s, true); old != nil {
		db.pins.add(old, now)
	} else {
		db.pins.since = now
	}
	return nil
}

// replace sets what View sees, and returns what it saw: pinned, or ended if nobody reads it.
func (db *DB) replace(s *snapshot, pin bool) (old *snapshot) {
	db.mu.Lock()
	old = db.current
	db.current = s
	if old != nil {
		old.cursors = nil
		old.pinned = pin
	}
	idle := old != nil && old.refs == 0 && !pin
	db.mu.Unlock()
	if idle {
		old.end()
	}
	return old
}

// unpin ends commits that no pin keeps any more, but for those that are read.
func (db *DB) unpin(pinned []*snapshot) {
	for _, s := range pinned {
		db.mu.Lock()
		s.pinned = false
		idle := s.refs == 0
		db.mu.Unlock()
		if idle {
			s.end()
		}
	}
}

// warnTime is how often the log is told that a copy may not be whole: it is so with each commit from then on.
const warnTime = time.Minute

// trim lets go of the pins that the next commit shall not keep.
func (db *DB) trim(now time.Time, tight bool) {
	if !tight && now.Sub(db.pins.trimmed) < trimTime {
		return
	}
	db.pins.trimmed = now
	pageSize := int64(db.bolt.Info().PageSize)
	pending := int64(db.bolt.Stats().PendingPageN) * pageSize
	ended, lost, over := db.pins.trim(now, pending, db.used, tight)
	db.unpin(ended)
	if over {
		lost = db.endImages(1) || lost
	}
	if lost && now.Sub(db.pins.warned) > warnTime {
		db.pins.warned = now
		db.log.Warn("so much was written while the data file is being copied that the copy may not be whole: make it "+
			"again when less is written, or by croft backup; croft check tells of a copy whether it is whole", "kept_bytes", pending)
	}
}

// reusable is how many bytes of pages the next commit may use again if nothing is pinned.
func (db *DB) reusable() int64 {
	stats := db.bolt.Stats()
	return int64(stats.FreePageN+stats.PendingPageN) * int64(db.bolt.Info().PageSize)
}

// letGo ends all that keeps bbolt from mapping the file anew, but for views, which end by themselves.
func (db *DB) letGo() {
	db.replace(nil, false)
	db.unpin(db.pins.all())
	db.endImages(math.MaxInt)
}

// blocked is how long a commit waits for the file to be mapped anew before it is taken for waiting for pins.
const blocked = time.Second

// commit commits a transaction. What it adds can be more than roomToMap was told of: a leaf is written anew with all of its entries, however
// large those beside the new one are. Where the mapping is too small for that, bbolt waits for everything that reads, the pins too, which
// would wait for the commit in turn; so they are let go of. added is as for roomToMap.
func (db *DB) commit(tx *bbolt.Tx, added int64) error {
	// More than all there is, written anew onto pages that may be half full, can't be added.
	if 3*(tx.Size()+added) < db.mapped {
		return tx.Commit()
	}
	done, watched := make(chan struct{}), make(chan struct{})
	watch := time.AfterFunc(blocked, func() {
		defer close(watched)
		for !db.mappingAwaited() {
			select {
			case <-done:
				return
			case <-time.After(blocked):
			}
		}
		select {
		case <-done:
		default:
			db.letGo() // of what is the writer's, while it waits in Commit
		}
	})
	panicked := true // bbolt's locks may be held for ever then
	defer func() {
		close(done)
		if !watch.Stop() && !panicked {
			<-watched
		}
	}()
	err := tx.Commit()
	panicked = false
	return err
}

// mappingAwaited reports whether the file has to be mapped anew and is not: then no transaction begins.
func (db *DB) mappingAwaited() bool {
	began := make(chan struct{})
	go func() {
		defer close(began)
		if tx, err := db.bolt.Begin(false); err == nil {
			_ = tx.Rollback() // whose error is only that it is closed
		}
	}()
	select {
	case <-began:
		return false
	case <-time.After(blocked):
		return true
	}
}
