package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"croft/internal/store"
)

// steps are what was done so far, and how to take each back.
type steps struct {
	undo   []func() error
	settle []func() error // to do when nothing needs to be taken back any more
}

func (s *steps) did(undo func() error) { s.undo = append(s.undo, undo) }

// done removes what was only there to be put back.
func (s *steps) done() error {
	var failed []error
	for _, f := range s.settle {
		failed = append(failed, f())
	}
	return errors.Join(failed...)
}

// back takes all steps back, the last first. It goes on when one can't be.
func (s *steps) back() error {
	var failed []error
	for i := len(s.undo) - 1; i >= 0; i-- {
		if err := s.undo[i](); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	s.undo = nil
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("and not all of it could be undone: %w", err)
	}
	return nil
}

// writeWhole gives a file this content: after a crash it has the old one or the new one.
func writeWhole(path string, content []byte, mode fs.FileMode) error {
	temp, err := stage(filepath.Dir(path), bytes.NewReader(content), mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return store.SyncDir(filepath.Dir(path))
}

// stage writes a file with a name of its own into a folder, and flushes it.
func stage(dir string, content io.Reader, mode fs.FileMode) (path string, err error) {
	f, err := os.CreateTemp(dir, ".croft-new-*"+filepath.Ext(os.Args[0])) // .exe, where only such a name can be run
	if err != nil {
		return "", explainFull(err, dir)
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(explainFull(err, dir), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func explainFull(err error, dir string) error {
	if store.IsDiskFull(err) {
		return fmt.Errorf("there is no room left in %s: make some and try again: %w", dir, err)
	}
	return err
}

// makeFolder makes a folder, and those that it is in. The folders that it made are removed again by the step's undo.
func (s *steps) makeFolder(dir string, mode fs.FileMode, remove func(string) error) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is not a folder: move it away and try again", dir)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := s.makeFolder(filepath.Dir(dir), 0o755, os.Remove); err != nil {
		return err
	}
	if err := os.Mkdir(dir, mode); err != nil {
		return explainFull(err, filepath.Dir(dir))
	}
	s.did(func() error { return remove(dir) })
	return os.Chmod(dir, mode) // whatever the umask
}

// sameContent reports whether two files have the same content. One that is not there differs from all.
func sameContent(a, b string) (bool, error) {
	fa, err := os.Open(a)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer fa.Close() // it was only read
	fb, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer fb.Close() // likewise
	ba, bb := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		na, errA := io.ReadFull(fa, ba)
		nb, errB := io.ReadFull(fb, bb)
		if !bytes.Equal(ba[:na], bb[:nb]) {
			return false, nil
		}
		if errA != nil || errB != nil {
			for _, err := range []error{errA, errB} {
				if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
					return false, err
				}
			}
			return true, nil
		}
	}
}
