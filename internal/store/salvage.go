package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"croft/internal/store/pages"
)

// SalvageOptions are what a salvage can be told. The zero value is good.
type SalvageOptions struct {
	// LockTimeout is how long to wait for another process; 0 is DefaultLockTimeout.
	LockTimeout time.Duration
	// Skip says which keys are not saved, because they can be made from others: Finish sees to that. They are whole spaces, or
	// ranges of keys.
	Skip func(key []byte) bool
	// Newer says whether value a of a key is newer than b. Without it, or when neither is, a page that is in use counts for more than
	// one that is not.
	Newer func(key, a, b []byte) bool
	// SeqOf is the number of the change that wrote an entry, 0 if the entry doesn't tell.
	SeqOf func(key, value []byte) uint64
	// Stray says whether a key may be taken from pages of which it isn't known that they are in use: entries live on there that were
	// deleted. Nil takes all.
	Stray func(key []byte) bool
	// Finish makes the new file good before it gets its name: counts, and what was skipped.
	Finish func(*Tx) error
	// Progress is told how many bytes of those that are to be read were. The total grows when there is more to be done than it
	// seemed.
	Progress func(done, total int64)

	memory int // for tests: instead of strayMemory
}

// maxLosses is how many losses a salvage tells one by one.
const maxLosses = 1000

// Loss is a place in the order of the keys where the newest commit can't be read.
type Loss struct {
	What  string
	Space Space
	Key   []byte // the one entry that is damaged; nil when it can't be told which, or how many
	// From and To are the last whole key before and the first behind: the loss is between them. Nil is the beginning, or the end.
	From, To  []byte
	Older     uint64 // entries that were taken from the commit before
	Recovered uint64 // entries that were found in pages which no commit leads to: they may be old, or deleted since
	Gone      bool   // an entry, or who knows how many, may be missing
}

// SalvageReport says what a salvage did.
type SalvageReport struct {
	Saved     uint64 // entries of the new file, before Finish
	Older     uint64 // of those, from the commit before
	Recovered uint64 // of those, found in pages which no commit leads to
	Skipped   uint64 // as Skip said
	Seq       uint64
	FileID    [16]byte // the new file's
	// Commit is how far back the newest commit is that could be read: 0, or 1 when it is the one before; -1 is one that was found by
	// looking through the file, and -2 none at all.
	Commit int
	// Mixed says that all that can be read is whole, but not of one commit: entries are missing, or older ones stand in their place. No
	// one can tell which. It is how a copy looks that was made while the file was written to.
	Mixed bool

	Losses      []Loss // the first thousand
	LossesTotal uint64
	GoneTotal   uint64 // of those, how many may have lost something for good
}

