package store

import (
	"encoding/binary"
	"errors"
	"testing"

	"go.etcd.io/bbolt"
)

// WithMapping returns options with a small mapping, which the file outgrows.
func WithMapping(bytes int64) Options { return Options{mapping: bytes} }

// WithFormat returns options of a Croft whose format is another, with steps to it.
func WithFormat(version uint32, steps map[uint32]func(*Tx) error) Options {
	return Options{format: version, migrations: steps}
}

// StepOf returns one of the steps.
func StepOf(o Options, from uint32) func(*Tx) error { return o.migrations[from] }

// MetaTxid is where a meta page holds the number of its commit.
const MetaTxid = metaTxid

// SetFormat makes a closed data file say that it is of another format.
func SetFormat(t testing.TB, path string, version uint32) {
	t.Helper()
	bolt, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = bolt.Update(func(tx *bbolt.Tx) error {
		b, sums := tx.Bucket(bucketName), tx.Bucket(sumsName)
		value := appendSealed(nil, keyFormat, binary.BigEndian.AppendUint32(nil, version))
		digest := sums.Sequence() - entryDigest(keyFormat, b.Get(keyFormat)) + entryDigest(keyFormat, value)
		return errors.Join(b.Put(keyFormat, value), sums.SetSequence(digest))
	})
	if err := errors.Join(err, bolt.Close()); err != nil {
		t.Fatal(err)
	}
}
