package store

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// ErrImageLost says that an image was let go of before it was read to its end: it was kept for so long that the pages
// held for it had no more room.
var ErrImageLost = errors.New("the data file went on too far while it was copied: try again when less is written, or onto a faster disk")

// An Image is the bytes of the data file as of one commit: what a plain copy of the file would be if nothing
// were written meanwhile. It holds the pages of that commit until Close, and nobody waits for it.
type Image struct {
	db    *DB
	size  int64
	seq   uint64
	metas []byte // the two meta pages, which both name this commit

	mu sync.RWMutex
	s  *snapshot // nil when the pages are held no more

	closed sync.Once
}

// Image holds the newest commit. The caller must Close it.
func (db *DB) Image() (*Image, error) {
	if err := db.use(); err != nil {
		return nil, err
	}
	im, err := db.image()
	if err != nil {
		db.readers.Done()
		return nil, err
	}
	db.mu.Lock()
	db.images = append(db.images, im)
	db.mu.Unlock()
	return im, nil
}

// use has Close wait until readers.Done is called.
func (db *DB) use() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return ErrClosed
	}
	db.readers.Add(1)
	return nil
}

func (db *DB) image() (*Image, error) {
	if err := db.Err(); err != nil {
		return nil, err
	}
	s, err := db.begin()
	if err != nil {
		return nil, err
	}
	im := &Image{db: db, s: s, size: s.tx.Size()}
	if im.seq, err = readSeq(s.bucket); err == nil {
		err = im.readMetas()
	}
	if err != nil {
		s.end()
		return nil, err
	}
	return im, nil
}

// readMetas has bbolt write a copy, of which the meta pages come first.
func (im *Image) readMetas() error {
	stop := errors.New("that was all")
	want := 2 * im.s.tx.DB().Info().PageSize
	_, err := im.s.tx.WriteTo(writerFunc(func(b []byte) (int, error) {
		if len(im.metas) >= want {
			return 0, stop
		}
		im.metas = append(im.metas, b...)
		return len(b), nil
	}))
	if err != nil && !errors.Is(err, stop) || len(im.metas) != want {
		return fmt.Errorf("read the first pages of %s: %w", im.db.path, err)
	}
	return nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// Size is the image's length in bytes.
func (im *Image) Size() int64 { return im.size }

// Seq is the number of the last change in the image.
func (im *Image) Seq() uint64 { return im.seq }

// ReadAt reads bytes of the image, as io.ReaderAt says.
func (im *Image) ReadAt(b []byte, offset int64) (n int, err error) {
	im.mu.RLock()
	defer im.mu.RUnlock()
	if im.s == nil {
		return 0, ErrImageLost
	}
	if offset < 0 {
		return 0, errors.New("a negative offset")
	}
	if offset >= im.size {
		return 0, io.EOF
	}
	if rest := im.size - offset; int64(len(b)) > rest {
		b, err = b[:rest], io.EOF
	}
	if offset < int64(len(im.metas)) {
		n = copy(b, im.metas[offset:])
	}
	if n < len(b) {
		m, readErr := im.s.file.ReadAt(b[n:], offset+int64(n))
		n += m
		if readErr != nil {
			return n, readErr
		}
	}
	return n, err
}

// Close lets go of the image.
func (im *Image) Close() {
	im.closed.Do(func() {
		im.end()
		db := im.db
		db.mu.Lock()
		if i := slices.Index(db.images, im); i >= 0 {
			db.images = slices.Delete(db.images, i, i+1)
		}
		db.mu.Unlock()
		db.readers.Done()
	})
}

// endImages ends the n oldest images, and reports whether there were any.
func (db *DB) endImages(n int) bool {
	db.mu.Lock()
	n = min(n, len(db.images))
	ended := slices.Clone(db.images[:n])
	db.images = slices.Delete(db.images, 0, n)
	db.mu.Unlock()
	for _, im := range ended {
		im.end()
	}
	return n > 0
}

// end ends the transaction that holds the pages.
func (im *Image) end() {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.s != nil {
		im.s.end()
		im.s = nil
	}
}