// Salvage takes all that can be read out of a damaged file into a new one: what the newest commit leads to; where that is damaged, what
// the commit before it led to; and where that is damaged too, what stands in pages that no commit leads to. Only entries whose checksum
// is right are taken. The damaged file is only read. The new one must not exist; it has an id of its own, and appears whole and
// flushed, or not at all.
//
// Each commit has a digest of all its entries, which tells whether they are all there and of the same time. Where some can't be read it
// tells nothing of the others: then a damaged page may have led to an older one of the same place, and no loss tells of it.
//
// What it finds in unused pages was true at some time: entries that were deleted since may come back, in places where the tree is damaged.
func Salvage(ctx context.Context, from, to string, o SalvageOptions) (_ *SalvageReport, err error) {
	if _, err := os.Lstat(to); err == nil {
		return nil, fmt.Errorf("salvage into %s: %w: give the new file a name that is free", to, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, explain("salvage into", to, err)
	}
	file, size, err := openShared(ctx, from, o.LockTimeout)
	if err != nil {
		return nil, explain("salvage", from, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	f, damage, err := openPages(file, size)
	if err == nil && f == nil {
		err = fmt.Errorf("%w: %s: there is nothing to be saved", ErrDamaged, damage)
	}
	if err != nil {
		return nil, explain("salvage", from, err)
	}
	out, err := newOutput(to)
	if err != nil {
		return nil, explain("salvage into", to, err)
	}
	defer func() { err = errors.Join(err, out.remove()) }()
	s := &salvage{ctx: ctx, o: o, f: f, out: out, report: &SalvageReport{Commit: -2}, size: size}
	if err := s.run(); err != nil {
		return nil, explain("salvage", from, err)
	}
	s.report.Saved, s.report.FileID = out.saved, out.fileID
	if err := out.finish(ctx, s.report.Seq, o.Finish); err != nil {
		return nil, explain("salvage into", to, err)
	}
	return s.report, nil
}

type salvage struct {
	ctx    context.Context
	o      SalvageOptions
	f      *pages.File
	out    *output
	report *SalvageReport
	size   int64
	read   int64 // bytes, in the passes that are done

	// levels are what could not be read: of the newest commit, and then what still could not after each other tree that was tried. The
	// numbers of their last changes stand beside them, 0 when they can't be read.
	levels []gaps
	seqs   []uint64
	losses []Loss         // one for each gap of the first level
	newest *pages.Reached // what the newest meta page leads to; nil if there is none
	base   *pages.Reached // what the first tree uses that has Croft's bucket
}

func (s *salvage) run() error {
	metas := s.f.Metas()
	for i, m := range metas {
		if i > 0 && (m.Root == metas[i-1].Root || s.whole()) {
			break
		}
		if err := s.tree(m, i); err != nil {
			return err
		}
	}
	if s.report.Commit == -2 {
		// No commit can be read: others may, of which the roots still stand somewhere.
		roots, err := s.roots()
		if err != nil {
			return err
		}
		for _, root := range roots {
			if s.whole() && s.report.Commit != -2 {
				break
			}
			m := pages.Meta{Root: root, Freelist: pages.NoFreelist, Pages: uint64(s.size) / uint64(s.f.PageSize())}
			if err := s.tree(m, -1); err != nil {
				return err
			}
		}
	}
	if len(s.levels) == 0 {
		s.begin(gaps{{what: "both of its first pages are damaged"}})
	}
	if s.o.memory == 0 {
		s.o.memory = strayMemory
	}
	if len(s.levels[0]) > 0 {
		if err := s.strays(); err != nil {
			return err
		}
	}
	if s.o.Progress != nil {
		s.o.Progress(s.read, s.read)
	}
	return s.tell()
}

// whole reports whether nothing is left to be looked for.
func (s *salvage) whole() bool { return len(s.levels) > 0 && len(s.levels[len(s.levels)-1]) == 0 }

// begin notes what the first tree left open.
func (s *salvage) begin(g gaps) {
	s.levels, s.seqs = []gaps{g}, []uint64{0}
	s.losses = make([]Loss, len(g))
	for i, gap := range g {
		s.losses[i] = Loss{What: gap.what, Key: gap.key, From: gap.after, To: gap.before}
	}
}

// tree saves what a tree has of that which is still open.
func (s *salvage) tree(m pages.Meta, commit int) error {
	first := len(s.levels) == 0
	var open gaps
	if !first {
		open = s.levels[len(s.levels)-1]
	}
	var main *pages.Bucket
	var seq, digest, want uint64
	var missed tracker
	v := pages.Visitor{
		Enter: func(b *pages.Bucket) (bool, error) {
			switch {
			case b.Parent.Parent != nil:
				if b.Parent == main {
					missed.damaged(b.Name) // an entry that was taken for a bucket
				}
			case bytes.Equal(b.Name, bucketName):
				main = b
				seq, _ = unpackSeq(b.Sequence)
				return true, nil
			case bytes.Equal(b.Name, sumsName):
				want = b.Sequence
			}
			return false, nil
		},
		Entry: func(b *pages.Bucket, k, v []byte) (bool, error) {
			if b != main {
				return true, nil
			}
			value, err := unseal(k, v)
			if err != nil {
				missed.damaged(k)
				return false, nil
			}
			missed.whole(k)
			digest += entryDigest(k, v)
			if !first && open.find(k) < 0 {
				return true, nil
			}
			return true, s.take(k, v, value, first)
		},
		Fault: func(f pages.Fault) error {
			if f.Lost && f.Bucket == main && main != nil {
				missed.fault(f)
			}
			return endsReading(f.Err)
		},
	}
	if !first {
		v.Want = func(b *pages.Bucket, lo, hi []byte) bool { return b != main || open.touch(lo, hi) }
	}
	if s.o.Progress != nil {
		v.Progress = func(seen uint64) { s.progress(int64(seen) * int64(s.f.PageSize())) }
	}
	reached, err := s.f.Walk(s.ctx, m, v)
	if err != nil {
		return err
	}
	s.read += min(s.size, int64(min(m.Pages, math.MaxInt64/uint64(s.f.PageSize())))*int64(s.f.PageSize()))
	if commit == 0 {
		s.newest = reached
	}
	if main == nil {
		if first {
			s.begin(gaps{{what: "the root of the newest commit can't be read"}})
		}
		return nil
	}
	left := missed.end()
	if first {
		s.begin(left)
		s.seqs[0] = seq
		s.report.Mixed = len(left) == 0 && digest != want
	} else {
		s.levels = append(s.levels, open.intersect(left))
		s.seqs = append(s.seqs, seq)
	}
	if s.report.Commit == -2 {
		s.report.Commit, s.base = commit, reached
	}
	s.report.Seq = max(s.report.Seq, seq)
	return nil
}

// take saves an entry of a tree.
func (s *salvage) take(k, sealed, value []byte, first bool) error {
	if bytes.Equal(k, keyFormat) && len(value) == 4 {
		if v := binary.BigEndian.Uint32(value); v > format {
			return fmt.Errorf("%w: its format is %d and this one knows %d: update this Croft", ErrNewer, v, format)
		}
	}
	if s.o.Skip != nil && s.o.Skip(k) {
		if first {
			s.report.Skipped++
		}
		return nil
	}
	if bytes.Equal(k, keyFile) {
		return nil // the new file has one of its own
	}
	if !first {
		before, err := s.out.get(k)
		if err != nil {
			return err
		}
		if before != nil && (s.o.Newer == nil || !s.o.Newer(k, value, before[sumSize:])) {
			return nil // by a tree that is newer
		}
		if before == nil {
			s.report.Older++
			s.losses[s.levels[0].find(k)].Older++
		}
	}
	s.seen(k, value)
	return s.out.put(k, sealed)
}

// seen keeps the number of the last change from falling behind what is saved.
func (s *salvage) seen(k, value []byte) {
	if s.o.SeqOf != nil {
		s.report.Seq = max(s.report.Seq, s.o.SeqOf(k, value))
	}
}

func (s *salvage) progress(done int64) {
	if s.o.Progress != nil {
		s.o.Progress(s.read+min(done, s.size), s.read+s.size)
	}
}

// roots finds pages that look like the root of a commit: they have Croft's bucket, whose sequence has a checksum. The newest
// comes first, and a few are enough.
func (s *salvage) roots() ([]uint64, error) {
	type root struct{ page, seq uint64 }
	var found []root
	err := s.f.Leaves(s.ctx, nil, func(l pages.Leaf) (bool, error) {
		if l.IsBucket && bytes.Equal(l.Key, bucketName) && len(l.Value) >= 16 {
			if seq, ok := unpackSeq(binary.NativeEndian.Uint64(l.Value[8:])); ok {
				found = append(found, root{l.Page, seq})
			}
		}
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	s.read += s.size
	slices.SortStableFunc(found, func(a, b root) int { return cmp.Compare(b.seq, a.seq) })
	const enough = 4
	var ids []uint64
	for _, r := range found[:min(len(found), enough)] {
		ids = append(ids, r.page)
	}
	return ids, nil
}

// tell fills the report's losses.
func (s *salvage) tell() error {
	left := s.levels[len(s.levels)-1]
	for i := range s.losses {
		l := &s.losses[i]
		if s.derived(*l) {
			continue
		}
		if l.Key != nil {
			there, err := s.out.has(l.Key)
			if err != nil {
				return err
			}
			l.Gone = !there
			l.Space = Space(l.Key[0])
		} else {
			l.Gone = left.touch(l.From, l.To)
			if len(l.From) > 0 {
				l.Space = Space(l.From[0])
			}
		}
		s.report.LossesTotal++
		if l.Gone {
			s.report.GoneTotal++
		}
		if len(s.report.Losses) < maxLosses {
			s.report.Losses = append(s.report.Losses, *l)
		}
	}
	return nil
}

// derived reports whether only keys that are skipped were lost.
func (s *salvage) derived(l Loss) bool {
	if s.o.Skip == nil {
		return false
	}
	if l.Key != nil {
		return s.o.Skip(l.Key)
	}
	if len(l.From) == 0 || !s.o.Skip(l.From) {
		return false
	}
	if l.To != nil {
		return s.o.Skip(l.To)
	}
	for space := range spaces { // those behind, in which nothing may be left that tells of them
		if space > Space(l.From[0]) {
			return false
		}
	}
	return true
}
