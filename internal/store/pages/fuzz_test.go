package pages_test

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"croft/internal/store/pages"

	"go.etcd.io/bbolt"
)

// small makes a file of small pages, with a tree of three levels and an inline bucket.
func small(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bolt")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 1024, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 40, 20} {
		err := db.Update(func(tx *bbolt.Tx) error {
			if _, err := tx.CreateBucketIfNotExists([]byte("sums")); err != nil {
				return err
			}
			b, err := tx.CreateBucketIfNotExists([]byte("croft"))
			for i := n; i < n+60 && err == nil; i++ {
				err = b.Put(append(bytes.Repeat([]byte("k"), 100), name(i)...), bytes.Repeat([]byte("v"), i%5*i*4))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// What bbolt made the file longer ahead of use is not needed.
	used := max(pgid(content, 16+40), pgid(content, 1024+16+40))
	return content[:min(int(used)*1024, len(content))]
}

// resum makes both meta pages whole, so that what stands in them is looked at.
func resum(b []byte) {
	for at := 0; at+80 <= len(b) && at <= 1024; at += 1024 {
		h := fnv.New64a()
		h.Write(b[at+16 : at+72])
		binary.NativeEndian.PutUint64(b[at+72:], h.Sum64())
	}
}

// tryAll reads a file in all ways, and verifies what is promised whatever its bytes are.
func tryAll(t *testing.T, b []byte) {
	t.Helper()
	f, err := pages.Open(bytes.NewReader(b), int64(len(b)))
	if f == nil {
		return
	}
	metas := f.Metas()
	if err != nil {
		metas = []pages.Meta{{Root: 3, Freelist: 2, Pages: 1 << 60}}
	}
	for _, m := range metas {
		last := map[*pages.Bucket][]byte{}
		size := 0
		reached, err := f.Walk(ctx, m, pages.Visitor{
			Entry: func(b *pages.Bucket, k, v []byte) (bool, error) {
				if before, ok := last[b]; ok && bytes.Compare(before, k) >= 0 {
					t.Error("the order of the keys")
				}
				last[b] = bytes.Clone(k)
				size += len(k) + len(v)
				return true, nil
			},
			Fault: func(f pages.Fault) error {
				if f.What == "" || f.Lost && f.Bucket == nil || f.To != nil && bytes.Compare(f.From, f.To) > 0 {
					t.Errorf("a fault that tells nothing: %+v", f)
				}
				return nil
			},
		})
		if err != nil {
			t.Error(err)
		}
		if size > len(b) {
			t.Errorf("%d bytes of entries in %d", size, len(b))
		}
		if err := f.Leaves(ctx, reached.Inner, func(pages.Leaf) (bool, error) { return true, nil }); err != nil {
			t.Error(err)
		}
	}
}

func FuzzWalk(f *testing.F) {
	content := small(f)
	f.Add(content)
	f.Add(content[:5*1024])
	r := rand.New(rand.NewPCG(2, 2))
	for range 10 {
		f.Add(damage(r, content))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tryAll(t, b)
		b = bytes.Clone(b)
		resum(b)
		tryAll(t, b)
	})
}

// damage does something to a file: flips bits, swaps or repeats pages, writes large numbers into headers and tables, leads ways elsewhere.
func damage(r *rand.Rand, content []byte) []byte {
	b := bytes.Clone(content)
	n := len(b) / 1024
	for range 1 + r.IntN(4) {
		at := r.IntN(n) * 1024
		field := at + r.IntN(16)*4
		switch r.IntN(7) {
		case 0:
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		case 1:
			copy(b[at:at+1024], b[r.IntN(n)*1024:])
		case 2:
			copy(b[at+8:at+1024], b[r.IntN(n)*1024+8:][:1016])
		case 3:
			binary.NativeEndian.PutUint32(b[field:], []uint32{0, 1, 16, 0xffff, 1 << 31, 1<<32 - 1, 1 << 16}[r.IntN(7)])
		case 4:
			binary.NativeEndian.PutUint64(b[field:], uint64(r.IntN(n+2)))
		case 5:
			b[field] += byte(r.IntN(5) - 2)
		case 6:
			if r.IntN(4) == 0 {
				b = append(b[:at+r.IntN(1024)], make([]byte, 1024)...)
				n = len(b) / 1024
			}
		}
	}
	return b
}

// TestAnyBytes is the fuzz test's short form.
func TestAnyBytes(t *testing.T) {
	content := small(t)
	r := rand.New(rand.NewPCG(1, 1))
	for range 1500 {
		b := damage(r, content)
		if r.IntN(2) == 0 {
			resum(b)
		}
		tryAll(t, b)
		if t.Failed() {
			return
		}
	}
}
