package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// Check is CheckImage of the newest commit, and then bbolt's own check, which alone sees the free pages that are in memory;
// updates wait for that one. For tests: it returns ErrDamaged with what it found.
func (db *DB) Check() error {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // for recoverDamage
	im, err := db.Image()
	if err != nil {
		return err
	}
	r, err := db.CheckImage(context.Background(), im, CheckOptions{})
	im.Close()
	if err == nil {
		err = r.Err()
	}
	if err != nil || db.readOnly {
		return err // bbolt's check would follow what is damaged
	}
	var faults []error
	err = db.bolt.Update(func(tx *bbolt.Tx) error {
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

// noKeys keeps keys out of error texts: they may be digests of secrets.
type noKeys struct{}

func (noKeys) KeyToString([]byte) string   { return "(hidden)" }
func (noKeys) ValueToString([]byte) string { return "(hidden)" }
