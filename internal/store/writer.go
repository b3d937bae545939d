package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// A writer runs the functions given to DB.Update one after another, many in one commit. While one commit flushes, the
// next batch gathers; with clients that wait for their answer before they write again, that alone makes half a batch,
// so the writer waits a little for the clients of the last one.
type writer struct {
	db     *DB
	done   chan struct{} // closed by run when it ends
	signal chan struct{} // holds one: the queue has what run waits for

	mu      sync.Mutex
	queue   []*update
	want    int // how many updates run waits for
	closing bool

	// Owned by run's goroutine.
	batch      batch
	running    []*update     // those of the batch, which wait for their answer
	clients    int           // that the last commit answered, or that came while it ran
	lastCommit time.Duration // what it took
	timer      *time.Timer

	updates, commits, refused atomic.Uint64
	commitTime                atomic.Int64
}

// The most functions and bytes of one commit: enough to share a flush, few enough to keep what it holds in memory at a few
// MiB.
const (
	maxBatch      = 1024
	maxBatchBytes = 4 << 20
)

// patience is in how many steps the writer waits, at most the last commit's time, for the clients it knows of: until a step in which
// none came. So it waits while clients are busy with their next write, which on a small machine takes the same cores, and hardly
// for one that went away.
const (
	patience = 5
	minStep  = 500 * time.Microsecond // a client on the same two cores takes as long for its next write
)

// update is one call of DB.Update.
type update struct {
	fn       func(*Tx) error
	reclaims bool          // it runs also when the disk's reserve is used
	alone    func() error  // instead of fn: to be run between two commits
	state    atomic.Uint32 // waiting, then begun or abandoned
	done     chan struct{} // closed by run when err and panicked are set

	err      error
	panicked *Panic
}

const (
	waiting uint32 = iota
	begun
	abandoned
)

// Panic is what Update raises when its function panicked: the value, and the stack of the writer at that point.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("panic in an update: %v", p.Value) }

func (w *writer) start() {
	w.done = make(chan struct{})
	w.signal = make(chan struct{}, 1)
	w.want = 1
	w.timer = time.NewTimer(time.Hour)
	w.timer.Stop()
	go w.run()
}

// close has run end when the queue is empty, and waits for it.
func (w *writer) close() {
	w.mu.Lock()
	w.closing = true
	w.wake()
	w.mu.Unlock()
	<-w.done
}

func (w *writer) update(ctx context.Context, u *update) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.db.readOnly {
		return ErrReadOnly
	}
	u.done = make(chan struct{})
	w.mu.Lock()
	if w.closing {
		w.mu.Unlock()
		return ErrClosed
	}
	w.queue = append(w.queue, u)
	w.wake()
	w.mu.Unlock()

	select {
	case <-u.done:
	case <-ctx.Done():
		if u.state.CompareAndSwap(waiting, abandoned) {
			return ctx.Err()
		}
		<-u.done
	}
	if u.panicked != nil {
		panic(u.panicked)
	}
	return u.err
}

// wake tells run that the queue holds what it waits for. The caller holds mu.
func (w *writer) wake() {
	if w.closing || len(w.queue) >= w.want {
		select {
		case w.signal <- struct{}{}:
		default:
		}
	}
}

// run is the writer's goroutine.
func (w *writer) run() {
	ended := false
	defer func() {
		if ended {
			close(w.done)
			return
		}
		// A function ended the goroutine, by runtime.Goexit. Another one answers those that wait.
		err := w.db.wreck(errors.New("an update ended its goroutine (in a test: t.FailNow or t.Skip within it)"))
		w.answer(err)
		go w.run()
	}()
	debug.SetPanicOnFault(true) // a mapped file that can't be read faults
	for w.await() {
		if u := w.next(alone); u != nil {
			w.runAlone(u)
			continue
		}
		w.gather()
		w.commit()
	}
	ended = true
}

// await waits for an update, and returns false when there is none and the writer is closed.
func (w *writer) await() bool {
	for {
		n, closing := w.expect(1)
		if n > 0 || closing {
			return n > 0
		}
		<-w.signal
	}
}

// gather waits for the clients that the last commit answered, besides those that came while it ran.
func (w *writer) gather() {
	n, closing := w.expect(w.clients)
	defer w.timer.Stop()
	for step, before := 0, -1; step < patience && before < n; step++ {
		before = n
		w.timer.Reset(max(w.lastCommit/patience, minStep))
		for waiting := true; waiting; {
			if n >= w.clients || closing {
				return
			}
			select {
			case <-w.signal: // may be an old one
			case <-w.timer.C:
				waiting = false
			}
			n, closing = w.expect(w.clients)
		}
	}
}

// expect has update signal when the queue holds want, and returns what it holds now.
func (w *writer) expect(want int) (queued int, closing bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.want = want
	return len(w.queue), w.closing
}

// What next looks for.
type kind uint8

const (
	inBatch kind = iota
	alone
	either
)

func (k kind) matches(u *update) bool { return k == either || (k == alone) == (u.alone != nil) }

