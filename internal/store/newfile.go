package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

// writeNew fills an empty file, and flushes it.
func writeNew(path string) error {
	bolt, err := bbolt.Open(path, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoSync: true})
	if err != nil {
		return err
	}
	var id [16]byte
	rand.Read(id[:])
	err = bolt.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket(bucketName)
		if err != nil {
			return err
		}
		sums, err := tx.CreateBucket(sumsName)
		if err != nil {
			return err
		}
		version := appendSealed(nil, keyFormat, binary.BigEndian.AppendUint32(nil, format))
		file := appendSealed(nil, keyFile, id[:])
		return errors.Join(
			b.Put(keyFormat, version),
			b.Put(keyFile, file),
			sums.SetSequence(entryDigest(keyFormat, version)+entryDigest(keyFile, file)))
	})
	if err == nil {
		err = bolt.Sync()
	}
	return errors.Join(err, bolt.Close())
}

// The layout of bbolt's two meta pages (go.etcd.io/bbolt/internal/common: page.go, meta.go), of which one is always
// whole: a header of 16 bytes, then magic, version, page size, flags, root, freelist, high water mark, txid, checksum.
const (
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	metaHeader   = 16
	metaPageSize = metaHeader + 8  // u32
	metaFreelist = metaHeader + 32 // u64: the page of the list of free pages
	metaPages    = metaHeader + 40 // u64: the first page that is not used
	metaTxid     = metaHeader + 48 // u64
	metaChecksum = metaHeader + 56 // u64: FNV-1a of all before it
	metaSize     = metaChecksum + 8
)

// inspect returns the newest meta page, and refuses a file that bbolt would misread or crash on: one of another kind, or one that is
// shorter than it says.
func inspect(file *os.File) (meta, error) {
	info, err := file.Stat()
	if err != nil {
		return meta{}, err
	}
	if info.Size() == 0 {
		return meta{}, fmt.Errorf("%w: it is empty, as after a copy that was interrupted: put the whole copy there, or remove it to begin anew", ErrDamaged)
	}
	m, err := newestMeta(file)
	if err != nil {
		return meta{}, err
	}
	if want := int64(m.pages) * int64(m.pageSize); info.Size() < want {
		return meta{}, fmt.Errorf("%w: it has %d bytes of %d: it was cut short, put a whole copy there", ErrDamaged, info.Size(), want)
	}
	return m, nil
}

// noFreelist stands for the page of the free pages' list where there is none.
const noFreelist = ^uint64(0)

// meta is what is looked at of a meta page.
type meta struct {
	pageSize              uint32
	freelist, pages, txid uint64
}

// newestMeta finds the newest whole meta page. The second one is at the offset of the page size, which the first
// says; if that one is torn, all sizes are tried.
func newestMeta(file *os.File) (meta, error) {
	first, torn, err := readMeta(file, 0)
	if err != nil {
		return meta{}, err
	}
	newest := first
	for size := uint32(1 << 10); size <= 64<<10; size <<= 1 {
		if first != nil && first.pageSize != size {
			continue
		}
		second, secondTorn, err := readMeta(file, int64(size))
		if err != nil {
			return meta{}, err
		}
		torn = torn || secondTorn
		if second != nil && (newest == nil || second.txid > newest.txid) {
			newest = second
		}
	}
	switch {
	case newest != nil:
		return *newest, nil
	case torn:
		return meta{}, fmt.Errorf("%w: both of its first pages are: put a whole copy there", ErrDamaged)
	default:
		return meta{}, fmt.Errorf("%w: it has no page of bbolt's", ErrNotCroft)
	}
}

// readMeta reads a meta page. It is nil when there is none or it is torn.
func readMeta(file *os.File, offset int64) (m *meta, torn bool, err error) {
	b := make([]byte, metaSize)
	if n, err := file.ReadAt(b, offset); err != nil && err != io.EOF {
		return nil, false, err
	} else if n < metaSize {
		return nil, false, nil
	}
	if binary.NativeEndian.Uint32(b[metaHeader:]) != metaMagic {
		return nil, false, nil
	}
	if binary.NativeEndian.Uint64(b[metaChecksum:]) != fnv1a(b[metaHeader:metaChecksum]) {
		return nil, true, nil
	}
	if v := binary.NativeEndian.Uint32(b[metaHeader+4:]); v != metaVersion {
		return nil, false, fmt.Errorf("%w: its bbolt format is %d and this one knows %d", ErrNewer, v, metaVersion)
	}
	return &meta{
		pageSize: binary.NativeEndian.Uint32(b[metaPageSize:]),
		freelist: binary.NativeEndian.Uint64(b[metaFreelist:]),
		pages:    binary.NativeEndian.Uint64(b[metaPages:]),
		txid:     binary.NativeEndian.Uint64(b[metaTxid:]),
	}, false, nil
}

func fnv1a(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}
