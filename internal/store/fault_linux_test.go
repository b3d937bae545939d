//go:build linux && (amd64 || arm64)

package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"croft/internal/store"
	"croft/internal/store/faultfs"
)

// A fault is what happens at the Nth step of a run.
type fault struct {
	name  string
	set   func(disk *faultfs.FS, step int)
	errno syscall.Errno // 0 if nobody is told of an error
	stays bool          // until the run ends
}

var faults = []fault{
	{"EIO", func(d *faultfs.FS, n int) { d.Fail(n, syscall.EIO) }, syscall.EIO, false},
	{"ENOSPC", func(d *faultfs.FS, n int) { d.Fail(n, syscall.ENOSPC) }, syscall.ENOSPC, false},
	{"half a write", func(d *faultfs.FS, n int) { d.Halve(n, 0) }, 0, false},
	{"half a write, then EIO", func(d *faultfs.FS, n int) { d.Halve(n, syscall.EIO) }, syscall.EIO, false},
	{"half a write, then ENOSPC", func(d *faultfs.FS, n int) { d.Halve(n, syscall.ENOSPC) }, syscall.ENOSPC, false},
	{"EIO from then on", func(d *faultfs.FS, n int) { d.Break(n, syscall.EIO) }, syscall.EIO, true},
	{"EROFS from then on", func(d *faultfs.FS, n int) { d.Break(n, syscall.EROFS) }, syscall.EROFS, true},
}

// Every write, growth and flush of a run fails, in every way: of making a file, of commits that grow it and free pages
// again, of closing, opening and compacting it. What a caller is told agrees with what is there, at once, at the next start, and after a
// power cut.
func TestFaultAtEveryStep(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			disk := faultfs.Mount(t)
			local := imageFolder(t)
			ledger := newLedger(5)
			check := checks{t: t, ledger: ledger}
			defer check.wait()
			kinds, outcomes := map[string]int{}, map[string]int{}
			for step := 1; ; step++ {
				where := fmt.Sprintf("%s at step %d", f.name, step)
				name := fmt.Sprintf("%d.db", step)
				disk.Record()
				f.set(disk, step)
				run := faultRun{path: filepath.Join(disk.Path, name), ledger: ledger, fault: f}
				outcome, err := run.run()
				if err != nil {
					t.Errorf("%s: %v", where, err)
				}
				outcomes[outcome]++
				steps := disk.Steps() // ends the fault
				if left, err := filepath.Glob(filepath.Join(disk.Folder, name+".*")); err != nil || len(left) > 0 && !f.stays {
					t.Errorf("%s: %q is left, %v", where, left, err)
				}
				// The next start: of this file, of what a power cut may leave, and of an image that was read meanwhile.
				path := filepath.Join(disk.Folder, name)
				if _, err := os.Stat(path); err == nil || run.acked > 0 {
					check.file(path, run.acked, run.acked+1, where)
				}
				for i, path := range afterCut(t, disk.Recorded(), name, filepath.Join(local, name), uint64(step)) {
					check.file(path, run.acked, run.acked+1, fmt.Sprintf("%s, and power cut %d", where, i))
				}
				for i, im := range run.images {
					path := filepath.Join(local, fmt.Sprintf("%d-image%d.db", step, i))
					writeFile(t, path, im.content)
					check.file(path, im.seq, im.seq, where+", an image")
				}
				if len(steps) < step {
					if outcome != "done" || len(run.images) == 0 {
						t.Errorf("without a fault: %s", outcome)
					}
					break
				}
				kinds[steps[step-1]]++
			}
			t.Logf("steps %v, outcomes %v", kinds, outcomes)
			if f.errno != 0 && (outcomes["fatal"] == 0 || outcomes["not opened"] == 0) {
				t.Error("the run is not what it was thought to be")
			}
		})
	}
}

// checks opens files on a disk that is well, many at once: to close one takes the kernel a while.
type checks struct {
	t       *testing.T
	ledger  *ledger
	pending sync.WaitGroup
}

// manyFiles is how many files are looked at at once.
const manyFiles = 16

var room = make(chan struct{}, manyFiles)

// file verifies a file that is as of one of the updates from to to, and removes it.
func (c *checks) file(path string, from, to uint64, where string) {
	room <- struct{}{}
	c.pending.Go(func() {
		defer func() { <-room }()
		defer os.Remove(path)
		db, err := store.Open(path, store.Options{})
		if err != nil {
			c.t.Errorf("%s: %v", where, err)
			return
		}
		seq, err := c.ledger.verify(db, from)
		if err == nil && seq > to {
			err = fmt.Errorf("it is as of update %d, and %d was the last", seq, to)
		}
		if err := errors.Join(err, db.Close()); err != nil {
			c.t.Errorf("%s: %v", where, err)
		}
	})
}

func (c *checks) wait() { c.pending.Wait() }