// next begins the first update of the queue that is still wanted, if it is of a kind; or else it returns nil.
func (w *writer) next(k kind) *update {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		u := w.queue[0]
		if !k.matches(u) && u.state.Load() != abandoned {
			return nil
		}
		w.queue[0] = nil
		w.queue = w.queue[1:]
		if u.state.CompareAndSwap(waiting, begun) {
			return u
		}
	}
	w.queue = nil
	return nil
}

// runAlone runs what must have the file to itself. A panic in it leaves the file in an unknown state.
func (w *writer) runAlone(u *update) {
	defer close(u.done)
	defer func() {
		if p := recover(); p != nil {
			u.err = w.db.wreck(&Panic{p, debug.Stack()})
		}
	}()
	if u.err = w.db.Err(); u.err == nil {
		u.err = u.alone()
	}
}

// commit runs a batch of updates in one transaction and answers them.
func (w *writer) commit() {
	err := w.apply()
	if err == nil {
		for _, h := range w.batch.hooks {
			h.run()
		}
	}
	w.answer(err)
	w.batch.end()
}

// answer ends the updates of the batch; err is what ended those that did not fail themselves.
func (w *writer) answer(err error) {
	for _, u := range w.running {
		switch {
		case u.err != nil || u.panicked != nil:
			w.refused.Add(1)
		case err != nil:
			u.err = err
		default:
			w.updates.Add(1)
		}
		close(u.done)
	}
	// Its clients may come again, and those that came meanwhile are here.
	queued, _ := w.expect(1)
	w.clients = min(len(w.running)+queued, maxBatch)
	clear(w.running)
	w.running = w.running[:0]
}

// refuse begins all updates of the queue without running them, so that they get an error as their answer.
func (w *writer) refuse() {
	for u := w.next(either); u != nil; u = w.next(either) {
		w.running = append(w.running, u)
	}
}

// apply runs updates of the queue and commits what they wrote.
func (w *writer) apply() (err error) {
	db, b := w.db, &w.batch
	if err := db.Err(); err != nil {
		w.refuse()
		return err
	}
	// bbolt's own code panics on a damaged tree.
	defer func() {
		if p := recover(); p != nil {
			err = db.wreck(fmt.Errorf("%w: %w", ErrDamaged, &Panic{p, debug.Stack()}))
		}
	}()
	now := time.Now()
	short, tight := db.space.look(now, db.reusable)
	db.trim(now, tight)
	tx, err := db.bolt.Begin(true)
	if err != nil {
		return db.fail(err)
	}
	if tx.ID() != db.newest+1 {
		return db.fail(errors.Join(errStale, tx.Rollback()))
	}
	if err := b.begin(tx); err != nil {
		w.refuse()
		return errors.Join(err, tx.Rollback())
	}
	// Those that come while the functions run are for the next batch.
	n, _ := w.expect(1)
	for n = min(n, maxBatch); n > 0 && b.arena.used < maxBatchBytes; n-- {
		u := w.next(inBatch)
		if u == nil {
			break
		}
		w.running = append(w.running, u)
		if short != nil && !u.reclaims {
			u.err = short
			continue
		}
		if err := b.run(db, u); err != nil {
			return db.fail(errors.Join(err, tx.Rollback()))
		}
	}
	if !b.wrote {
		return tx.Rollback()
	}
	if err := b.finish(); err != nil {
		return db.fail(errors.Join(err, tx.Rollback()))
	}
	added := b.adds()
	if !db.roomToMap(tx, added) {
		db.letGo()
	}
	id, start := tx.ID(), time.Now()
	if err := db.commit(tx, added); err != nil {
		return db.commitFailed(id, err)
	}
	w.lastCommit = time.Since(start)
	db.newest = id
	db.listed = false
	w.commits.Add(1)
	w.commitTime.Add(int64(w.lastCommit))
	if err := db.share(); err != nil {
		return db.fail(err)
	}
	db.growAhead()
	return nil
}

// commitFailed says whether a failed commit ends the use of the file. For want of room it does not, unless readers would
// see it: bbolt has then written the page that makes it valid, and only a flush is missing.
func (db *DB) commitFailed(id int, err error) error {
	fatal := fmt.Errorf("a commit failed: %w; what was acknowledged before it is on disk: start again when the disk is well", err)
	if !db.wantsRoom(err) {
		return db.fail(fatal)
	}
	tx, beginErr := db.bolt.Begin(false)
	if beginErr != nil {
		return db.fail(errors.Join(fatal, beginErr))
	}
	visible := tx.ID() >= id
	if rollbackErr := tx.Rollback(); visible || rollbackErr != nil {
		return db.fail(errors.Join(fatal, rollbackErr))
	}
	db.space.tight = true // so the next one asks, and lets go of pins
	return fmt.Errorf("%w: nothing was changed: %w", ErrDiskFull, err)
}

func (w *writer) stats() Stats {
	w.mu.Lock()
	queued := len(w.queue)
	w.mu.Unlock()
	return Stats{
		Updates:    w.updates.Load(),
		Commits:    w.commits.Load(),
		Refused:    w.refused.Load(),
		CommitTime: time.Duration(w.commitTime.Load()),
		Queued:     queued,
	}
}
