package api

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/julienschmidt/httprouter"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// A request is one request while it is served. It is the http.ResponseWriter that the router hands to a route, so
// that what belongs to a request travels without a context value or a closure. It belongs to the goroutine that serves
// it, and is used again for another request after end.
type request struct {
	http.ResponseWriter
	api     *API
	r       *http.Request
	local   bool       // it came by the local socket
	host    string     // that the client asked for, with its port if there is one
	tls     bool       // the client came by HTTPS
	client  netip.Addr // as a proxy says; else address reads it from the connection
	started time.Time
	id      string
	values  []string // room for this request's header values

	// Set by the router's handler and run.
	route  *route // nil when there is none
	meter  *meter
	params httprouter.Params
	caller *identity.Caller
	cookie bool // the cookie says who calls
	ctx    context.Context
	cancel context.CancelFunc // nil for a brief route
	body   []byte             // what the client sent
	out    []byte             // room for the answer

	status int   // 0 until the answer has begun
	sent   int64 // bytes of the answer's body
}

// anonymous is every caller that does not say who it is.
var anonymous = &identity.Caller{}

// local is the operator.
var local = &identity.Caller{Kind: identity.Local}

var requests = sync.Pool{New: func() any { return new(request) }}

// maxKept is the largest buffer that is kept for the next request: one huge body must not occupy memory for ever.
const maxKept = 64 << 10

func (a *API) begin(w http.ResponseWriter, r *http.Request, isLocal bool) *request {
	q := requests.Get().(*request)
	q.ResponseWriter, q.api, q.r, q.local = w, a, r, isLocal
	q.started = time.Now()
	q.id = newRequestID()
	q.values = make([]string, 0, 8)
	q.meter = a.metrics.unrouted
	q.caller = anonymous
	q.host, q.tls = r.Host, r.TLS != nil
	if !isLocal {
		q.readForwarded()
	}
	return q
}

// newRequestID returns 16 hexadecimal digits. They are to find a request in the log, and need not be secret.
func newRequestID() string {
	var raw [8]byte
	var text [16]byte
	binary.BigEndian.PutUint64(raw[:], rand.Uint64())
	hex.Encode(text[:], raw[:])
	return string(text[:])
}

// end closes the request's books: it answers for a panic, logs, counts, and gives the request back.
func (q *request) end() {
	p := recover()
	if p != nil && p != http.ErrAbortHandler {
		q.panicked(p)
	}
	if q.cancel != nil {
		q.cancel()
	}
	took := time.Since(q.started)
	q.meter.count(q.status, took)
	if q.api.logRequests {
		q.logLine(took)
	}
	abort := p == http.ErrAbortHandler || p != nil && q.status == 0
	body, out := q.body, q.out
	*q = request{}
	if cap(body) <= maxKept {
		q.body = body[:0]
	}
	if cap(out) <= maxKept {
		q.out = out[:0]
	}
	requests.Put(q)
	if abort {
		panic(http.ErrAbortHandler) // net/http closes the connection, and says nothing
	}
}

// panicked logs a panic and answers 500, or cuts off an answer that has begun.
func (q *request) panicked(p any) {
	stack := debug.Stack()
	var inWriter *store.Panic
	if err, ok := p.(error); ok && errors.As(err, &inWriter) {
		p, stack = inWriter.Value, inWriter.Stack
	}
	q.api.log.Error("panic while serving a request", "request", q.id, "method", q.r.Method, "path", logPath(q.r.URL.Path),
		"panic", fmt.Sprint(p), "stack", string(stack))
	if q.status != 0 {
		q.status = 0 // has end abort the connection
		return
	}
	q.failQuietly(errs.New(errs.Internal, internalText))
}

func (q *request) logLine(took time.Duration) {
	attrs := [...]slog.Attr{
		slog.String("method", q.r.Method),
		slog.String("path", logPath(q.r.URL.Path)),
		slog.Int("status", q.status),
		slog.Int64("bytes", q.sent),
		slog.Duration("took", took),
		slog.String("request", q.id),
		slog.String("caller", callerName(q.caller)),
		slog.String("from", "-"),
	}
	if addr := q.address(); addr.IsValid() {
		attrs[len(attrs)-1].Value = slog.StringValue(addr.String())
	}
	q.api.log.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs[:]...)
}

// logPath leaves out what looks like a token: someone may paste one into an address.
func logPath(path string) string {
	if !strings.Contains(path, "croft_") {
		return path
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if strings.Contains(part, "croft_") {
			parts[i] = "…"
		}
	}
	return strings.Join(parts, "/")
}

func callerName(c *identity.Caller) string {
	switch c.Kind {
	case identity.User:
		return c.ID
	case identity.Local:
		return "local"
	}
	return "-"
}

// WriteHeader begins the answer.
func (q *request) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		q.status = status
	}
	q.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the answer.
func (q *request) Write(b []byte) (int, error) {
	if q.status == 0 {
		q.WriteHeader(http.StatusOK)
	}
	n, err := q.ResponseWriter.Write(b)
	q.sent += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (q *request) Unwrap() http.ResponseWriter { return q.ResponseWriter }

// set sets a header whose name is in canonical form.
func (q *request) set(name, value string) {
	q.values = append(q.values, value)
	n := len(q.values)
	q.Header()[name] = q.values[n-1 : n : n]
}

// header returns a header of the request, whose name is in canonical form. Several are one list (RFC 9110, 5.3).
func (q *request) header(name string) string {
	switch values := q.r.Header[name]; len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	default:
		return strings.Join(values, ", ")
	}
}

// param returns a part of the path.
func (q *request) param(name string) string { return q.params.ByName(name) }
