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

	"croft/internal/store"
)

// A Source is the bytes of a data file as of one commit, from wherever they come.
type Source struct {
	io.Reader
	Size int64
	Seq  uint64 // the number of the last change in it
}

// FileOptions are what WriteFile can be told.
type FileOptions struct {
	Verify   Verifier                // nil for VerifyWhole, or in Prepare for VerifyHere
	Progress func(done, total int64) // bytes written; nil for nobody
	Checking func()                  // called when all is written and the check begins; nil for nobody
}

// A file that is being written has a name that says so. It is locked meanwhile (shared: its check reads it), which tells one in
// work from one whose process died.
const (
	partialPrefix = ".croft-backup-"
	partialSuffix = ".partial"
)

// CheckTarget refuses a path that a backup can't be written to. data is the data file that it is of, "" if it is unknown.
func CheckTarget(path, data string) error {
	if path == "" || os.IsPathSeparator(path[len(path)-1]) {
		return fmt.Errorf("%q is not the name of a file: name the file that is to be made, such as croft-backup.db", path)
	}
	info, err := os.Lstat(path)
	if err == nil {
		if target, err := os.Stat(path); err == nil {
			if of, err := os.Stat(data); err == nil && os.SameFile(target, of) {
				return fmt.Errorf("%s is the data file itself: name another file for its backup", path)
			}
			if target.IsDir() {
				return fmt.Errorf("%s is a folder: name the file that is to be made in it, such as %s", path, filepath.Join(path, "croft-backup.db"))
			}
		}
		if info.Mode().IsRegular() {
			return fmt.Errorf("%s exists, and a backup replaces no file: choose another name, or move that file away first", path)
		}
		return fmt.Errorf("%s exists and is not an ordinary file: choose another name", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s: make it first, or choose another", dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder: choose another for the backup", dir)
	}
	return nil
}

// WriteFile makes a file of a source's bytes: with mode 0600, on disk, verified, and there whole or not at all. It replaces no
// file.
func WriteFile(ctx context.Context, path string, s Source, o FileOptions) (err error) {
	if err := CheckTarget(path, ""); err != nil {
		return err
	}
	if o.Verify == nil {
		o.Verify = VerifyWhole
	}
	dir := filepath.Dir(path)
	if err := removeLeftovers(dir); err != nil {
		return fmt.Errorf("remove what a backup that was interrupted left in %s: %w", dir, err)
	}
	temp, err := createPartial(dir)
	if err != nil {
		return fmt.Errorf("make a file in %s: %w", dir, err)
	}
	closed := false
	defer func() {
		if !closed {
			err = errors.Join(err, temp.Close())
		}
		if removeErr := os.Remove(temp.Name()); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}()
	if err := inBackground(func() error { return fill(ctx, temp, s, o.Progress) }); err != nil {
		if store.IsDiskFull(err) {
			return fmt.Errorf("%w: there is no room for the %d bytes of the backup in %s: make room, or choose a folder on another disk: %w",
				store.ErrDiskFull, s.Size, dir, err)
		}
		return fmt.Errorf("write the backup %s: %w", path, err)
	}
	if o.Checking != nil {
		o.Checking()
	}
	if err := o.Verify(ctx, temp.Name()); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &checkError{err}
	}
	if renameNeedsClose {
		closed = true
		if err := temp.Close(); err != nil {
			return err
		}
	}
	if err := place(temp.Name(), path); err != nil {
		return err
	}
	if err := store.SyncDir(dir); err != nil {
		// Whether it would last is not known, and who is told that it failed looks for none.
		return errors.Join(fmt.Errorf("flush the folder %s: %w", dir, err), os.Remove(path))
	}
	return nil
}

// checkError is the error of a backup that was written and is not whole.
type checkError struct{ err error }

func (e *checkError) Error() string {
	return "the backup was written, and its check found it not whole, so it was deleted: " + e.err.Error()
}

func (e *checkError) Unwrap() error { return e.err }

// createPartial makes and locks a file for what is not whole yet.
func createPartial(dir string) (*os.File, error) {
	for {
		f, err := os.CreateTemp(dir, partialPrefix+"*"+partialSuffix) // mode 0600
		if err != nil {
			return nil, err
		}
		if err := lockShared(f); err != nil {
			return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
		// Another one may have taken it for a leftover before it was locked.
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
		if there, err := os.Stat(f.Name()); err == nil && os.SameFile(mine, there) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// removeLeftovers removes what backups left in a folder whose processes died.
func removeLeftovers(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil // a folder that may be written to and not listed
		}
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || !strings.HasPrefix(name, partialPrefix) || !strings.HasSuffix(name, partialSuffix) {
			continue
		}
		if err := removeUnlocked(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// place gives a file its name, unless there is a file of that name by now.
func place(from, to string) error {
	// A link, unlike a rename, never replaces.
	err := os.Link(from, to)
	switch {
	case err == nil:
		return nil // the caller removes the other name
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s was made by somebody else meanwhile, and a backup replaces no file: choose another name", to)
	}
	// A file system without links, such as exFAT.
	if err := CheckTarget(to, ""); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// The copy is written in chunks, and every few of them are waited for until they are on disk: pages that only gather in memory
// would go out all at once, and a commit to the data file would wait behind them. So there are two windows on their way at most, each of about
// the time that a commit takes: 2 MiB are 2 ms of a fast disk, and 100 ms of a memory card.
const (
	chunk  = 1 << 20
	window = 2 << 20
)

// fill writes a source's bytes to a file, and flushes them.
func fill(ctx context.Context, f *os.File, s Source, progress func(done, total int64)) error {
	if err := allocate(f, s.Size); err != nil {
		return err
	}
	buf := make([]byte, chunk)
	started, flushed := int64(0), int64(0) // of what was written: on its way to the disk, and there
	for done := int64(0); done < s.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(s, buf[:min(chunk, s.Size-done)])
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				err = fmt.Errorf("the data ended after %d of %d bytes: %w", done+int64(n), s.Size, io.ErrUnexpectedEOF)
			}
			return err
		}
		if _, err := f.Write(buf[:n]); err != nil {
			return err
		}
		done += int64(n)
		if done-started >= window {
			if err := startFlush(f, started, done-started); err != nil {
				return err
			}
			if err := waitFlush(f, flushed, started-flushed); err != nil {
				return err
			}
			flushed, started = started, done
		}
		if progress != nil {
			progress(done, s.Size)
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	forget(f, flushed, s.Size-flushed)
	return nil
}