// afterCut makes some of the files that the power may leave which is cut now.
func afterCut(t *testing.T, record, name, prefix string, seed uint64) (paths []string) {
	t.Helper()
	var disk faultfs.Disk
	for e, err := range faultfs.Events(record) {
		if err != nil {
			t.Fatal(err)
		}
		disk.Do(e)
	}
	images, _ := disk.Images(name)
	for _, im := range images {
		r := rand.New(rand.NewPCG(seed, 0))
		for range 2 {
			arrivals := make([]faultfs.Arrival, len(im.Pending))
			for i := range arrivals {
				arrivals[i] = faultfs.Arrival(r.IntN(3))
			}
			path := fmt.Sprintf("%s-cut%d", prefix, len(paths))
			file, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(im.Write(file, arrivals, r), file.Close()); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
			if len(im.Pending) == 0 {
				break
			}
		}
	}
	return paths
}

// faultRun is a run in which something fails.
type faultRun struct {
	path   string
	ledger *ledger
	fault  fault

	db     *store.DB
	acked  uint64 // the last update that was acknowledged
	images []copied
}

// copied is an image that was read.
type copied struct {
	seq     uint64
	content []byte
}

// run returns how it ended: "done", "not opened", "fatal" or "not closed". The error is what should not be.
func (r *faultRun) run() (outcome string, err error) {
	for round := range 2 {
		r.db, err = store.Open(r.path, store.Options{})
		if err != nil {
			return "not opened", r.told(err)
		}
		fatal, err := r.updates(round > 0)
		if !fatal {
			err = errors.Join(err, r.db.Check())
		}
		closeErr := r.db.Close()
		switch {
		case fatal:
			return "fatal", errors.Join(err, closeErr)
		case closeErr != nil:
			return "not closed", errors.Join(err, r.told(closeErr))
		case err != nil:
			return "", err
		}
	}
	return "done", nil
}

// told returns nil for an error that says which fault it is of.
func (r *faultRun) told(err error) error {
	if r.fault.errno != 0 && strings.Contains(err.Error(), r.fault.errno.Error()) {
		return nil
	}
	return fmt.Errorf("an error that it should not be: %w", err)
}

// updates writes, and has an image read while it writes, and the file compacted.
func (r *faultRun) updates(compact bool) (fatal bool, err error) {
	var im *store.Image
	var content []byte
	for n := range 7 {
		switch n {
		case 2:
			if im, err = r.db.Image(); err != nil {
				return false, err
			}
			defer im.Close()
			content = make([]byte, im.Size())
			if _, err := im.ReadAt(content[:len(content)/2], 0); err != nil {
				return false, err
			}
		case 5:
			half := len(content) / 2
			if _, err := im.ReadAt(content[half:], int64(half)); err != nil {
				return false, err
			}
			r.images = append(r.images, copied{im.Seq(), content})
		}
		if compact && n == 3 {
			if _, err := r.db.Compact(ctx, nil); errors.Is(err, store.ErrFatal) {
				return true, errors.Join(r.told(err), dead(r.db))
			} else if err != nil {
				if err := errors.Join(r.told(err), r.seen()); err != nil {
					return false, fmt.Errorf("compact: %w", err)
				}
			}
		}
		if fatal, err := r.update(); fatal || err != nil {
			return fatal, err
		}
	}
	return false, nil
}

// update does the next update, again if the disk was full. It verifies what readers see then.
func (r *faultRun) update() (fatal bool, err error) {
	seq, err := r.ledger.workload.update(r.db)
	switch {
	case errors.Is(err, store.ErrFatal):
		return true, errors.Join(r.told(err), dead(r.db))
	case errors.Is(err, store.ErrDiskFull) && r.fault.errno == syscall.ENOSPC:
		if err := errors.Join(r.told(err), r.seen()); err != nil {
			return false, fmt.Errorf("after an update that found no room: %w", err)
		}
		if seq, err = r.ledger.workload.update(r.db); err != nil {
			return false, fmt.Errorf("when there is room again: %w", err)
		}
	case err != nil:
		return false, err
	}
	r.acked = seq
	return false, r.seen()
}

// seen returns nil if readers see what was acknowledged, and nothing else.
func (r *faultRun) seen() error {
	seq, sum, err := state(r.db)
	if err == nil && (seq != r.acked || sum != r.ledger.sum(seq)) {
		err = fmt.Errorf("readers see update %d, and %d was the last", seq, r.acked)
	}
	return err
}

// dead returns nil if a file that had a fatal error is used no more.
func dead(db *store.DB) error {
	select {
	case <-db.Failed():
	default:
		return errors.New("Failed is not closed after a fatal error")
	}
	if err := db.View(func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrFatal) {
		return fmt.Errorf("view after a fatal error: %v", err)
	}
	if err := db.Update(ctx, put("never")); !errors.Is(err, store.ErrFatal) || err != db.Err() {
		return fmt.Errorf("update after a fatal error: %v", err)
	}
	return nil
}
