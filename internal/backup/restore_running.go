package backup

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// Restores takes files for a running server, which then starts again on what it took. It outlives the server's open data file.
type Restores struct {
	data   string
	verify Verifier
	log    *slog.Logger

	turn  chan struct{} // holds one from when a file is taken until the server has started again
	ready chan struct{} // holds one when pending is set

	mu      sync.Mutex
	pending *Replacement
	last    RestoreState
}

// RestoreState says what became of the newest restore of a running server.
type RestoreState struct {
	State string `json:"state"` // RestoreNone and so on
	Bytes int64  `json:"bytes"`
	Kept  string `json:"kept,omitempty"`  // where the data file as it was is now
	Error string `json:"error,omitempty"` // why it failed
}

// The states of a restore.
const (
	RestoreNone       = "none"       // there was none since the process began
	RestoreRestarting = "restarting" // the file is whole, and the server begins to stop
	RestoreDone       = "done"
	RestoreFailed     = "failed" // the server goes on with the data file as it was
)

// NewRestores returns what takes files for the server of a data file.
func NewRestores(data string, verify Verifier, log *slog.Logger) *Restores {
	return &Restores{
		data: data, verify: verify, log: log,
		turn: make(chan struct{}, 1), ready: make(chan struct{}, 1), last: RestoreState{State: RestoreNone},
	}
}

// Take takes a file. When it returns, the file is on disk and verified, and the server is about to start again on it.
func (r *Restores) Take(ctx context.Context, c *identity.Caller, s Source) (RestoreState, error) {
	if err := mayRestore(c); err != nil {
		return RestoreState{}, err
	}
	select {
	case r.turn <- struct{}{}:
	default:
		return RestoreState{}, errs.New(errs.Conflict, "a restore is under way already")
	}
	r.log.Warn("a file is taken that the data file will be replaced with", "bytes", s.Size)
	replacement, err := Prepare(ctx, r.data, s, FileOptions{Verify: r.verify})
	if err != nil {
		<-r.turn
		r.log.Error("the file that was to be restored is refused", "error", err)
		return RestoreState{}, refused(err)
	}
	state := r.set(replacement, RestoreState{State: RestoreRestarting, Bytes: s.Size})
	r.ready <- struct{}{}
	return state, nil
}

func mayRestore(c *identity.Caller) error {
	switch {
	case !c.SignedIn():
		return errs.New(errs.Unauthenticated, "only the local operator may restore, by the command croft restore on the server itself")
	case c.Kind != identity.Local:
		return errs.New(errs.Forbidden, "only the local operator may restore, by the command croft restore on the server itself")
	}
	return nil
}

// refused tells the operator why a file is not taken.
func refused(err error) error {
	err = named(err, "the file")
	if errors.Is(err, store.ErrDiskFull) {
		return errs.Wrap(errs.DiskFull, err.Error(), err)
	}
	if _, ok := errors.AsType[*fileError](err); ok {
		return errs.New(errs.Invalid, err.Error())
	}
	return err
}

// Last returns what became of the newest one.
func (r *Restores) Last(c *identity.Caller) (RestoreState, error) {
	if err := mayRestore(c); err != nil {
		return RestoreState{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, nil
}

func (r *Restores) set(pending *Replacement, s RestoreState) RestoreState {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending, r.last = pending, s
	return s
}

// Ready receives when the server is to stop, so that Replace can be called. It is nil, and never does, without Restores.
func (r *Restores) Ready() <-chan struct{} {
	if r == nil {
		return nil
	}
	return r.ready
}

// Replace swaps in the file that was taken, while the server is stopped, and has start start it again. If that fails, the data file is
// put back, and start is called once more.
func (r *Restores) Replace(start func() error) error {
	r.mu.Lock()
	pending, state := r.pending, r.last
	r.mu.Unlock()
	kept, err := pending.Swap(time.Now())
	if err == nil {
		if err = start(); err == nil {
			state.State, state.Kept = RestoreDone, kept
			r.set(nil, state)
			r.log.Info("the data file was restored", "kept", kept, "bytes", state.Bytes)
			<-r.turn
			return nil
		}
	}
	if kept != "" {
		if undoErr := pending.Undo(kept); undoErr != nil {
			return errors.Join(err, undoErr)
		}
	}
	r.log.Error("the restore failed; the server goes on with the data file as it was", "error", err)
	if discardErr := pending.Discard(); discardErr != nil {
		r.log.Warn("the file that was to be restored can't be removed", "error", discardErr)
	}
	r.set(nil, RestoreState{State: RestoreFailed, Bytes: state.Bytes, Error: err.Error()})
	<-r.turn
	return start()
}

// Close removes what was taken and never came to be swapped in.
func (r *Restores) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending == nil {
		return nil
	}
	return r.pending.Discard()
}
