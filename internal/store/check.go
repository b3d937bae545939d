package store

import (
	"bytes"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
)

// maxFaults is how many faults Check tells one by one.
const maxFaults = 100

// Check reads the whole file: the checksum and order of every entry, whether all of them are there and of the newest
// commit, and bbolt's tree and free pages. It returns ErrDamaged with what it found. Updates wait meanwhile. A damaged tree can
// crash the process or keep it going for ever: run it on a file of unknown state in a process of its own.
func (db *DB) Check() error {
	if err := db.View(checkEntries); err != nil {
		return err // bbolt's check would follow what is damaged
	}
	// bbolt's check looks at the free list, which commits change: it needs the writer's place.
	var faults []error
	err := db.bolt.Update(func(tx *bbolt.Tx) error {
		for err := range tx.Check(bbolt.WithKVStringer(noKeys{})) {
			if len(faults) < maxFaults {
				faults = append(faults, fmt.Errorf("%w: %w", ErrDamaged, err))
			}
		}
		return errCheckOnly
	})
	if !errors.Is(err, errCheckOnly) {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

var errCheckOnly = errors.New("nothing to write")

// checkEntries verifies every entry, and their digest.
func checkEntries(tx *Tx) (err error) {
	var faults []error
	defer func() { err = errors.Join(append(faults, err)...) }()
	defer recoverDamage(&err)
	var last []byte
	var digest uint64
	c := tx.bucket.Cursor()
	for k, v := c.First(); k != nil && len(faults) < maxFaults; k, v = c.Next() {
		if last != nil && bytes.Compare(last, k) >= 0 {
			// A tree that leads back into itself ends here too.
			return damaged(k, "its key is out of order")
		}
		if _, err := unseal(k, v); err != nil {
			faults = append(faults, err)
		}
		last = k
		digest += entryDigest(k, v)
	}
	sums := tx.bucket.Tx().Bucket(sumsName)
	if sums == nil || sums.Sequence() != digest {
		faults = append(faults, fmt.Errorf("%w: entries are missing, or older ones stand in their place", ErrDamaged))
	}
	_, err = readSeq(tx.bucket)
	return err
}

// noKeys keeps keys out of error texts: they may be digests of secrets.
type noKeys struct{}

func (noKeys) KeyToString([]byte) string   { return "(hidden)" }
func (noKeys) ValueToString([]byte) string { return "(hidden)" }
