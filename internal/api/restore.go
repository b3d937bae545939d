package api

import (
	"errors"
	"io"
	"net/http"
	"time"

	"croft/internal/backup"
	"croft/internal/errs"
)

// restore takes a whole data file as the body, however long it is. The server then starts again on it.
func (q *request) restore() error {
	if q.api.restores == nil {
		return errs.New(errs.Conflict, "there is no server here that could start again: restore the file while none runs")
	}
	if q.r.ContentLength <= 0 {
		return errs.New(errs.BadRequest, "send the data file as the body, with its length as Content-Length")
	}
	if err := q.noDeadline(); err != nil {
		return err
	}
	state, err := q.api.restores.Take(q.ctx, q.caller, backup.Source{Reader: arriving{q}, Size: q.r.ContentLength})
	if err != nil {
		q.set("Connection", "close") // rather than read the rest
	}
	return q.json(http.StatusAccepted, state, err)
}

func (q *request) restoreState() error {
	if q.api.restores == nil {
		return q.json(http.StatusOK, backup.RestoreState{State: backup.RestoreNone}, nil)
	}
	state, err := q.api.restores.Last(q.caller)
	return q.json(http.StatusOK, state, err)
}

// arriving is a body that may take as long as it will, as long as more of it comes.
type arriving struct{ q *request }

func (a arriving) Read(b []byte) (int, error) {
	control := http.NewResponseController(a.q)
	if err := control.SetReadDeadline(time.Now().Add(partTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := a.q.r.Body.Read(b)
	if err != nil && err != io.EOF {
		return n, unread(err)
	}
	// The server goes on to read, to learn whether the client is still there: that has no end.
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return n, err
	}
	return n, err
}
