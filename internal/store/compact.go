package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

// ErrCompacting says that the file is being compacted already.
var ErrCompacting = errors.New("the data file is being compacted already")

// Compaction says what Compact did.
type Compaction struct {
	Before, After int64         // bytes of the file
	Pause         time.Duration // for which updates waited at its end
}

// compactSuffix is what the name of the new file has behind that of the data file.
const compactSuffix = ".compact"

// removeCompacted removes what a compaction left whose process was killed.
func removeCompacted(path string) error {
	target, err := filepath.EvalSymlinks(path)
	if err == nil {
		err = os.Remove(target + compactSuffix)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

const (
	// compactStep is how much is copied from one commit: it bounds what is held in memory, and how long pages are kept.
	compactStep = 8 << 20
	// compactFill is how full the pages of the new file are: full ones would be split by the next write to each.
	compactFill = 0.9
	// compactRest is how many keys that changed meanwhile may be left for the end, when updates wait: some 20 ms of work.
	compactRest = 2000
	// compactRounds is how often to try to come down to that.
	compactRounds = 20
)

// A compaction is a new file in the making, beside the data file, while updates go on. It holds all entries up to a key, as of
// some commit, and the writer notes which keys change since; step by step these are taken over, and the next entries.
type compaction struct {
	db     *DB
	bolt   *bbolt.DB
	target string // the data file
	path   string // the new one
	upTo   []byte // entries up to this key are in the new file
	done   bool   // all are
	digest uint64 // of the entries in the new file
}

// Compact writes the data file anew without its free pages, and puts the new one in its place. Updates go on meanwhile,
// and wait for a moment at the end. progress, which may be nil, is called now and then with how many bytes are done, of about
// how many.
//
// Views and images that are open keep the old file until they end, and so does a copy that another process makes: it
// will be whole, and as of before.
func (db *DB) Compact(ctx context.Context, progress func(done, total int64)) (Compaction, error) {
	if db.readOnly {
		return Compaction{}, ErrReadOnly
	}
	if mapsWholeFile {
		return Compaction{}, errors.New("a data file can't be compacted on Windows yet, where a file that is open can't be replaced")
	}
	if !db.compacting.CompareAndSwap(false, true) {
		return Compaction{}, ErrCompacting
	}
	defer db.compacting.Store(false)
	if err := db.use(); err != nil {
		return Compaction{}, err
	}
	defer db.readers.Done()
	// The file itself is replaced, not a link to it.
	target, err := filepath.EvalSymlinks(db.path)
	if err != nil {
		return Compaction{}, fmt.Errorf("compact %s: %w", db.path, err)
	}
	c := &compaction{db: db, target: target, path: target + compactSuffix}
	result, err := c.run(ctx, progress)
	if err != nil {
		return Compaction{}, fmt.Errorf("compact %s: %w", db.path, err)
	}
	return result, nil
}

func (c *compaction) run(ctx context.Context, progress func(done, total int64)) (result Compaction, err error) {
	if err := removeCompacted(c.target); err != nil {
		return result, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.abandon())
		}
	}()
	stats := c.db.Stats()
	total := stats.Bytes - stats.FreeBytes
	if err := c.create(); err != nil {
		return result, err
	}
	for round := 0; ; {
		changed, err := c.take(ctx)
		if err != nil {
			return result, err
		}
		if err := c.checkRoom(); err != nil {
			return result, err
		}
		// What changes from here on is for the next round, though it may be taken over already.
		if err := c.step(changed); err != nil {
			return result, err
		}
		if progress != nil {
			progress(min(c.size(), total), total)
		}
		if !c.done {
			continue
		}
		if round++; len(changed) <= compactRest {
			break
		}
		if round == compactRounds {
			return result, errors.New("more is written than can be taken over: try again when less is written")
		}
	}
	// Most of the new file goes to disk now, and not while updates wait.
	if err := c.bolt.Sync(); err != nil {
		return result, err
	}
	err = c.db.writer.alone(ctx, func() error {
		start := time.Now()
		result.Before = c.db.used
		if err := c.finish(); err != nil {
			return err
		}
		result.After, result.Pause = c.db.used, time.Since(start)
		return nil
	})
	return result, err
}

