//go:build linux && (amd64 || arm64)

package store_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"croft/internal/store"
	"croft/internal/store/faultfs"

	"golang.org/x/sys/unix"
)

var (
	powerCommits = flag.Int("power.commits", 0, "how many commits TestPowerCut records; 0 is few")
	powerSeed    = flag.Uint64("power.seed", 0, "of TestPowerCut; 0 draws one")
)

// shortCommits is how many are enough for every change.
var shortCommits = 400 // less with the race detector

func init() {
	roles["write for a power cut"] = roleWrite
	roles["replay without flushes"] = roleReplay
}

// Names in the recorded folder. Of the second, each write is the number of an update that was acknowledged: it takes its
// place in the record among the writes and flushes of the first.
const (
	dataName = "croft.db"
	ackName  = "acknowledged"
)

// roleWrite opens a data file in the folder, lets several writers work, compacts it meanwhile, closes it, and so on.
func roleWrite(args []string) error {
	dir := args[0]
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	commits, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	acks, err := os.Create(filepath.Join(dir, ackName))
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(seed, 1))
	for round := 0; commits > 0; round++ {
		// Without pins for copies, pages are used again as soon as they are free, which is harder.
		n, pins := 10+r.IntN(40), round%4 == 0
		if pins {
			n = 5 + r.IntN(10)
		}
		n = min(n, commits)
		store.PinCopies(pins)
		db, err := store.Open(filepath.Join(dir, dataName), store.Options{})
		if err != nil {
			return err
		}
		compacted := make(chan error, 1)
		go func() {
			if round%4 < 2 {
				compacted <- nil
				return
			}
			_, err := db.Compact(ctx, nil)
			compacted <- err
		}()
		err = workload(seed).write(db, 1+r.IntN(6), uint64(n), func(seq uint64) error {
			_, err := acks.Write(binary.BigEndian.AppendUint64(nil, seq))
			return err
		})
		if err := errors.Join(err, <-compacted, db.Close()); err != nil {
			return err
		}
		commits -= n
	}
	return acks.Close()
}

// record has a process of its own work on a recorded disk, and returns the record.
func record(t *testing.T, seed uint64, commits int) string {
	t.Helper()
	disk := faultfs.Mount(t)
	disk.Record()
	cmd := child(t, "write for a power cut", disk.Path, fmt.Sprint(seed), fmt.Sprint(commits))
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, cmd.Stderr)
	}
	path := disk.Recorded()
	disk.Unmount()
	return path
}

// The power may be cut at any moment: everything that was acknowledged is there, and of what was not, a commit is there
// whole or not at all. The writes and flushes of several writers' commits, of opening, closing and compacting, are recorded, and for each
// moment what a disk may hold then: all that was flushed, and of the rest any part. With more commits:
//
//	go test ./internal/store -run TestPowerCut -timeout 1h -args -power.commits 5000
func TestPowerCut(t *testing.T) {
	seed, commits := *powerSeed, *powerCommits
	if seed == 0 {
		seed = rand.Uint64()
	}
	if commits == 0 {
		commits = shortCommits
	}
	t.Logf("-power.seed %d", seed)
	path := record(t, seed, commits)
	p := replay{record: path, seed: seed, keep: true}
	err := p.run(imageFolder(t))
	t.Log(p.tally)
	if err != nil {
		t.Error(err)
	}
	if p.flushes < 2*commits || p.acked < uint64(commits) {
		t.Errorf("%d flushes, %d updates of %d commits", p.flushes, p.acked, commits)
	}
	// The test sees what it is for: it fails when a commit's flushes are missing, the first or the second.
	for ignored, finds := range map[string]string{ignoreContent: "", ignoreMeta: "was acknowledged"} {
		// In a process of its own, because such files can crash it. That counts as found.
		cmd := child(t, "replay without flushes", path, fmt.Sprint(seed), ignored, imageFolder(t))
		out, err := cmd.Output()
		found := fmt.Sprint(cmd.Stderr)
		t.Logf("without the flush of %s: %s%.300s", ignored, out, found)
		if err == nil || !strings.Contains(found, finds) {
			t.Errorf("it isn't found that the flush of %s is missing: %v", ignored, err)
		}
	}
}

