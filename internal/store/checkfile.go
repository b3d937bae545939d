package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"croft/internal/store/pages"
)

// maxFaults is how many faults a check tells one by one.
const maxFaults = 100

// Fault is something wrong in a data file. Its texts say nothing of keys, which may be digests of secrets: who knows
// a space's keys may tell more from Key, From and To.
type Fault struct {
	Where string // a page, an entry of a space, or what else
	What  string

	Space Space  // of Key, or of From
	Key   []byte // of the one entry that is damaged, as far as it can be told; nil when it is not about one entry

	// Lost says that entries can't be reached: at most those with keys From a certain one To before another, nil for no bound.
	Lost     bool
	From, To []byte

	// Minor says that nothing is lost: room in the file that can't be used, or what a write that was cut off left.
	Minor bool
}

func (f Fault) String() string { return f.Where + ": " + f.What }

// CheckOptions are what a check can be told. The zero value is good.
type CheckOptions struct {
	// LockTimeout is how long to wait for another process; 0 is DefaultLockTimeout.
	LockTimeout time.Duration
	// Gentle leaves the disk to others, if the file is not in memory: it takes several times as long.
	Gentle bool
	// Progress is told how many bytes of those that are to be read were, from time to time.
	Progress func(done, total int64)
	// Entry gets each entry that is whole. Both slices are valid during the call.
	Entry func(key, value []byte)
}

// CheckResult is what a check found.
type CheckResult struct {
	Bytes   int64  // of the file, as far as it is used
	Entries uint64 // that were read, whole or not
	Format  uint32 // 0 if it can't be read
	FileID  [16]byte
	Seq     uint64 // the number of the last change; 0 if it can't be read

	Faults      []Fault // the first hundred
	FaultsTotal uint64
	Minor       uint64 // of those, how many are

	// TreeSound says that bbolt can open and read the file: its pages are all in place, though entries may be damaged.
	TreeSound bool
}

// Err is ErrDamaged with the faults, or nil when there are none but minor ones.
func (r *CheckResult) Err() error {
	if r.FaultsTotal == r.Minor {
		return nil
	}
	var all []error
	for _, f := range r.Faults {
		all = append(all, fmt.Errorf("%w: %s", ErrDamaged, f))
	}
	if more := r.FaultsTotal - uint64(len(r.Faults)); more > 0 {
		all = append(all, fmt.Errorf("%w: and %d faults more", ErrDamaged, more))
	}
	return errors.Join(all...)
}

// CheckFile reads a data file whole: each page, the order and checksum of each entry, and whether all of them are there and of the newest
// commit. It is safe on a file of any state, and doesn't change it. The file may be open in others that read it; if one is that
// may write, the error is ErrLocked. What is damaged is told in the result; an error says that it can't be looked at.
func CheckFile(ctx context.Context, path string, o CheckOptions) (*CheckResult, error) {
	file, size, err := openShared(ctx, path, o.LockTimeout)
	if err != nil {
		return nil, explain("check", path, err)
	}
	stop := func() {}
	if !o.Gentle {
		stop = fetchAhead(ctx, file, size)
	}
	r, err := checkPages(ctx, file, size, format, o)
	stop()
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, explain("check", path, err)
	}
	return r, nil
}

// CheckImage is CheckFile for a file that is open. Updates don't wait for it.
func (db *DB) CheckImage(ctx context.Context, im *Image, o CheckOptions) (*CheckResult, error) {
	r, err := checkPages(ctx, im, im.Size(), 0, o)
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", db.path, err)
	}
	return r, nil
}

