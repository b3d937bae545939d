package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"croft/internal/store/pages"
)

// keyPlace tells where the file was when it was last served: which file of its disk it was, as the operating system tells it
// from all others (identify). A copy has the same value and is another file; one that was moved within a disk, or whose machine
// was started again, is still the same.
var keyPlace = spaceMeta.Key([]byte("place"))

// Placed reports whether a data file is the one that it says it is, and no copy. A copy may be torn, so it is to be verified
// before it is opened, by another process: to find this out, no more is read than a handful of pages, by a reader that doesn't believe
// them. A file that is not there yet is placed, and so is what Open refuses anyway.
func Placed(path string) (bool, error) {
	info, err := os.Stat(path) // first, because to open a pipe would wait
	if err != nil || !info.Mode().IsRegular() {
		return true, nil // Open will tell
	}
	file, err := os.Open(path)
	if err != nil {
		return true, nil
	}
	defer file.Close()
	stored, err := readPlace(file, info.Size())
	switch {
	case errors.Is(err, pages.ErrForeign) || errors.Is(err, pages.ErrTorn) || errors.Is(err, pages.ErrVersion) || errors.Is(err, pages.ErrByteOrder):
		return true, nil
	case err != nil:
		return false, nil // whatever is wrong with it, the verification tells it better
	}
	here, err := identify(file)
	if err != nil {
		return false, fmt.Errorf("find out which file %s is: %w", path, err)
	}
	return string(stored) == here, nil
}

var errFound = errors.New("that is all")

// readPlace reads where a file says that it is; nil if it doesn't.
func readPlace(file *os.File, size int64) (place []byte, err error) {
	f, err := pages.Open(file, size)
	if err != nil {
		return nil, err
	}
	behind := After(spaceMeta.Key())
	_, err = f.Walk(context.Background(), f.Metas()[0], pages.Visitor{
		Enter: func(b *pages.Bucket) (bool, error) { return bytes.Equal(b.Name, bucketName), nil },
		Want: func(b *pages.Bucket, lo, _ []byte) bool {
			return b.Parent == nil || bytes.Compare(lo, behind) < 0
		},
		Entry: func(_ *pages.Bucket, key, sealed []byte) (bool, error) {
			value, err := unseal(key, sealed)
			if err != nil {
				return false, err
			}
			if bytes.Equal(key, keyPlace) {
				place = bytes.Clone(value)
			}
			if bytes.Compare(key, keyPlace) >= 0 {
				return true, errFound
			}
			return true, nil
		},
		Fault: func(f pages.Fault) error { return fmt.Errorf("%w: page %d: %s", ErrDamaged, f.Page, f.What) },
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return place, err
}

// SetPlace has the file say that it is this one, unless it does. With newID it gets a new id as well: what a client remembers
// of the file that this is a copy of must not be taken for this one's. It is for whoever opened the DB, before others use it.
func (db *DB) SetPlace(ctx context.Context, newID bool) error {
	here, err := identify(db.file)
	if err != nil {
		return fmt.Errorf("find out which file %s is: %w", db.path, err)
	}
	var same bool
	err = db.View(func(tx *Tx) error {
		stored, err := tx.Get(keyPlace)
		same = string(stored) == here
		return err
	})
	if err != nil || same && !newID {
		return err
	}
	var id [16]byte
	rand.Read(id[:])
	err = db.Reclaim(ctx, func(tx *Tx) error {
		if newID {
			if err := tx.Put(keyFile, id[:]); err != nil {
				return err
			}
		}
		return tx.Put(keyPlace, []byte(here))
	})
	if err == nil && newID {
		db.fileID = id
	}
	return err
}