// imageFolder returns a folder in memory, if there is one with room for many files.
func imageFolder(t *testing.T) string {
	t.Helper()
	const memory = "/dev/shm"
	var stat unix.Statfs_t
	if unix.Statfs(memory, &stat) != nil || int64(stat.Bavail)*int64(stat.Bsize) < 1<<30 {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "croft")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// roleReplay replays a record as if the disk ignored some flushes, until it finds files that are broken.
func roleReplay(args []string) error {
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	p := replay{record: args[0], seed: seed, ignored: args[2]}
	err = p.run(args[3])
	fmt.Println(p.tally)
	return err
}

// Which flushes a disk may ignore in a replay, after some commits: those before the meta page is written, or those after it.
const (
	ignoreContent = "content"
	ignoreMeta    = "meta"
)

// replay makes files of a record and looks at them.
type replay struct {
	record  string
	seed    uint64
	ignored string // ignoreContent, ignoreMeta or nothing
	keep    bool   // what is broken
	tally

	ledger *ledger
	random *rand.Rand
	disk   faultfs.Disk
	acked  uint64
}

// tally is what was done.
type tally struct {
	events, flushes, images, torn int
	most                          int // events that were pending at once
}

func (t tally) String() string {
	return fmt.Sprintf("%d events, %d flushes with up to %d pending, %d files, %d of them with torn writes", t.events, t.flushes, t.most, t.images, t.torn)
}

// cut is one file to look at.
type cut struct {
	image    faultfs.Image
	arrivals []faultfs.Arrival
	seed     uint64
	acked    uint64

	seq uint64 // the answer
	err error
}

// run replays the record. The error tells of the first moment at which a file was broken.
func (p *replay) run(dir string) error {
	store.PinCopies(false) // nobody copies these files
	defer store.PinCopies(true)
	p.ledger = newLedger(workload(p.seed))
	p.random = rand.New(rand.NewPCG(p.seed, 2))
	cuts := make(chan *cut)
	var wg, pending sync.WaitGroup
	defer wg.Wait()
	defer close(cuts)
	for n := range manyFiles {
		path := filepath.Join(dir, fmt.Sprint(n))
		wg.Go(func() {
			for c := range cuts {
				c.seq, c.err = p.look(path, c)
				pending.Done()
			}
		})
	}
	do := func(batch []*cut) error {
		for _, c := range batch {
			p.images++
			if slices.Contains(c.arrivals, faultfs.Torn) {
				p.torn++
			}
			pending.Add(1)
			cuts <- c
		}
		pending.Wait()
		for _, c := range batch {
			if c.err != nil {
				return fmt.Errorf("event %d, of the pending ones %v (%d): %w", p.events, c.arrivals, c.seed, c.err)
			}
		}
		return nil
	}

	names := map[uint64]string{}
	var last faultfs.Event // of the data file
	for e, err := range faultfs.Events(p.record) {
		if err != nil {
			return err
		}
		p.events++
		if e.Op == faultfs.Created {
			names[e.Inode] = e.Name
		}
		switch {
		case names[e.Inode] == ackName && e.Op == faultfs.Wrote:
			p.acked = max(p.acked, binary.BigEndian.Uint64(e.Bytes))
			continue
		case e.Op == faultfs.Flushed && p.ignores(last):
			continue
		case e.Op == faultfs.Flushed, e.Op == faultfs.FolderFlushed:
			p.flushes++
			if err := p.moment(do); err != nil {
				return err
			}
		default:
			last = e
		}
		p.disk.Do(e)
	}
	return p.moment(do)
}

// ignores reports whether the flush after a write is ignored.
func (p *replay) ignores(last faultfs.Event) bool {
	if p.acked < 20 {
		return false
	}
	meta := last.Op == faultfs.Wrote && last.Offset < int64(2*os.Getpagesize())
	return p.ignored == ignoreContent && !meta || p.ignored == ignoreMeta && meta
}

// moment looks at the files that may be there at the end of the time between two flushes. Those of earlier moments of that
// time are among them, and fewer updates were acknowledged then.
func (p *replay) moment(do func([]*cut) error) error {
	images, none := p.disk.Images(dataName)
	if none && p.acked > 0 {
		return fmt.Errorf("event %d: there may be no file, and %d was acknowledged", p.events, p.acked)
	}
	for _, im := range images {
		n := len(im.Pending)
		p.most = max(p.most, n)
		before := p.cut(im, make([]faultfs.Arrival, n))
		after := p.cut(im, slices.Repeat([]faultfs.Arrival{faultfs.Arrived}, n))
		batch := append(p.parts(im), before, after)
		if err := do(batch); err != nil {
			return err
		}
		for _, c := range batch {
			if p.ignored == "" && c.seq != before.seq && c.seq != after.seq {
				return fmt.Errorf("event %d, of the pending ones %v (%d): a part of a commit: as of update %d, between %d and %d",
					p.events, c.arrivals, c.seed, c.seq, before.seq, after.seq)
			}
		}
	}
	return nil
}

// How many files there are of a moment. Of few pending writes, every subset; of more, each one alone and each one missing,
// and random subsets. Then some with torn writes.
const (
	fewPending    = 6
	randomSubsets = 5
	tornSubsets   = 5
)

// parts returns the files that may be there if some of what is pending arrived.
func (p *replay) parts(im faultfs.Image) (cuts []*cut) {
	n := len(im.Pending)
	if n == 0 {
		return nil
	}
	subset := func(arrived func(i int) bool) {
		arrivals := make([]faultfs.Arrival, n)
		for i := range arrivals {
			if arrived(i) {
				arrivals[i] = faultfs.Arrived
			}
		}
		cuts = append(cuts, p.cut(im, arrivals))
	}
	if n <= fewPending {
		for set := 1; set < 1<<n-1; set++ {
			subset(func(i int) bool { return set>>i&1 == 1 })
		}
	} else {
		for one := range n {
			subset(func(i int) bool { return i == one })
			subset(func(i int) bool { return i != one })
		}
		for range randomSubsets {
			subset(func(int) bool { return p.random.IntN(2) == 0 })
		}
	}
	for range tornSubsets {
		arrivals := make([]faultfs.Arrival, n)
		for i := range arrivals {
			arrivals[i] = faultfs.Arrival(p.random.IntN(3))
		}
		arrivals[p.random.IntN(n)] = faultfs.Torn
		cuts = append(cuts, p.cut(im, arrivals))
	}
	return cuts
}

func (p *replay) cut(im faultfs.Image, arrivals []faultfs.Arrival) *cut {
	return &cut{image: im, arrivals: arrivals, seed: p.random.Uint64(), acked: p.acked}
}

// look opens the file, and now and then goes on with it.
func (p *replay) look(path string, c *cut) (seq uint64, err error) {
	r := rand.New(rand.NewPCG(c.seed, 0))
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	image := rand.New(rand.NewPCG(c.seed, 1))
	if err := errors.Join(c.image.Write(file, c.arrivals, image), file.Close()); err != nil {
		return 0, err
	}
	defer func() {
		if err != nil && p.keep {
			err = fmt.Errorf("%w (%s)", err, p.save(path, c))
		}
	}()
	seq, err = p.open(path, c.acked, r.IntN(8) == 0)
	if err == nil && r.IntN(16) == 0 {
		_, err = p.open(path, seq, false)
	}
	return seq, err
}

// open opens the file, verifies it, and may go on with the workload.
func (p *replay) open(path string, acked uint64, goOn bool) (seq uint64, err error) {
	db, err := store.Open(path, store.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if seq, err = p.ledger.verify(db, acked); err != nil || !goOn {
		return seq, err
	}
	if _, err := p.ledger.workload.update(db); err != nil {
		return seq, fmt.Errorf("the first update after the power cut: %w", err)
	}
	if _, err := p.ledger.verify(db, seq+1); err != nil {
		return seq, fmt.Errorf("after the first update after the power cut: %w", err)
	}
	return seq, nil
}

// save makes the broken file again, where it outlives the test, and says where.
func (p *replay) save(path string, c *cut) string {
	kept, err := os.CreateTemp("", "croft-power-cut-*.db")
	if err != nil {
		return err.Error()
	}
	err = errors.Join(c.image.Write(kept, c.arrivals, rand.New(rand.NewPCG(c.seed, 1))), kept.Close())
	if err != nil {
		return err.Error()
	}
	return "the file is kept as " + kept.Name()
}
