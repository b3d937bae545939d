package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"

	"croft/internal/store"
)

// A workload is updates that are known beforehand: what the one that gets a number writes follows from the number and the
// seed. So a file of which only the number of the last change is known can be compared with what it must hold.
type workload uint64

// op is one write of an update; it deletes when value is nil.
type op struct{ key, value []byte }

// ops are what the update of that number writes: small and large values of keys that are written again and again, and
// deletions, so that pages are split, merged and used again.
func (w workload) ops(seq uint64) []op {
	r := rand.New(rand.NewPCG(uint64(w), seq))
	ops := make([]op, 1+r.IntN(4))
	for i := range ops {
		o := op{key: key(fmt.Sprintf("%03d", r.IntN(200)))}
		n := 10 + r.IntN(300)
		switch kind := r.IntN(100); {
		case kind < 25:
			n = -1
		case kind < 28:
			n = 3000 + r.IntN(10_000)
		case kind == 99: // the file grows, and shrinks in what it uses
			o.key = key(fmt.Sprintf("large/%d", r.IntN(2)))
			n = 30_000 + r.IntN(50_000)
		}
		if n >= 0 {
			unit := binary.BigEndian.AppendUint64(nil, r.Uint64())
			o.value = bytes.Repeat(unit, n/8+1)[:n]
		}
		ops[i] = o
	}
	return ops
}

var errUndo = errors.New("to be undone")

// update is one update of the workload. It returns its number.
func (w workload) update(db *store.DB) (seq uint64, err error) {
	err = db.Update(ctx, func(tx *store.Tx) error {
		var err error
		if seq, err = tx.NextSeq(); err != nil {
			return err
		}
		return w.apply(tx, seq)
	})
	return seq, err
}

func (w workload) apply(tx *store.Tx, seq uint64) error {
	for _, o := range w.ops(seq) {
		err := error(nil)
		if o.value == nil {
			err = tx.Delete(o.key)
		} else {
			err = tx.Put(o.key, o.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refused writes, and fails: it must leave no trace.
func (w workload) refused(db *store.DB) error {
	err := db.Update(ctx, func(tx *store.Tx) error {
		seq, err := tx.NextSeq()
		return errors.Join(err, w.apply(tx, seq+1000), errUndo)
	})
	if !errors.Is(err, errUndo) {
		return fmt.Errorf("an update that is refused: %w", err)
	}
	return nil
}

// write does updates of the workload from several writers until as many commits are done, and tells ack the number of each that
// was acknowledged, at once. Some updates fail on purpose.
func (w workload) write(db *store.DB, writers int, commits uint64, ack func(seq uint64) error) error {
	end := db.Stats().Commits + commits
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			for i := 0; errs[n] == nil && db.Stats().Commits < end; i++ {
				if i%16 == n {
					errs[n] = w.refused(db)
					continue
				}
				seq, err := w.update(db)
				if err == nil {
					err = ack(seq)
				}
				errs[n] = err
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// ledger knows what a file must hold after each update of a workload, as a sum over the entries.
type ledger struct {
	workload workload

	mu      sync.Mutex
	entries map[string]uint64
	sums    []uint64 // of each update; the first is that of none
}

func newLedger(w workload) *ledger {
	return &ledger{workload: w, entries: map[string]uint64{}, sums: []uint64{0}}
}

func (s *ledger) sum(seq uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for next := uint64(len(s.sums)); next <= seq; next++ {
		sum := s.sums[next-1]
		for _, o := range s.workload.ops(next) {
			sum -= s.entries[string(o.key)]
			delete(s.entries, string(o.key))
			if o.value != nil {
				h := entryHash(o.key, o.value)
				s.entries[string(o.key)] = h
				sum += h
			}
		}
		s.sums = append(s.sums, sum)
	}
	return s.sums[seq]
}

var hashSeed = maphash.MakeSeed()

func entryHash(key, value []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	h.Write(key)
	h.WriteByte(0)
	h.Write(value)
	return h.Sum64() | 1 // never 0, so that each entry counts
}

// state reads what a file holds, and as of which update.
func state(db *store.DB) (seq, sum uint64, err error) {
	err = db.View(func(tx *store.Tx) error {
		if seq, err = tx.Seq(); err != nil {
			return err
		}
		c := tx.Scan(store.Prefix(store.Records.Key()))
		for c.Next() {
			sum += entryHash(c.Key(), c.Value())
		}
		return c.Err()
	})
	return seq, sum, err
}

// verify checks the file, and that it is as it was after some update, not before the one that was acknowledged last.
// It returns which.
func (s *ledger) verify(db *store.DB, acknowledged uint64) (seq uint64, err error) {
	if err := db.Check(); err != nil {
		return 0, err
	}
	seq, sum, err := state(db)
	switch {
	case err != nil:
		return 0, err
	case seq < acknowledged:
		return seq, fmt.Errorf("it is as of update %d, and %d was acknowledged", seq, acknowledged)
	case seq > acknowledged+1_000_000:
		return seq, fmt.Errorf("it says to be of update %d, which never was", seq)
	case sum != s.sum(seq):
		return seq, fmt.Errorf("it is not as it was after update %d", seq)
	}
	return seq, nil
}
