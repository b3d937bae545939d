// Package pages reads bbolt's file format and believes nothing of it. bbolt itself follows what stands in its pages: on a damaged
// file it panics, goes round for ever, overflows its stack or touches memory that is not there. So a file of unknown state is looked at by
// this package first, which knows the layout and nothing of bbolt's code.
//
// Whatever the bytes are, it promises to end, never to panic, and to hold little memory: a branch of the tree at a time for each level, one
// large page, and two bits for each page of the file. A page that can't be read is a fault of its range of keys, not the end.
//
// The layout is bbolt's version 2 (go.etcd.io/bbolt/internal/common), in the byte order of the machine that wrote the file. A page is a header
// of 16 bytes (id u64, flags u16, count u16, overflow u32), a table of 16 bytes for each element, and behind the table their keys and values,
// one after another without a gap.
//
// It writes nothing.
package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

var (
	// ErrForeign says that a file has nothing of bbolt's in its first pages.
	ErrForeign = errors.New("it has no page of bbolt's")
	// ErrTorn says that both meta pages are damaged: where the tree begins is not known.
	ErrTorn = errors.New("both of its first pages are damaged")
	// ErrVersion says that another version of bbolt's format is used.
	ErrVersion = errors.New("its bbolt format is another one")
	// ErrByteOrder says that a machine of the other byte order wrote the file.
	ErrByteOrder = errors.New("it was written by a machine of the other byte order")
)

// File is a file to be read.
type File struct {
	r        io.ReaderAt
	size     int64
	pageSize int
	metas    []Meta
	torn     bool
}

// Meta is a commit, as one of the two meta pages tells it.
type Meta struct {
	Txid     uint64 // the number of the commit
	Root     uint64 // the page of the tree's root
	Freelist uint64 // its page, or NoFreelist
	Pages    uint64 // the first page that no commit has used
}

// NoFreelist stands in Meta.Freelist when the commit did not write one.
const NoFreelist = 1<<64 - 1

const (
	magic   = 0xED0CDAED
	version = 2

	minPage, maxPage = 1 << 10, 64 << 10 // the sizes that operating systems have, and then some

	headerSize  = 16
	elementSize = 16
	bucketSize  = 16 // root u64, sequence u64

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10

	flagBucket = 0x01 // of a leaf's element

	metaSize = headerSize + 64
)

var native = binary.NativeEndian

// Open finds the meta pages. When both are torn the error is ErrTorn, and the File can still be read by Leaves.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	first, torn, err := f.readMeta(0, 0)
	if err != nil {
		return nil, err
	}
	if first != nil {
		f.metas = append(f.metas, *first)
	}
	f.torn = torn || first == nil
	// The other one is at the offset of the page size, which the first says; if that one is torn, all sizes are tried.
	var second *Meta
	for ps := minPage; ps <= maxPage && second == nil; ps <<= 1 {
		if first != nil && f.pageSize != ps {
			continue
		}
		var secondTorn bool
		if second, secondTorn, err = f.readMeta(int64(ps), ps); err != nil {
			return nil, err
		}
		torn = torn || secondTorn
	}
	switch {
	case second == nil:
		f.torn = true
	case len(f.metas) > 0 && f.metas[0].Txid >= second.Txid:
		f.metas = append(f.metas, *second)
	default:
		f.metas = append([]Meta{*second}, f.metas...)
	}
	if len(f.metas) > 0 {
		return f, nil
	}
	if f.pageSize, err = guessPageSize(r, size); err != nil {
		return nil, err
	}
	if f.pageSize == 0 {
		if torn {
			return nil, ErrTorn
		}
		return nil, ErrForeign
	}
	return f, ErrTorn
}

// readMeta reads the meta page at an offset, which must be of the page size that is known, if one is. It is nil when there is none
// or it is torn. A page that can't be read is as one that is torn.
func (f *File) readMeta(offset int64, pageSize int) (m *Meta, torn bool, err error) {
	b := make([]byte, metaSize)
	if n, err := f.r.ReadAt(b, offset); n < metaSize {
		return nil, err != nil && !errors.Is(err, io.EOF), nil
	}
	body := b[headerSize:]
	switch native.Uint32(body) {
	case magic:
	case bits.ReverseBytes32(magic):
		return nil, false, ErrByteOrder
	default:
		return nil, false, nil
	}
	if native.Uint64(body[56:]) != fnv1a(body[:56]) {
		return nil, true, nil
	}
	if v := native.Uint32(body[4:]); v != version {
		return nil, false, fmt.Errorf("%w: %d, and this one knows %d", ErrVersion, v, version)
	}
	ps := int(native.Uint32(body[8:]))
	if ps < minPage || ps > maxPage || ps&(ps-1) != 0 || pageSize != 0 && ps != pageSize {
		return nil, true, nil
	}
	f.pageSize = ps
	return &Meta{
		Root:     native.Uint64(body[16:]),
		Freelist: native.Uint64(body[32:]),
		Pages:    native.Uint64(body[40:]),
		Txid:     native.Uint64(body[48:]),
	}, false, nil
}

func fnv1a(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// guessPageSize finds the size at which pages carry their own numbers, or 0. A larger size than the true one fits none of its
// pages but the first; a smaller one fits none at all.
func guessPageSize(r io.ReaderAt, size int64) (int, error) {
	const samples = 1000
	best, most := 0, 1 // one page may look right by chance
	h := make([]byte, headerSize)
	for ps := minPage; ps <= maxPage; ps <<= 1 {
		fits := 0
		for id := int64(2); id < samples && (id+1)*int64(ps) <= size; id++ {
			if n, _ := r.ReadAt(h, id*int64(ps)); n == len(h) && native.Uint64(h) == uint64(id) && isKind(native.Uint16(h[8:])) {
				fits++
			}
		}
		if fits > most {
			best, most = ps, fits
		}
	}
	return best, nil
}

func isKind(flags uint16) bool {
	return flags == flagBranch || flags == flagLeaf || flags == flagFreelist
}

// Metas are the whole meta pages, the newest first.
func (f *File) Metas() []Meta { return f.metas }

// Torn reports whether one of the two meta pages is not whole, as after a commit that was cut off: the other one then counts.
func (f *File) Torn() bool { return f.torn }

// PageSize is the size of a page in bytes.
func (f *File) PageSize() int { return f.pageSize }

// Cut reports by how many bytes the file is shorter than a commit says.
func (f *File) Cut(m Meta) int64 {
	if pages := uint64(f.size) / uint64(f.pageSize); m.Pages > pages {
		return int64(min(m.Pages-pages, 1<<62/maxPage)) * int64(f.pageSize)
	}
	return 0
}

// limit is the first page number that a commit can't have: behind what it has used, or the end of the file.
func (f *File) limit(m Meta) uint64 {
	return min(m.Pages, (uint64(f.size)+uint64(f.pageSize)-1)/uint64(f.pageSize))
}

// bitmap has a bit for each page.
type bitmap []uint64

func newBitmap(n uint64) bitmap { return make(bitmap, (n+63)/64) }

func (b bitmap) has(i uint64) bool { return i/64 < uint64(len(b)) && b[i/64]&(1<<(i%64)) != 0 }
func (b bitmap) set(i uint64)      { b[i/64] |= 1 << (i % 64) }
