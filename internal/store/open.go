package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// mapping is how much of the address space the file is mapped into from the start, so that it need not be mapped
// anew while readers are open. It costs no memory. 39 bits of addresses, as 64-bit Linux has on small boards, are 512 GiB;
// of 32 bits a program has 2 to 3 GiB. Windows makes the file as large as its mapping.
func mapping() int64 {
	switch {
	case mapsWholeFile:
		return 64 << 20
	case strconv.IntSize == 64:
		return 64 << 30
	default:
		return 1 << 30
	}
}

// Open opens a data file, and makes it if there is none.
func Open(path string, o Options) (*DB, error) {
	if o.LockTimeout == 0 {
		o.LockTimeout = DefaultLockTimeout
	}
	if o.mapping == 0 {
		o.mapping = mapping()
	}
	if o.format == 0 {
		o.format, o.migrations = format, migrations
	}
	if !o.ReadOnly {
		if err := ensure(path); err != nil {
			return nil, err
		}
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // for recoverDamage
	db := &DB{path: path, readOnly: o.ReadOnly, mapping: o.mapping, mapped: o.mapping, log: o.Log, failed: make(chan struct{})}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	db.writer.db = db
	err := db.open(o)
	for errors.Is(err, errReplaced) {
		err = db.open(o)
	}
	if errors.Is(err, syscall.ENOMEM) {
		// The process may not have that many addresses: an ulimit -v, or many mappings of 32 bits.
		o.mapping, db.mapping, db.mapped = 0, 0, 0
		err = db.open(o)
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, locked(path)
	}
	if err != nil {
		return nil, explain("open", path, err)
	}
	db.pins.opened = time.Now()
	db.space = space{db: db, reserve: o.Reserve}
	version, err := db.readMeta(o.format)
	if err == nil {
		err = db.share()
	}
	if err != nil {
		return nil, explain("open", path, errors.Join(err, db.bolt.Close()))
	}
	if !o.ReadOnly {
		if err := removeCompacted(path); err != nil {
			db.log.Warn("what a compaction left can't be removed", "error", err)
		}
		db.watch()
		db.writer.start()
	}
	if version < o.format {
		if err := db.migrate(version, o); err != nil {
			return nil, explain("open", path, errors.Join(err, db.Close()))
		}
	}
	return db, nil
}

// open opens the file with bbolt, whose panics on damage become errors.
func (db *DB) open(o Options) (err error) {
	defer func() {
		if err != nil && db.file != nil {
			// bbolt does this itself, unless it panicked: then the mapping stays, and would keep the lock.
			_ = unlock(db.file)
			_ = db.file.Close()
		}
	}()
	defer recoverDamage(&err)
	db.bolt, err = bbolt.Open(db.path, 0o600, &bbolt.Options{
		Timeout:         o.LockTimeout,
		ReadOnly:        o.ReadOnly,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: int(o.mapping),
		// The file is made by create alone, never by opening it.
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
			if err != nil {
				return nil, err
			}
			if !o.ReadOnly {
				// What is looked at here must not change meanwhile. bbolt locks the same again.
				if err := awaitLock(file, o.LockTimeout); err != nil {
					return nil, errors.Join(err, file.Close())
				}
			}
			m, err := inspect(file)
			if err != nil {
				return nil, errors.Join(err, file.Close())
			}
			db.file, db.listed = file, m.freelist != noFreelist
			if !db.listed && !o.ReadOnly && !o.Checked {
				if err := db.sound(); err != nil {
					db.file = nil
					return nil, errors.Join(err, file.Close())
				}
			}
			return file, nil
		},
	})
	if err != nil {
		return err
	}
	mine, err := db.file.Stat()
	if err != nil {
		return errors.Join(err, db.bolt.Close())
	}
	if there, err := os.Stat(db.path); err == nil && !os.SameFile(mine, there) {
		return errors.Join(errReplaced, db.bolt.Close())
	}
	db.users = &sync.WaitGroup{}
	db.bolt.AllocSize = minGrowth
	db.bolt.NoFreelistSync = true // settle writes it
	return nil
}

