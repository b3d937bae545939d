package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"croft/internal/store"
)

// Restored is what a restore did.
type Restored struct {
	File  string `json:"file"` // the data file
	Bytes int64  `json:"bytes"`
	Kept  string `json:"kept,omitempty"` // where the data file as it was is now, "" if there was none
}

// Restore puts a copy of a file in the place of a data file that nobody has open. The file stays as it is. The data file keeps its
// name until the copy is on disk and verified, and is then kept under another.
func Restore(ctx context.Context, file, data string, o FileOptions) (*Restored, error) {
	from, s, err := OpenFile(file, data)
	if err != nil {
		return nil, err
	}
	defer from.Close() // it was only read
	switch info, err := os.Stat(data); {
	case err == nil && !info.Mode().IsRegular():
		return nil, notOrdinary(data)
	case err == nil:
		release, err := store.Lock(data)
		if err != nil {
			return nil, err
		}
		defer release()
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	r, err := Prepare(ctx, data, s, o)
	if err != nil {
		return nil, named(err, file)
	}
	kept, err := r.Swap(time.Now())
	if err != nil {
		return nil, errors.Join(err, r.Discard())
	}
	return &Restored{File: data, Bytes: s.Size, Kept: kept}, nil
}

// OpenFile opens a file to restore a data file from, and refuses what can't be one.
func OpenFile(file, data string) (*os.File, Source, error) {
	// Before it is opened: to open a pipe waits for ever.
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, Source{}, fmt.Errorf("there is no file %s: name the backup that is to be restored", file)
	case err != nil:
		return nil, Source{}, err
	case info.IsDir():
		return nil, Source{}, fmt.Errorf("%s is a folder: name the backup in it that is to be restored", file)
	case !info.Mode().IsRegular():
		return nil, Source{}, fmt.Errorf("%s is not an ordinary file: name the backup that is to be restored", file)
	case info.Size() == 0:
		return nil, Source{}, fmt.Errorf("%s can't be restored: it is empty, as after a copy that was interrupted", file)
	}
	if of, err := os.Stat(data); err == nil && os.SameFile(info, of) {
		return nil, Source{}, fmt.Errorf("%s is the data file itself: name the backup that is to be restored", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, Source{}, err
	}
	return f, Source{Reader: f, Size: info.Size()}, nil
}

// A Replacement is a verified file that lies beside the data file which it will replace.
type Replacement struct {
	data string // without links: a link to the data file stays one
	temp string
	old  fs.FileInfo // the data file's; nil if there is none
	held *os.File    // temp, locked: a backup into the same folder would take it for a leftover
}

// Prepare writes a replacement of a data file: with mode 0600 and the data file's owner, on disk, and verified. An error names it as a
// partialError, whose path named replaces.
func Prepare(ctx context.Context, data string, s Source, o FileOptions) (_ *Replacement, err error) {
	if o.Verify == nil {
		o.Verify = VerifyHere
	}
	r := &Replacement{}
	if r.data, r.old, err = resolve(data); err != nil {
		return nil, err
	}
	dir := filepath.Dir(r.data)
	if err := removeLeftovers(dir); err != nil {
		return nil, fmt.Errorf("remove what an earlier command that was interrupted left in %s: %w", dir, err)
	}
	temp, err := createPartial(dir)
	if err != nil {
		return nil, fmt.Errorf("make a file in %s: %w", dir, err)
	}
	r.temp = temp.Name()
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Discard())
		}
	}()
	err = fill(ctx, temp, s, o.Progress)
	if store.IsDiskFull(err) {
		err = fmt.Errorf("%w: there is no room in %s for %d MiB more, so the data file is as it was: make room and try again", store.ErrDiskFull, dir, s.Size>>20+1)
	}
	if err == nil && r.old != nil {
		err = store.KeepOwner(r.temp, r.old)
	}
	if err == nil {
		if o.Checking != nil {
			o.Checking()
		}
		if err = o.Verify(ctx, r.temp); err != nil {
			err = &partialError{r.temp, err}
		}
	}
	if err == nil {
		r.held, err = os.Open(r.temp)
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return nil, err
	}
	atStep("unlocked")
	if err := settle(ctx, r.temp); err != nil {
		return nil, err
	}
	if err := lockShared(r.held); err != nil {
		return nil, err
	}
	// While it was not locked it may have been taken for a leftover: then a new, empty file has its name.
	mine, err := r.held.Stat()
	if err != nil {
		return nil, err
	}
	if there, err := os.Stat(r.temp); err != nil || !os.SameFile(mine, there) {
		return nil, fmt.Errorf("%s was removed meanwhile, by a backup or restore in the same folder: try again", r.temp)
	}
	return r, nil
}

