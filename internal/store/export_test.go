package store

import (
	"encoding/binary"
	"errors"
	"testing"

	"go.etcd.io/bbolt"
)

// WithMapping returns options with a small mapping, which the file outgrows.
func WithMapping(bytes int64) Options { return Options{mapping: bytes} }

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
		value := appendSealed(nil, keyFormat, binary.BigEndian.AppendUint32(nil, version))
		return tx.Bucket(bucketName).Put(keyFormat, value)
	})
	if err := errors.Join(err, bolt.Close()); err != nil {
		t.Fatal(err)
	}
}
