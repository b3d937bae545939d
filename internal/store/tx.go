package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"
)

// Tx is a transaction: within View it reads, within Update it writes too. It belongs to the goroutine that runs
// the function it was given to, and ends with it.
type Tx struct {
	db     *DB
	bucket *bbolt.Bucket
	cursor *bbolt.Cursor // for Get
	batch  *batch        // nil when the transaction only reads
	update *update       // the same
	lent   lent
}

// end stops the use of what the transaction handed out.
func (tx *Tx) end() {
	tx.lent.scribble()
	tx.bucket, tx.cursor, tx.batch, tx.update = nil, nil, nil, nil
}

const (
	// MaxKey is bbolt's limit, less what Croft adds.
	MaxKey = bbolt.MaxKeySize - 1
	// MaxValue is less than a quarter of the largest page that package pages takes for one: bbolt puts up to four entries into a page of
	// whatever size.
	MaxValue = 15 << 20
)

// Get returns the value of a key, or nil if there is none; a value that is there is never nil. It is valid until the
// transaction ends and must not be changed.
func (tx *Tx) Get(key []byte) (value []byte, err error) {
	defer recoverDamage(&err)
	k, v := tx.cursor.Seek(key)
	if bytes.Equal(k, key) {
		value, err = unseal(k, v)
		return tx.lent.lend(value), err
	}
	return nil, tx.believeMiss(key, k, v)
}

// believeMiss verifies both neighbours of a key that was not found: a damaged key is then seen by its checksum, and
// a damaged branch of the tree by the order. The cursor stands on the next key, whose key and value are k and v.
func (tx *Tx) believeMiss(key, k, v []byte) error {
	if k != nil {
		if _, err := unseal(k, v); err != nil {
			return err
		}
		if bytes.Compare(k, key) < 0 {
			return damaged(k, "its key is out of order")
		}
		k, v = tx.cursor.Prev()
	} else {
		k, v = tx.cursor.Last()
	}
	if k == nil {
		return nil
	}
	if _, err := unseal(k, v); err != nil {
		return err
	}
	if bytes.Compare(k, key) >= 0 {
		return damaged(k, "its key is out of order")
	}
	return nil
}

// Put stores a value under a key. Both are copied.
func (tx *Tx) Put(key, value []byte) error {
	if err := tx.mayWrite(key); err != nil {
		return err
	}
	if len(value) > MaxValue {
		return fmt.Errorf("put: a value of %d bytes is longer than %d", len(value), MaxValue)
	}
	return tx.batch.put(tx, key, value)
}

// Delete removes a key, if it is there.
func (tx *Tx) Delete(key []byte) error {
	if err := tx.mayWrite(key); err != nil {
		return err
	}
	return tx.batch.delete(tx, key)
}

func (tx *Tx) mayWrite(key []byte) error {
	if tx.batch == nil {
		return errors.New("write in a transaction that only reads")
	}
	if len(key) == 0 || len(key) > MaxKey {
		return fmt.Errorf("a key of %d bytes; it must have 1 to %d", len(key), MaxKey)
	}
	return nil
}

// NextSeq returns the number of a new change: one more than the last, in commit order. A function that fails gives
// its numbers back.
func (tx *Tx) NextSeq() (uint64, error) {
	if tx.batch == nil {
		return 0, errors.New("a change in a transaction that only reads")
	}
	tx.batch.seq++
	return tx.batch.seq, nil
}

// Seq is the number of the last change.
func (tx *Tx) Seq() (uint64, error) {
	if tx.batch != nil {
		return tx.batch.seq, nil
	}
	return readSeq(tx.bucket)
}

// OnCommit has f run after the commit, before Update returns, in the order of the calls. It does not run if the function
// or the commit fails. It runs in the writer, so it must be quick and must not call Update or Close; View shows it what was
// committed. If it panics, the function's Update does, though what that wrote stands.
func (tx *Tx) OnCommit(f func()) {
	if tx.batch == nil {
		panic("OnCommit in a transaction that only reads")
	}
	tx.batch.hooks = append(tx.batch.hooks, hook{tx.update, f})
}

// The bucket's sequence holds the number of the last change above 16 bits of its checksum: it lies outside the values
// that are sealed. 48 bits last for 9,000 years at a thousand changes a second.
const seqSumBits = 16

func readSeq(b *bbolt.Bucket) (uint64, error) {
	packed := b.Sequence()
	seq := packed >> seqSumBits
	if packed != packSeq(seq) {
		return 0, fmt.Errorf("%w: the number of the last change fails its checksum", ErrDamaged)
	}
	return seq, nil
}

func packSeq(seq uint64) uint64 {
	if seq == 0 {
		return 0 // a new bucket
	}
	sum := crc32.Checksum(binary.BigEndian.AppendUint64(nil, seq), castagnoli)
	return seq<<seqSumBits | uint64(sum&(1<<seqSumBits-1))
}
