// Package store is the data file: an ordered map of keys to values with transactions, on bbolt. It is the only
// package that imports bbolt, and no bbolt type leaves it.
//
// It promises:
//   - Update returns nil only after an fsync holds what its function wrote. A function runs exactly once, and one
//     that fails leaves no trace, while those that share its commit stand.
//   - View sees everything that any Update answered before it began, all of one moment, and waits for no writer.
//   - A value is never served damaged: a checksum covers each value with its key, and is verified by every read; that
//     a key is missing is believed only when both its neighbours are whole and in order. Check proves that nothing at
//     all is missing or old: a digest of everything goes with each commit.
//   - After a commit that failed in a way the disk's state is unknown, nothing is read or written any more: the error
//     is ErrFatal, and Failed is closed. A full disk is not such a failure: ErrDiskFull passes when there is room.
//
// Keys are laid out in keys.go, and the reasons in DESIGN.md. Slices handed out belong to the file and are valid until
// their transaction ends.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

var (
	// ErrDiskFull says that there was no room for a commit. It left no trace; later ones may succeed.
	ErrDiskFull = errors.New("the disk is full")
	// ErrFatal says that the file's state is unknown after a failed write or flush. The process should end; the
	// next start finds the last good commit.
	ErrFatal = errors.New("the data file can't be used any more")
	// ErrDamaged says that what is stored is not what was written.
	ErrDamaged = errors.New("the data file is damaged")
	// ErrReadOnly says that the file was opened to be read only.
	ErrReadOnly = errors.New("the data file was opened to be read only")
	// ErrClosed says that the file is closed or closing.
	ErrClosed = errors.New("the data file is closed")
	// ErrLocked says that another process has the file open.
	ErrLocked = errors.New("the data file is in use")
	// ErrNewer says that a newer Croft wrote the file.
	ErrNewer = errors.New("the data file is of a newer Croft")
	// ErrNotCroft says that a file is not one of Croft's.
	ErrNotCroft = errors.New("not a Croft data file")
)

// DefaultLockTimeout is how long Open waits for another process to let go of the file: a server that is told to
// stop and one that starts in its place overlap by less.
const DefaultLockTimeout = 2 * time.Second

// Options are what Open can be told. The zero value is good.
type Options struct {
	// LockTimeout is how long to wait for another process; 0 is DefaultLockTimeout.
	LockTimeout time.Duration
	// ReadOnly opens the file beside others that only read it. Every Update fails with ErrReadOnly, and nothing is made or
	// written.
	ReadOnly bool
	// Checked says that the caller has checked the file just now: one that was not closed in order is not checked again.
	Checked bool
	// Log gets what happens to the file in the background; nil is none.
	Log *slog.Logger
	// Reserve is how many bytes of the disk are left free: when fewer are, Update fails with ErrDiskFull, and Reclaim still
	// runs. 0 is none.
	Reserve int64

	// For tests: instead of the constant mapping, and of the constant format and its migrations.
	mapping    int64
	format     uint32
	migrations map[uint32]func(*Tx) error
}

// DB is an open data file. Its methods may be used by many goroutines at once.
type DB struct {
	path     string
	readOnly bool
	fileID   [16]byte
	log      *slog.Logger
	writer   writer

	// Owned by the writer's goroutine once Open has returned, and by Close when that has ended.
	mapping int64 // as Options say, or what was possible
	mapped  int64 // how much of the file is surely mapped
	used    int64 // how much of the file the newest commit uses
	newest  int   // bbolt's number of the newest commit
	size    int64 // the file's length when it was last looked at
	listed  bool  // the newest commit has the list of free pages
	pins    pins
	space   space

	// The file as bbolt has it. Compact replaces it; what the writer's goroutine reads of it needs no lock.
	engine  sync.RWMutex
	bolt    *bbolt.DB
	file    *os.File        // bbolt's
	users   *sync.WaitGroup // transactions that read it
	retired sync.WaitGroup  // files that were replaced and are still read

	compacting atomic.Bool

	failed  chan struct{} // closed by fail
	cause   atomic.Pointer[error]
	wrecked atomic.Bool // bbolt panicked or was left amid a transaction: its locks may be held for ever

	mu      sync.Mutex
	current *snapshot // what View sees; replaced after each commit
	images  []*Image  // oldest first
	closed  bool
	readers sync.WaitGroup
}

// FileID is the random name that a data file gets when it is made, and a copy of it when it is first served (SetPlace).
func (db *DB) FileID() [16]byte { return db.fileID }

// Path is the path that the file was opened by.
func (db *DB) Path() string { return db.path }

