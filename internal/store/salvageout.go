package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"
)

// output is the new file of a salvage, under another name until it is done. It is written by bbolt alone, without a flush before the
// last one: nobody else sees it.
type output struct {
	path, temp string
	bolt       *bbolt.DB
	tx         *bbolt.Tx
	bucket     *bbolt.Bucket
	pending    int // bytes that were put and not committed
	digest     uint64
	saved      uint64
	fileID     [16]byte
}

// outputBatch is how many bytes are put into one transaction, which holds its pages in memory.
const outputBatch = 8 << 20

func newOutput(path string) (_ *output, err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return nil, err
	}
	out := &output{path: path, temp: temp.Name()}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.remove())
		}
	}()
	if err := temp.Close(); err != nil {
		return nil, err
	}
	if err := writeNew(out.temp); err != nil {
		return nil, err
	}
	out.bolt, err = bbolt.Open(out.temp, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoSync: true, NoFreelistSync: true})
	if err != nil {
		return nil, err
	}
	if err := out.begin(); err != nil {
		return nil, err
	}
	out.digest = out.tx.Bucket(sumsName).Sequence()
	out.saved = 2 // its format and its id
	id, err := metaValue(out.bucket, keyFile, len(out.fileID))
	copy(out.fileID[:], id)
	return out, err
}

func (out *output) begin() (err error) {
	if out.tx, err = out.bolt.Begin(true); err != nil {
		return err
	}
	out.bucket = out.tx.Bucket(bucketName)
	out.bucket.FillPercent = 0.9 // most come in order
	return nil
}

// get returns the sealed value of a key, which is valid until the next put.
func (out *output) get(key []byte) (sealed []byte, err error) {
	sealed = out.bucket.Get(key)
	if sealed != nil {
		_, err = unseal(key, sealed)
	}
	return sealed, err
}

func (out *output) has(key []byte) (bool, error) {
	sealed, err := out.get(key)
	return sealed != nil, err
}

// put stores a sealed value, in place of what is there.
func (out *output) put(key, sealed []byte) error {
	if before := out.bucket.Get(key); before != nil {
		out.digest -= entryDigest(key, before)
		out.saved--
	}
	out.digest += entryDigest(key, sealed)
	out.saved++
	// bbolt keeps the value until the commit, and it is the caller's.
	err := out.bucket.Put(key, bytes.Clone(sealed))
	if out.pending += len(key) + len(sealed); err == nil && out.pending >= outputBatch {
		out.pending = 0
		if err = out.commit(); err == nil {
			err = out.begin()
		}
	}
	if err != nil {
		return fmt.Errorf("write the new file: %w", err)
	}
	return nil
}

func (out *output) commit() error {
	err := out.tx.Commit()
	out.tx = nil
	return err
}

// finish completes the file, verifies it, and gives it its name.
func (out *output) finish(ctx context.Context, seq uint64, last func(*Tx) error) error {
	err := errors.Join(
		out.bucket.SetSequence(packSeq(seq)),
		out.tx.Bucket(sumsName).SetSequence(out.digest))
	if err == nil {
		err = out.commit()
	}
	if err == nil {
		err = out.bolt.Sync()
	}
	if err := errors.Join(err, out.close()); err != nil {
		return err
	}
	db, err := Open(out.temp, Options{})
	if err != nil {
		return err
	}
	if last != nil {
		err = db.Update(ctx, last)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	r, err := CheckFile(ctx, out.temp, CheckOptions{})
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return fmt.Errorf("verify what was saved: %w", err)
	}
	// A link, unlike a rename, never replaces a file that was made meanwhile.
	err = os.Link(out.temp, out.path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without links, such as exFAT.
		err = os.Rename(out.temp, out.path)
	}
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(out.path))
}

func (out *output) close() (err error) {
	if out.bolt == nil {
		return nil
	}
	if out.tx != nil {
		err = out.tx.Rollback()
	}
	err = errors.Join(err, out.bolt.Close())
	out.tx, out.bolt = nil, nil
	return err
}

// remove takes away what stands under the other name: the file, and the copy that a step to a newer format leaves.
func (out *output) remove() error {
	err := out.close()
	dir := filepath.Dir(out.temp)
	entries, readErr := os.ReadDir(dir)
	err = errors.Join(err, readErr)
	for _, e := range entries {
		if base := filepath.Base(out.temp); e.Name() == base || strings.HasPrefix(e.Name(), base+".format-") {
			if removeErr := os.Remove(filepath.Join(dir, e.Name())); !errors.Is(removeErr, fs.ErrNotExist) {
				err = errors.Join(err, removeErr)
			}
		}
	}
	return err
}