// openShared opens a file to be read while nobody writes to it.
func openShared(ctx context.Context, path string, timeout time.Duration) (_ *os.File, size int64, err error) {
	info, err := os.Stat(path) // first, because to open a pipe would wait
	if err != nil {
		return nil, 0, err
	}
	if info.IsDir() {
		return nil, 0, fmt.Errorf("%w: it is a folder; the path must end in the file's name", ErrNotCroft)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%w: it is not a file", ErrNotCroft)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	if timeout == 0 {
		timeout = DefaultLockTimeout
	}
	if err = lockShared(ctx, file, path, timeout); err == nil {
		info, err = file.Stat()
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// lockShared waits for whoever may write to a file.
func lockShared(ctx context.Context, file *os.File, path string, timeout time.Duration) error {
	const retry = 50 * time.Millisecond // as bbolt does
	for end := time.Now().Add(timeout); ; {
		ok, err := tryLockShared(file)
		if err != nil {
			return fmt.Errorf("lock it: %w", err)
		}
		if ok {
			return nil
		}
		if time.Now().Add(retry).After(end) {
			return locked(path)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry):
		}
	}
}

// openPages opens a file's pages. damage says why that can't be done, if it is because they are damaged.
func openPages(r io.ReaderAt, size int64) (f *pages.File, damage string, err error) {
	if size == 0 {
		return nil, "it is empty, as after a copy that was interrupted", nil
	}
	f, err = pages.Open(r, size)
	switch {
	case errors.Is(err, pages.ErrTorn):
		return f, err.Error(), nil
	case errors.Is(err, pages.ErrVersion):
		return nil, "", fmt.Errorf("%w: %w", ErrNewer, err)
	case errors.Is(err, pages.ErrForeign):
		return nil, "", fmt.Errorf("%w: %w", ErrNotCroft, err)
	case errors.Is(err, pages.ErrByteOrder):
		return nil, "", fmt.Errorf("%w: export the data there, and import it here", err)
	}
	return f, "", err
}

// checkPages checks what stands in r. A newer format than newest is refused, if newest is not 0.
func checkPages(ctx context.Context, r io.ReaderAt, size int64, newest uint32, o CheckOptions) (*CheckResult, error) {
	c := &check{o: o, newest: newest, result: &CheckResult{TreeSound: true}}
	f, damage, err := openPages(r, size)
	if err != nil {
		return nil, err
	}
	if damage != "" {
		// Or it can't be read at all.
		if _, err := r.ReadAt(make([]byte, 1), 0); endsReading(err) != nil {
			return nil, err
		}
		c.result.TreeSound = false
		c.tell(Fault{Where: "the file", What: damage, Lost: true})
		return c.result, nil
	}
	meta := f.Metas()[0]
	c.pageSize = int64(f.PageSize())
	c.result.Bytes = min(size, int64(min(meta.Pages, 1<<62/uint64(c.pageSize)))*c.pageSize)
	if f.Torn() {
		c.tell(Fault{Where: "the file", Minor: true,
			What: "one of its first two pages is not whole, as after a write that was cut off; the other one counts"})
	}
	v := pages.Visitor{Enter: c.enter, Entry: c.entry, Fault: c.fault}
	if o.Progress != nil {
		v.Progress = func(seen uint64) { o.Progress(min(int64(seen)*c.pageSize, c.result.Bytes), c.result.Bytes) }
	}
	if _, err := f.Walk(ctx, meta, v); err != nil {
		return nil, err
	}
	if err := c.end(); err != nil {
		return nil, err
	}
	if o.Progress != nil {
		o.Progress(c.result.Bytes, c.result.Bytes) // free pages were not read
	}
	return c.result, nil
}

type check struct {
	o        CheckOptions
	newest   uint32
	result   *CheckResult
	pageSize int64

	main, sums   *pages.Bucket
	digest, want uint64
	hasFile      bool
}

func (c *check) tell(f Fault) {
	c.result.FaultsTotal++
	if f.Minor {
		c.result.Minor++
	}
	if len(c.result.Faults) < maxFaults {
		c.result.Faults = append(c.result.Faults, f)
	}
}

func (c *check) enter(b *pages.Bucket) (bool, error) {
	switch {
	case b.Parent.Parent == nil && bytes.Equal(b.Name, bucketName):
		c.main = b
		var ok bool
		if c.result.Seq, ok = unpackSeq(b.Sequence); !ok {
			c.tell(Fault{Where: "the number of the last change", What: "it fails its checksum"})
		}
	case b.Parent.Parent == nil && bytes.Equal(b.Name, sumsName):
		c.sums, c.want = b, b.Sequence
	default:
		// Its pages are gone through, so that they are known to be in use.
		c.tell(Fault{Where: "the file", What: "there is a bucket in it that is not Croft's"})
	}
	return true, nil
}

// unpackSeq is readSeq for a bucket that bbolt has not opened. It returns 0 when the checksum is wrong.
func unpackSeq(packed uint64) (seq uint64, ok bool) {
	if seq = packed >> seqSumBits; packed != packSeq(seq) {
		return 0, false
	}
	return seq, true
}

func (c *check) entry(b *pages.Bucket, k, v []byte) (bool, error) {
	if b != c.main {
		c.tell(Fault{Where: "the file", What: "there is an entry where none belongs"})
		return true, nil
	}
	c.result.Entries++
	c.digest += entryDigest(k, v)
	value, err := unseal(k, v)
	if err != nil {
		space := Space(k[0])
		c.tell(Fault{Where: "an entry of " + space.String(), What: "it fails its checksum", Space: space, Key: bytes.Clone(k)})
		return false, nil
	}
	switch {
	case bytes.Equal(k, keyFormat) && len(value) == 4:
		c.result.Format = binary.BigEndian.Uint32(value)
		if c.newest != 0 && c.result.Format > c.newest {
			return false, fmt.Errorf("%w: its format is %d and this one knows %d: update this Croft", ErrNewer, c.result.Format, c.newest)
		}
	case bytes.Equal(k, keyFile) && len(value) == len(c.result.FileID):
		c.hasFile = true
		copy(c.result.FileID[:], value)
	}
	if c.o.Entry != nil {
		c.o.Entry(k, value)
	}
	return true, nil
}

func (c *check) fault(f pages.Fault) error {
	if err := endsReading(f.Err); err != nil {
		return err
	}
	if !f.Minor {
		c.result.TreeSound = false
	}
	told := Fault{Where: fmt.Sprintf("page %d", f.Page), What: f.What, Minor: f.Minor, Lost: f.Lost}
	if f.Err != nil {
		told.What += fmt.Sprintf(" (%v)", f.Err)
	}
	switch {
	case f.Lost && f.Bucket == c.main && c.main != nil:
		told.From, told.To = bytes.Clone(f.From), bytes.Clone(f.To)
		told.What += "; entries of " + spacesBetween(f.From, f.To) + " are out of reach"
		if len(f.From) > 0 {
			told.Space = Space(f.From[0])
		}
	case f.Lost && f.Bucket.Parent == nil:
		told.What += "; all entries are out of reach"
	}
	c.tell(told)
	return nil
}

// endsReading returns an error that is of the reading of an image as a whole, and not of a page.
func endsReading(err error) error {
	if errors.Is(err, ErrImageLost) || errors.Is(err, ErrClosed) || errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// spacesBetween names the spaces of a range of keys.
func spacesBetween(from, to []byte) string {
	first, last := spaceMeta, Space(0xff)
	if len(from) > 0 {
		first = Space(from[0])
	}
	if len(to) > 0 {
		last = Space(to[0])
		if len(to) == 1 && last > first {
			last-- // it ends before that one
		}
	}
	switch {
	case first == last:
		return first.String()
	case last == 0xff:
		return first.String() + " and behind"
	default:
		return first.String() + " to " + last.String()
	}
}

// end compares what was seen as a whole with what there should be.
func (c *check) end() error {
	if c.main == nil && c.result.TreeSound {
		return fmt.Errorf("%w: another program that uses bbolt made it", ErrNotCroft)
	}
	file := "the file"
	switch {
	case c.main == nil:
		c.tell(Fault{Where: file, What: "its root is gone", Lost: true})
	case c.result.Format == 0:
		c.tell(Fault{Where: file, What: "its format is not told in it"})
	case !c.hasFile:
		c.tell(Fault{Where: file, What: "its id is missing"})
	}
	if c.sums == nil {
		c.tell(Fault{Where: file, What: "its digest is missing"})
	} else if c.digest != c.want {
		c.tell(Fault{Where: file, What: "entries are missing, or older ones stand in their place"})
	}
	return nil
}