// settle marks a file that was verified as one that need not be verified again, whatever its name will be, and gives it a new id:
// what clients remember of the data file, or of the one that it is a copy of, is not to be taken for its own.
func settle(ctx context.Context, path string) error {
	db, err := store.Open(path, store.Options{ReadOnly: true})
	if errors.Is(err, store.ErrOlder) {
		return nil // its next start brings it up to date, and verifies it
	}
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if db, err = store.Open(path, store.Options{Checked: true}); err != nil {
		return err
	}
	return errors.Join(db.SetPlace(ctx, true), db.Close())
}

// resolve follows the links to a data file.
func resolve(data string) (path string, info fs.FileInfo, err error) {
	path, err = filepath.EvalSymlinks(data)
	if errors.Is(err, fs.ErrNotExist) {
		dir := filepath.Dir(data)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return "", nil, fmt.Errorf("there is no folder %s for the data file: make it first, or name another data file with --data", dir)
		}
		if _, err := os.Lstat(data); err == nil {
			return "", nil, fmt.Errorf("%s is a link to a file that doesn't exist: correct it, or remove it", data)
		}
		return data, nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	if info, err = os.Stat(path); err != nil {
		return "", nil, err
	}
	if !info.Mode().IsRegular() {
		return "", nil, notOrdinary(path)
	}
	return path, info, nil
}

func notOrdinary(data string) error {
	return fmt.Errorf("the data file %s is not an ordinary file: correct its path, or move it away first", data)
}

// partialError is an error about a file with a name of its own, which stands in the error's text.
type partialError struct {
	path string
	err  error
}

func (e *partialError) Error() string { return e.err.Error() }
func (e *partialError) Unwrap() error { return e.err }

// named makes an error about a replacement one about the file that it is a copy of.
func named(err error, file string) error {
	partial, ok := errors.AsType[*partialError](err)
	if !ok {
		return err
	}
	return &fileError{fmt.Sprintf("%s can't be restored: %s", file, strings.ReplaceAll(partial.Error(), partial.path, file)), partial.err}
}

type fileError struct {
	text string
	err  error
}

func (e *fileError) Error() string { return e.text }
func (e *fileError) Unwrap() error { return e.err }

// Swap gives the replacement the data file's name. At each moment, and after a crash at any, that is the name of the one or
// the other. It returns where the data file as it was is now, "" if there was none. Nobody may have it open.
func (r *Replacement) Swap(now time.Time) (kept string, err error) {
	atStep("ready")
	if r.old == nil {
		// Never over one that somebody made meanwhile.
		if err := place(r.temp, r.data); err != nil {
			return "", err
		}
		_ = r.held.Close() // it was only read
		if err := os.Remove(r.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		return "", store.SyncDir(filepath.Dir(r.data))
	}
	kept, err = keepAside(r.data, r.data+".before-restore-"+now.UTC().Format(store.StampLayout))
	if err != nil {
		return "", fmt.Errorf("keep the data file as it is: %w", err)
	}
	atStep("kept")
	if renameNeedsClose {
		_ = r.held.Close() // it was only read
	}
	if err := os.Rename(r.temp, r.data); err != nil {
		return "", errors.Join(err, os.Remove(kept))
	}
	_ = r.held.Close() // likewise
	atStep("renamed")
	if err := store.SyncDir(filepath.Dir(r.data)); err != nil {
		return kept, fmt.Errorf("the restored file is in place, but its folder can't be flushed to the disk: %w", err)
	}
	return kept, nil
}

// Undo puts back what Swap kept.
func (r *Replacement) Undo(kept string) error {
	if err := os.Rename(kept, r.data); err != nil {
		return err
	}
	return store.SyncDir(filepath.Dir(r.data))
}

// Discard removes a replacement that was not swapped in.
func (r *Replacement) Discard() error {
	if r.held != nil {
		_ = r.held.Close() // it was only read
	}
	if err := os.Remove(r.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keepAside gives a file a second name, which nothing has: this one, or with a number behind it. The name is on disk when it
// returns.
func keepAside(path, name string) (kept string, err error) {
	kept = name
	for n := 2; ; n++ {
		err := link(path, kept)
		if err == nil {
			return kept, store.SyncDir(filepath.Dir(path))
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
		kept = fmt.Sprintf("%s-%d", name, n)
	}
	// A file system without links, such as exFAT: a copy, because two renames would leave a moment without a data file.
	from, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer from.Close() // it was only read
	info, err := from.Stat()
	if err != nil {
		return "", err
	}
	temp, err := createPartial(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	err = fill(context.Background(), temp, Source{Reader: io.LimitReader(from, info.Size()), Size: info.Size()}, nil)
	if err = errors.Join(err, temp.Close()); err == nil {
		kept, err = store.PutAside(temp.Name(), name)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(temp.Name()))
	}
	return kept, store.SyncDir(filepath.Dir(path))
}

// Seams for tests: a process that dies at a step, and a file system without links.
var (
	atStep = func(string) {}
	link   = os.Link
)
