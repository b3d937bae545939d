package api

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// A backup is sent in parts. A client that takes longer than partTime for one is given up: while it reads, the pages
// that it has yet to get can't be used again.
const (
	partSize = 1 << 20
	partTime = 30 * time.Second
)

// sendBackup sends the data file as it is now. Its length is announced, and an answer that can't be ended is cut off: so nobody
// takes half of it for the whole.
func (q *request) sendBackup() error {
	im, err := q.api.backups.Image(q.ctx, q.caller)
	if err != nil {
		return err
	}
	defer im.Close()
	q.Header()["Content-Type"] = valueBytes
	q.set("Content-Length", strconv.FormatInt(im.Size(), 10))
	q.set("Content-Disposition", `attachment; filename="`+q.api.backups.Name(im.Time)+`"`)
	q.set("Croft-Seq", strconv.FormatUint(im.Seq(), 10))
	q.WriteHeader(http.StatusOK)
	if q.r.Method == http.MethodHead {
		return nil
	}
	if err := q.noDeadline(); err != nil {
		return err
	}
	control := http.NewResponseController(q)
	part := make([]byte, partSize)
	for offset := int64(0); offset < im.Size(); {
		n, err := io.ReadFull(im, part[:min(partSize, im.Size()-offset)])
		if err != nil {
			q.api.log.Error("a backup that was being sent is cut off", "request", q.id, "sent", offset, "of", im.Size(), "error", err)
			panic(http.ErrAbortHandler)
		}
		if err := control.SetWriteDeadline(time.Now().Add(partTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := q.Write(part[:n]); err != nil {
			q.api.log.Warn("the client of a backup went away, or took too little of it", "request", q.id, "sent", offset, "of", im.Size(), "error", err)
			panic(http.ErrAbortHandler)
		}
		offset += int64(n)
	}
	return nil
}

// noDeadline lets a request take as long as it will. What takes it or sends it sees to it that it doesn't hang.
func (q *request) noDeadline() error {
	control := http.NewResponseController(q)
	err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{}))
	if errors.Is(err, http.ErrNotSupported) {
		return nil // no connection: the request is of this process
	}
	return err
}

func (q *request) listBackups() error {
	l, err := q.api.backups.List(q.ctx, q.caller)
	return q.json(http.StatusOK, l, err)
}

func (q *request) takeBackup() error {
	if err := q.noDeadline(); err != nil {
		return err
	}
	r, err := q.api.backups.Take(q.ctx, q.caller)
	return q.json(http.StatusCreated, r, err)
}
