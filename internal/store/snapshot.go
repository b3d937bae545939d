package store

import (
	"fmt"

	"go.etcd.io/bbolt"
)

// snapshot is the state after a commit: one read transaction that all readers share until the next commit, because
// to begin one of its own costs a reader more than its lookup. It stays open while there are no readers at all, so
// it needs a mapping that does not have to grow: bbolt waits for all readers before it maps the file anew.
type snapshot struct {
	tx     *bbolt.Tx
	bucket *bbolt.Bucket

	// Guarded by DB.mu.
	refs    int
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
	last := s.refs == 0 && s != db.current
	if !last {
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
	tx, err := db.bolt.Begin(false)
	if err != nil {
		return nil, fmt.Errorf("begin to read: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // as in end
		}
	}()
	defer recoverDamage(&err)
	bucket := tx.Bucket(bucketName)
	if bucket == nil {
		return nil, fmt.Errorf("%w: its root is gone", ErrDamaged)
	}
	return &snapshot{tx: tx, bucket: bucket}, nil
}

// end closes the snapshot's transaction. The error of a rollback is only that it is closed already.
func (s *snapshot) end() { _ = s.tx.Rollback() }

// roomToMap reports whether the mapping surely holds a transaction's state and what is added to it. Half of the mapping
// is left for the pages that are written anew beside those that are counted; they are built in memory, which is smaller.
func (db *DB) roomToMap(tx *bbolt.Tx, added int64) bool {
	return tx.Size()+added < db.mapped/2
}

// share makes the newest commit what View sees. Only the writer calls it, and Open.
func (db *DB) share() error {
	s, err := db.begin()
	if err != nil {
		return err
	}
	if !db.roomToMap(s.tx, 0) {
		s.end()
		s = nil // each reader begins its own
	}
	db.replace(s)
	return nil
}

// replace sets what View sees, and ends what it saw if nobody reads it.
func (db *DB) replace(s *snapshot) {
	db.mu.Lock()
	old := db.current
	db.current = s
	idle := old != nil && old.refs == 0
	db.mu.Unlock()
	if idle {
		old.end()
	}
}
