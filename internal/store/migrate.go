package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// ErrOlder says that an older Croft wrote the file, and that this one can't use it as it is.
var ErrOlder = errors.New("the data file is of an older Croft")

// migrations are the steps from each older format to the next one; the number is the older one's. A step sees the keys as
// that format had them and leaves them as the next has them. All steps run in one transaction, whose pages are in memory until it
// commits. Once a step was released it is never changed, and testdata keeps a file of its format for ever.
var migrations = map[uint32]func(*Tx) error{}

// Format is the newest format that this Croft knows, and the one that it writes.
const Format = format

// migrate brings the file from an older format to this one's: after a copy of it was put beside it, in one transaction.
func (db *DB) migrate(from uint32, o Options) error {
	for v := from; v < o.format; v++ {
		if o.migrations[v] == nil {
			return fmt.Errorf("%w: its format is %d, from which there is no way to %d: open it with a Croft of between first", ErrOlder, from, o.format)
		}
	}
	kept, err := db.keepCopy(from)
	if err != nil {
		return err
	}
	db.log.Info("the data file is brought up to date", "from", from, "to", o.format, "copy", kept)
	err = db.Update(context.Background(), func(tx *Tx) error {
		for v := from; v < o.format; v++ {
			if err := o.migrations[v](tx); err != nil {
				return fmt.Errorf("from format %d to %d: %w", v, v+1, err)
			}
		}
		return tx.Put(keyFormat, binary.BigEndian.AppendUint32(nil, o.format))
	})
	if err != nil {
		return fmt.Errorf("bring it up to date: %w; it is as it was, and so is the copy %s", err, kept)
	}
	db.log.Info("the data file is up to date", "format", o.format)
	return nil
}

// keepCopy puts a copy of the file beside it, and returns its path. One that an earlier start left, whose migration did not
// succeed, will do.
func (db *DB) keepCopy(version uint32) (kept string, err error) {
	prefix := fmt.Sprintf("%s.format-%d", db.path, version)
	if kept := db.keptCopy(filepath.Base(prefix) + "-"); kept != "" {
		return kept, nil
	}
	im, err := db.Image()
	if err != nil {
		return "", err
	}
	defer im.Close()
	dir := filepath.Dir(db.path)
	if room, err := Room(dir); err == nil && room < im.Size() {
		return "", fmt.Errorf("%w: it must be brought up to date, of which a copy is kept beside it: that needs %d MiB, and %d are free",
			ErrDiskFull, im.Size()>>20+1, room>>20)
	}
	// The same name each time, which the lock on the data file makes ours: what a crash left is written over.
	partial := prefix + ".partial"
	defer func() {
		if removeErr := os.Remove(partial); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}()
	if err := writeWhole(partial, io.NewSectionReader(im, 0, im.Size())); err != nil {
		return "", fmt.Errorf("copy it to %s: %w", partial, err)
	}
	kept, err = PutAside(partial, prefix+"-"+time.Now().UTC().Format(StampLayout))
	return kept, errors.Join(err, SyncDir(dir))
}

// keptCopy returns a copy that holds all that the file does, "" if there is none.
func (db *DB) keptCopy(prefix string) string {
	dir := filepath.Dir(db.path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "" // then a new one is made
	}
	want, err := db.contents()
	for _, e := range entries {
		if err != nil || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if got, err := contentsOf(path); err == nil && got == want {
			return path
		}
	}
	return ""
}

// contents tells files with the same entries from others: their id, and the digest of all entries.
type contents struct {
	file   [16]byte
	digest uint64
}

func (db *DB) contents() (c contents, err error) {
	err = db.bolt.View(func(tx *bbolt.Tx) error { c, err = readContents(tx); return err })
	return c, err
}

func contentsOf(path string) (c contents, err error) {
	defer recoverDamage(&err)
	bolt, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Millisecond})
	if err != nil {
		return c, err
	}
	err = bolt.View(func(tx *bbolt.Tx) error { c, err = readContents(tx); return err })
	return c, errors.Join(err, bolt.Close())
}

func readContents(tx *bbolt.Tx) (c contents, err error) {
	b, sums := tx.Bucket(bucketName), tx.Bucket(sumsName)
	if b == nil || sums == nil {
		return c, ErrNotCroft
	}
	c.digest = sums.Sequence()
	id, err := metaValue(b, keyFile, len(c.file))
	copy(c.file[:], id)
	return c, err
}

// writeWhole fills a file of mode 0600, in place of what is there, and flushes it.
func writeWhole(path string, content io.Reader) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	if err == nil {
		err = file.Sync()
	}
	if IsDiskFull(err) {
		err = fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return errors.Join(err, file.Close())
}

// StampLayout is a moment in a file's name. All systems take it, and names sort by it.
const StampLayout = "20060102T150405Z"

// PutAside gives a file another name that nothing has: this one, or with -2, -3 and so on behind it. It returns the name; the
// caller flushes the folder.
func PutAside(path, name string) (string, error) {
	candidate := name
	for n := 2; ; n++ {
		// A link, unlike a rename, replaces nothing.
		err := os.Link(path, candidate)
		switch {
		case err == nil:
			return candidate, os.Remove(path)
		case !errors.Is(err, fs.ErrExist):
			// A file system without links, such as exFAT.
			if _, statErr := os.Lstat(candidate); errors.Is(statErr, fs.ErrNotExist) {
				return candidate, os.Rename(path, candidate)
			} else if statErr != nil {
				return "", errors.Join(err, statErr)
			}
		}
		candidate = fmt.Sprintf("%s-%d", name, n)
	}
}
