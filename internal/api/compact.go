package api

import (
	"errors"
	"net/http"
	"time"

	"croft/internal/errs"
	"croft/internal/store"
)

// compacted is the answer to a compaction.
type compacted struct {
	File   string `json:"file"`
	Before int64  `json:"bytes_before"`
	After  int64  `json:"bytes_after"`
	Pause  int64  `json:"pause_ms"`
}

// compact gives the space back that the data file doesn't use. It takes as long as to read and write all of it.
func (q *request) compact() error {
	if err := q.noDeadline(); err != nil {
		return err
	}
	r, err := q.api.store.Compact(q.ctx, nil)
	switch {
	case errors.Is(err, store.ErrCompacting):
		return errs.New(errs.Conflict, "the data file is being compacted already; try again when that has ended")
	case errors.Is(err, store.ErrDiskFull):
		return errs.Wrap(errs.DiskFull, err.Error(), err)
	case errors.Is(err, store.ErrDamaged):
		return errs.Wrap(errs.Internal, err.Error()+"; nothing was changed: see what croft check says", err)
	case err != nil:
		return err
	}
	q.api.log.Info("compacted the data file", "before", r.Before, "after", r.After, "pause", r.Pause)
	return q.json(http.StatusOK, compacted{q.api.store.Path(), r.Before, r.After, int64(r.Pause / time.Millisecond)}, nil)
}
