package backup

import (
	"errors"
	"fmt"
	"io"
	"os"

	"croft/internal/store"
)

// A Closed data file is one that no server has open. It can be read, and nobody writes it until Close.
type Closed struct {
	Source
	db *store.DB
	im *store.Image
}

// OpenClosed opens a data file to be read, as it was left. Nothing in it is changed.
func OpenClosed(path string) (*Closed, error) {
	// To open a pipe would wait for somebody who writes to it.
	switch info, err := os.Stat(path); {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("open %s: %w: it is a folder; the path must end in the file's name", path, store.ErrNotCroft)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("open %s: %w: it is not a file", path, store.ErrNotCroft)
	}
	db, err := store.Open(path, store.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	im, err := db.Image()
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Closed{Source{io.NewSectionReader(im, 0, im.Size()), im.Size(), im.Seq()}, db, im}, nil
}

// Close closes the file.
func (c *Closed) Close() error {
	c.im.Close()
	return c.db.Close()
}