// checkRoom stops before the disk is full. How large the new file will be can't be told before: pages may be half empty.
func (c *compaction) checkRoom() error {
	free, err := Room(filepath.Dir(c.path))
	if err != nil {
		return nil // not known here: the disk will tell
	}
	if least := max(c.db.space.reserve/4, 2*compactStep); free < least {
		return fmt.Errorf("%w: the new file needs room beside the old one, and %d MiB are left: make room on the disk first", ErrDiskFull, free>>20)
	}
	return nil
}

func (c *compaction) create() (err error) {
	c.bolt, err = bbolt.Open(c.path, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoSync: true, NoFreelistSync: true})
	if err != nil {
		return err
	}
	info, err := os.Stat(c.target)
	if err != nil {
		return err
	}
	if err := KeepOwner(c.path, info); err != nil {
		return err
	}
	return c.bolt.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(bucketName)
		if err == nil {
			_, err = tx.CreateBucket(sumsName)
		}
		return err
	})
}

// take returns the keys that changed since it was last called.
func (c *compaction) take(ctx context.Context) (changed map[string]struct{}, err error) {
	err = c.db.writer.alone(ctx, func() error {
		changed = c.db.writer.batch.changed
		c.db.writer.batch.changed = map[string]struct{}{}
		return nil
	})
	return changed, err
}

// step takes over what changed, and the next entries, as of the newest commit.
func (c *compaction) step(changed map[string]struct{}) error {
	return c.db.View(func(tx *Tx) error {
		return c.bolt.Update(func(to *bbolt.Tx) error {
			b := to.Bucket(bucketName)
			b.FillPercent = compactFill
			for key := range changed {
				if err := c.takeOver(tx, b, []byte(key)); err != nil {
					return err
				}
			}
			return c.next(tx, b)
		})
	})
}

// takeOver brings one key up to date, if it is among those that were copied.
func (c *compaction) takeOver(tx *Tx, b *bbolt.Bucket, key []byte) error {
	if !c.done && bytes.Compare(key, c.upTo) > 0 {
		return nil // its turn will come
	}
	if old := b.Get(key); old != nil {
		c.digest -= entryDigest(key, old)
	}
	k, v := tx.cursor.Seek(key)
	if !bytes.Equal(k, key) {
		return b.Delete(key)
	}
	return c.put(b, k, v)
}

// next copies the entries that follow.
func (c *compaction) next(tx *Tx, b *bbolt.Bucket) error {
	if c.done {
		return nil
	}
	k, v := tx.cursor.Seek(c.upTo)
	if c.upTo != nil && bytes.Equal(k, c.upTo) {
		k, v = tx.cursor.Next()
	}
	for n := 0; k != nil && n < compactStep; k, v = tx.cursor.Next() {
		if err := c.put(b, k, v); err != nil {
			return err
		}
		n += len(k) + len(v)
		c.upTo = append(c.upTo[:0], k...)
	}
	c.done = k == nil
	return nil
}

// put writes an entry, which must be whole.
func (c *compaction) put(b *bbolt.Bucket, k, v []byte) error {
	if _, err := unseal(k, v); err != nil {
		return err
	}
	c.digest += entryDigest(k, v)
	return b.Put(k, v)
}

func (c *compaction) size() int64 {
	info, err := os.Stat(c.path)
	if err != nil {
		return 0 // only for the progress
	}
	return info.Size()
}

