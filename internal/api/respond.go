package api

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"croft/internal/records"
)

// Header values that never change. They are shared between requests: nobody may write to them.
var (
	valueJSON    = []string{"application/json"}
	valueProblem = []string{"application/problem+json"}
	valueBytes   = []string{"application/octet-stream"}
	valueText    = []string{"text/plain; charset=utf-8"}
	valueMeters  = []string{"text/plain; version=0.0.4; charset=utf-8"}
	valueBearer  = []string{"Bearer"}
	valueNoStore = []string{"no-store"}
	valuePrivate = []string{"private, no-cache"} // may be kept by the client itself, and asked for again with its ETag
	valueVary    = []string{"Authorization, Cookie, Origin"}
	valueNosniff = []string{"nosniff"}
	valueCSP     = []string{"default-src 'none'; frame-ancestors 'none'"}
	valueNoRef   = []string{"no-referrer"}
	valueDeny    = []string{"DENY"}
)

// secure sets the headers that every answer has.
func (q *request) secure() {
	h := q.Header()
	q.set("X-Request-Id", q.id)
	h["X-Content-Type-Options"] = valueNosniff
	h["Content-Security-Policy"] = valueCSP
	h["Referrer-Policy"] = valueNoRef
	h["X-Frame-Options"] = valueDeny
	h["Cache-Control"] = valueNoStore
	h["Vary"] = valueVary
	if q.api.hsts != nil && q.r.TLS != nil {
		h["Strict-Transport-Security"] = q.api.hsts
	}
}

// send sends an answer whose headers are set but for its length.
func (q *request) send(status int, body []byte) {
	if bodyAllowed(status) {
		q.set("Content-Length", strconv.Itoa(len(body)))
	}
	q.WriteHeader(status)
	if q.r.Method == http.MethodHead || len(body) == 0 {
		return
	}
	// A client that is gone can't be told so.
	_, _ = q.Write(body)
}

func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// raw answers with JSON that is ready, or passes the error on.
func (q *request) raw(status int, body []byte, err error) error {
	if err != nil {
		return err
	}
	q.Header()["Content-Type"] = valueJSON
	q.send(status, body)
	return nil
}

// json answers with a value, or passes the error on.
func (q *request) json(status int, v any, err error) error {
	if err != nil {
		return err
	}
	body, err := json.Marshal(v, json.Deterministic(true))
	return q.raw(status, body, err)
}

// nothing answers that it is done, or passes the error on.
func (q *request) nothing(err error) error {
	if err != nil {
		return err
	}
	q.send(http.StatusNoContent, nil)
	return nil
}

// document answers with a record, or passes the error on.
func (q *request) document(status int, d records.Document, err error) error {
	if err != nil {
		return err
	}
	q.tag(d.Rev)
	return q.raw(status, d.JSON, nil)
}

// tag sets the headers of something that has a revision.
func (q *request) tag(rev string) {
	q.set("Etag", `"`+rev+`"`)
	q.Header()["Cache-Control"] = valuePrivate
}

// notModified answers that the client's copy is the newest.
func (q *request) notModified() error {
	q.send(http.StatusNotModified, nil)
	return nil
}