// Failed is closed when the data file can't be used any more; Err says why.
func (db *DB) Failed() <-chan struct{} { return db.failed }

// Err is the fatal error, or nil.
func (db *DB) Err() error {
	if cause := db.cause.Load(); cause != nil {
		return *cause
	}
	return nil
}

// fail ends the use of the file. The first error is the one that stays.
func (db *DB) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrFatal, err)
	if db.cause.CompareAndSwap(nil, &err) {
		close(db.failed)
	}
	return db.Err()
}

// wreck is fail after a panic within bbolt, or the end of the goroutine that was in it.
func (db *DB) wreck(err error) error {
	db.wrecked.Store(true)
	return db.fail(err)
}

// View runs fn on the newest state. The Tx, and what it hands out, are not to be used after fn returns. Within fn,
// don't call View, Update or Close: if the file must be mapped anew meanwhile, they would wait for one another.
func (db *DB) View(fn func(*Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // for recoverFault and recoverDamage
	s, cursor, err := db.acquire()
	if err != nil {
		return err
	}
	tx := &Tx{db: db, bucket: s.bucket, cursor: cursor}
	defer func() {
		tx.end()
		db.release(s, cursor)
	}()
	defer recoverFault(&err)
	return fn(tx)
}

// Update runs fn alone in the writer, and returns when what it wrote is on disk. Other functions may share the
// commit, before and after it; each sees what the earlier ones wrote. If fn fails, its writes are undone and its error is
// returned. If ctx ends before fn has begun, fn never runs and the context's error is returned; once it has begun, its
// result is waited for. A panic in fn undoes its writes and is raised again here, as *Panic. Within fn, don't call
// View, Update or Close.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	return db.writer.update(ctx, &update{fn: fn})
}

// Reclaim is Update for functions that give space back, such as deletions: they run also while Update is refused with
// ErrDiskFull because little space is left.
func (db *DB) Reclaim(ctx context.Context, fn func(*Tx) error) error {
	return db.writer.update(ctx, &update{fn: fn, reclaims: true})
}

// Close lets queued updates finish and open views end, and closes the file.
func (db *DB) Close() error {
	if !db.readOnly {
		db.writer.close()
	}
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	db.mu.Unlock()
	var settled error
	if !db.readOnly {
		settled = db.settle()
	}
	db.letGo()
	db.readers.Wait()
	db.retired.Wait()
	if db.pins.watch != nil {
		settled = errors.Join(settled, db.pins.watch.close())
	}
	closeFile := db.bolt.Close
	if db.wrecked.Load() {
		// The mapping stays until the process ends, and would keep the lock.
		closeFile = func() error { return errors.Join(unlock(db.file), db.file.Close()) }
	}
	if err := errors.Join(settled, closeFile()); err != nil {
		return fmt.Errorf("close %s: %w", db.path, err)
	}
	return nil
}

// Stats counts what a DB has done since it was opened.
type Stats struct {
	Updates    uint64        // functions that were committed
	Commits    uint64        // each is two flushes of the disk, three when the file grows
	Refused    uint64        // functions that failed, and were undone
	CommitTime time.Duration // spent in commits
	Queued     int           // functions that wait for the writer now
	Bytes      int64         // of the file, as far as it is used
	FreeBytes  int64         // of those, in pages that later commits use again

	// What is kept so that copies of the file are whole.
	Pins          int           // commits that newer ones replaced
	PinnedBytes   int64         // in pages that wait for them, or for views and images
	OldestPin     time.Duration // since when the oldest is replaced
	Holds         int64         // how many times another process opened the file, where the system tells
	EarlyReleases int64         // pins let go of while a copy may have needed them
}

// Stats returns the counts.
func (db *DB) Stats() Stats {
	s := db.writer.stats()
	// In a view, so that Close doesn't unmap what is asked for. When the file is closed its sizes are 0.
	_ = db.View(func(tx *Tx) error {
		db.engine.RLock()
		defer db.engine.RUnlock()
		bolt := db.bolt.Stats()
		s.Bytes = tx.bucket.Tx().Size()
		pageSize := int64(db.bolt.Info().PageSize)
		s.FreeBytes = int64(bolt.FreePageN+bolt.PendingPageN) * pageSize
		s.PinnedBytes = int64(bolt.PendingPageN) * pageSize
		return nil
	})
	p := &db.pins
	s.Pins, s.Holds, s.EarlyReleases = int(p.count.Load()), p.opens.Load(), p.early.Load()
	if oldest := p.oldest.Load(); oldest != 0 {
		s.OldestPin = time.Since(p.opened) - time.Duration(oldest)
	}
	return s
}