// finish takes over the rest, and puts the new file in the place of the old one. It runs in the writer: nothing changes.
func (c *compaction) finish() error {
	db := c.db
	changed := db.writer.batch.changed
	db.writer.batch.changed = nil
	if err := c.step(changed); err != nil {
		return err
	}
	if err := c.seal(); err != nil {
		return err
	}
	// Opened as the data file is, and locked, before it gets its name.
	opened := &DB{path: c.path, mapped: db.mapping}
	err := opened.open(Options{LockTimeout: time.Second, mapping: db.mapping})
	if errors.Is(err, syscall.ENOMEM) {
		// Two such mappings are more addresses than the process may have.
		opened.mapped = 0
		err = opened.open(Options{LockTimeout: time.Second})
	}
	if err != nil {
		return err
	}
	if err := os.Rename(c.path, c.target); err != nil {
		return errors.Join(err, opened.bolt.Close())
	}
	c.path = "" // it is the data file
	err = SyncDir(filepath.Dir(c.target))
	if err == nil {
		err = db.goOn(opened)
	}
	if err != nil {
		// Either file may be found under the name now. They hold the same, but nothing must be added to one of them.
		return db.fail(err)
	}
	return nil
}

// seal compares what is in the new file with what should be, gives it the sequences that go with it, flushes, and closes it.
func (c *compaction) seal() error {
	err := c.db.View(func(old *Tx) error {
		if _, err := readSeq(old.bucket); err != nil {
			return err
		}
		sums := old.bucket.Tx().Bucket(sumsName)
		if sums == nil || sums.Sequence() != c.digest {
			return fmt.Errorf("%w: entries are missing in it, or older ones stand in their place", ErrDamaged)
		}
		return c.bolt.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketName)
			return errors.Join(
				c.place(b),
				b.SetSequence(old.bucket.Sequence()),
				tx.Bucket(sumsName).SetSequence(c.digest))
		})
	})
	if err != nil {
		return err
	}
	// With the list of free pages, so that it is not looked for when the file is opened.
	c.bolt.NoFreelistSync = false
	if err := c.bolt.Update(func(*bbolt.Tx) error { return nil }); err != nil {
		return err
	}
	if err := c.bolt.Sync(); err != nil {
		return err
	}
	bolt := c.bolt
	c.bolt = nil
	return bolt.Close()
}

// place has the new file say that it is itself, and no copy, if the old one does.
func (c *compaction) place(b *bbolt.Bucket) error {
	old := b.Get(keyPlace)
	if old == nil {
		return nil
	}
	file, err := os.Open(c.path)
	if err != nil {
		return err
	}
	here, err := identify(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	c.digest -= entryDigest(keyPlace, old)
	return c.put(b, keyPlace, appendSealed(nil, keyPlace, []byte(here)))
}

// abandon removes what was made, and has the writer note changes no more.
func (c *compaction) abandon() (err error) {
	if c.bolt != nil {
		err = c.bolt.Close()
	}
	if c.path != "" {
		if removeErr := os.Remove(c.path); !errors.Is(removeErr, os.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	aloneErr := c.db.writer.alone(context.Background(), func() error {
		c.db.writer.batch.changed = nil
		return nil
	})
	if errors.Is(aloneErr, ErrClosed) || errors.Is(aloneErr, ErrFatal) {
		aloneErr = nil // nothing is noted any more
	}
	return errors.Join(err, aloneErr)
}

// goOn goes on with another file that holds the same. The old one is closed when nobody reads it any more.
func (db *DB) goOn(opened *DB) error {
	db.engine.Lock()
	old, users := db.bolt, db.users
	db.bolt, db.file, db.users = opened.bolt, opened.file, opened.users
	db.mapped, db.size, db.listed = opened.mapped, 0, opened.listed
	db.engine.Unlock()
	if w := db.pins.watch; w != nil {
		db.pins.watch = nil
		if err := w.close(); err != nil {
			return err
		}
	}
	db.watch()
	// Nobody writes to the old file any more, so what is kept in it need not be.
	db.replace(nil, false)
	db.unpin(db.pins.all())
	db.newest = 0 // numbers begin anew
	db.retired.Go(func() {
		users.Wait()
		if err := old.Close(); err != nil {
			db.log.Warn("the file before it was compacted could not be closed", "error", err)
		}
	})
	return db.share()
}

// alone has the writer run fn between two commits.
func (w *writer) alone(ctx context.Context, fn func() error) error {
	return w.update(ctx, &update{alone: fn})
}