// sound refuses a file that was not closed in order, as after a crash, if it is damaged: it may as well be a copy of a running
// file that was put in its place, and so be torn. And bbolt looks for the free pages in the whole tree then, in a goroutine of its own, where a
// damaged one would end the process.
func (db *DB) sound() error {
	info, err := db.file.Stat()
	if err != nil {
		return err
	}
	db.log.Info("the data file was not closed in order, as after a crash: it is checked first", "file", db.path, "bytes", info.Size())
	stop := fetchAhead(context.Background(), db.file, info.Size())
	r, err := checkPages(context.Background(), db.file, info.Size(), 0, CheckOptions{})
	stop()
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return fmt.Errorf("it was not closed in order, and is not whole: %w; croft check tells more, and croft salvage takes out what can be read", err)
	}
	return nil
}

// errReplaced says that another file got the data file's name, by a restore, while Open waited for the lock.
var errReplaced = errors.New("the data file was replaced")

func locked(path string) error {
	return fmt.Errorf("%w: %s is open in %s: stop that one first, or use another data file", ErrLocked, path, holder(path))
}

// watch begins to tell who else has the file open. Where that is impossible, commits are kept for longer instead.
func (db *DB) watch() {
	if copyWindow == "off" {
		return
	}
	w, err := newWatch(db.file, db.pins.opened, &db.pins.opens)
	if err != nil {
		db.log.Debug("it can't be told who copies the data file", "error", err)
		return
	}
	db.pins.watch = w
}

// explain says what could not be done to the file, and what helps.
func explain(what, path string, err error) error {
	var help string
	switch {
	case IsDiskFull(err):
		err = fmt.Errorf("%w: %w", ErrDiskFull, err)
	case errors.Is(err, fs.ErrPermission):
		help = ": this user may not read and write it there: run Croft as the owner, or change the owner"
	case errors.Is(err, syscall.EROFS):
		help = ": the disk can only be read: the data file must stand where it can be written"
	case errors.Is(err, fs.ErrNotExist):
		help = ": make that folder first, or correct the path"
	}
	return fmt.Errorf("%s %s: %w%s", what, path, err, help)
}

// readMeta reads the file's format, which may be older than this Croft's, and its id.
func (db *DB) readMeta(newest uint32) (version uint32, err error) {
	defer recoverDamage(&err)
	err = db.bolt.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketName)
		if b == nil {
			return fmt.Errorf("%w: another program that uses bbolt made it", ErrNotCroft)
		}
		value, err := metaValue(b, keyFormat, 4)
		if err != nil {
			return err
		}
		version = binary.BigEndian.Uint32(value)
		switch {
		case version > newest:
			return fmt.Errorf("%w: its format is %d and this one knows %d: update this Croft", ErrNewer, version, newest)
		case version < newest && db.readOnly:
			return fmt.Errorf("%w: its format is %d and this one's %d: start this Croft on it, which brings it up to date", ErrOlder, version, newest)
		}
		if tx.Bucket(sumsName) == nil {
			return fmt.Errorf("%w: its digest is missing", ErrDamaged)
		}
		value, err = metaValue(b, keyFile, len(db.fileID))
		copy(db.fileID[:], value)
		return err
	})
	return version, err
}

func metaValue(b *bbolt.Bucket, key []byte, length int) ([]byte, error) {
	sealed := b.Get(key)
	if sealed == nil {
		return nil, damaged(key, "it is missing")
	}
	value, err := unseal(key, sealed)
	if err == nil && len(value) != length {
		err = damaged(key, "it has another length")
	}
	return value, err
}

// ensure makes the file if there is none: whole, or not at all. Two processes may do so at once.
func ensure(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("open %s: %w: it is a folder; the path must end in the file's name", path, ErrNotCroft)
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("open %s: %w: it is not a file", path, ErrNotCroft)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return explain("open", path, err)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("open %s: it is a link to a file that doesn't exist", path)
	}
	if err := create(path); err != nil {
		return explain("make", path, err)
	}
	return nil
}

// create writes a new file under another name, flushes it, gives it its name, and flushes the folder.
func create(path string) (err error) {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if removeErr := os.Remove(temp.Name()); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}()
	if err := temp.Close(); err != nil {
		return err
	}
	if err := writeNew(temp.Name()); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces a file that another process made meanwhile.
	err = os.Link(temp.Name(), path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without links, such as exFAT.
		if err := os.Rename(temp.Name(), path); err != nil {
			return err
		}
	}
	return SyncDir(dir)
}
