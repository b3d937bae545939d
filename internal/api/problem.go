package api

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"croft/internal/errs"
	"croft/internal/records/rawjson"
	"croft/internal/store"
)

// problems says how each code is answered.
var problems = map[errs.Code]struct {
	status int
	title  string
}{
	errs.BadRequest:       {400, "Bad request"},
	errs.InvalidJSON:      {400, "Not valid JSON"},
	errs.BadCursor:        {400, "Not a cursor of this list"},
	errs.Unauthenticated:  {401, "Not signed in"},
	errs.BadCredentials:   {401, "Wrong e-mail address or password"},
	errs.Forbidden:        {403, "Not allowed"},
	errs.NotFound:         {404, "Not found"},
	errs.MethodNotAllowed: {405, "Method not allowed"},
	errs.Conflict:         {409, "Conflict"},
	errs.IDTaken:          {409, "This id is taken"},
	errs.NotUnique:        {409, "This value is taken"},
	errs.LastAdmin:        {409, "The last admin"},
	errs.Stale:            {412, "Changed meanwhile"},
	errs.TooLarge:         {413, "Too large"},
	errs.UnsupportedType:  {415, "Unsupported content type"},
	errs.Misdirected:      {421, "Not a name of this server"},
	errs.Invalid:          {422, "Invalid values"},
	errs.FieldNotAllowed:  {422, "Field not allowed"},
	errs.NeedsIndex:       {422, "Needs an index"},
	errs.TooCostly:        {422, "Too costly"},
	errs.TooMany:          {429, "Too many requests"},
	errs.Internal:         {500, "Internal error"},
	errs.Upstream:         {502, "Not granted elsewhere"},
	errs.Busy:             {503, "Busy"},
	errs.Timeout:          {503, "Took too long"},
	errs.DiskFull:         {507, "The disk is full"},
}

const (
	internalText = "something went wrong inside Croft; its log says what, under this request_id"
	timeoutText  = "the request took too long and was given up; ask for less, or try again when the server has less to do"
)

// asProblem returns an error in the form that clients are told. This is the one place where the errors of packages below
// errs get their code.
func asProblem(err error) *errs.Error {
	var e *errs.Error
	if errors.As(err, &e) && e.Code != errs.Internal {
		if _, ok := problems[e.Code]; ok {
			return e
		}
	}
	switch {
	case errors.Is(err, store.ErrDiskFull):
		return errs.Wrap(errs.DiskFull, "the disk is full, so nothing was stored; reading still works. Make room on the disk and try again", err)
	case errors.Is(err, store.ErrFatal):
		return errs.Wrap(errs.Internal, "the data file can't be written any more and Croft is stopping; its log says why. What was acknowledged is safe", err)
	case errors.Is(err, store.ErrDamaged):
		return errs.Wrap(errs.Internal, "the data file is damaged at this place, so nothing is served from there; restore a backup. The log says more, under this request_id", err)
	case errors.Is(err, store.ErrClosed):
		return &errs.Error{Code: errs.Busy, Text: "the server is stopping; try again in a moment", Cause: err, RetryAfter: time.Second}
	case errors.Is(err, context.DeadlineExceeded):
		return errs.Wrap(errs.Timeout, timeoutText, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errs.Wrap(errs.Timeout, "the body of the request did not arrive in time", err)
	case errors.Is(err, context.Canceled):
		return errs.Wrap(errs.Busy, "the request was cancelled", err)
	case e != nil && e.Code == errs.Internal:
		return e
	}
	return errs.Wrap(errs.Internal, internalText, err)
}

// fail answers with a problem document and logs what an operator must know.
func (q *request) fail(err error) {
	e := asProblem(err)
	switch e.Code {
	case errs.Internal:
		q.api.log.LogAttrs(context.Background(), slog.LevelError, "a request failed", q.failure(e)...)
	case errs.DiskFull:
		q.api.log.LogAttrs(context.Background(), q.api.fullLevel(time.Now()), "the disk is too full for a request", q.failure(e)...)
	}
	if q.status != 0 {
		panic(http.ErrAbortHandler) // the answer has begun: all that can be told is that it is not whole
	}
	q.failQuietly(e)
}

// fullLogTime is how often at most the log tells of a request that the disk is too full for. The log may be on that disk, and
// a busy server refuses thousands a second.
const fullLogTime = time.Minute

// fullLevel is the level of a line about a full disk.
func (a *API) fullLevel(now time.Time) slog.Level {
	last := a.fullLogged.Load()
	if since := now.UnixNano() - last; last != 0 && 0 <= since && since < int64(fullLogTime) || !a.fullLogged.CompareAndSwap(last, now.UnixNano()) {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

func (q *request) failure(e *errs.Error) []slog.Attr {
	return []slog.Attr{
		slog.String("request", q.id), slog.String("method", q.r.Method), slog.String("path", logPath(q.r.URL.Path)),
		slog.String("error", e.Error()),
	}
}

func (q *request) failQuietly(e *errs.Error) {
	p := problems[e.Code]
	switch {
	case e.RetryAfter > 0:
		seconds := max(1, (e.RetryAfter+time.Second-1)/time.Second)
		q.set("Retry-After", strconv.Itoa(int(seconds)))
	case e.Code == errs.Busy || e.Code == errs.Timeout:
		q.set("Retry-After", "1")
	}
	h := q.Header()
	if p.status == http.StatusUnauthorized {
		h["Www-Authenticate"] = valueBearer
		if q.cookie {
			q.clearCookie()
		}
	}
	h["Cache-Control"] = valueNoStore
	h["Content-Type"] = valueProblem
	delete(h, "Etag")
	q.out = appendProblem(q.out[:0], e, p.status, p.title, q.id)
	q.send(p.status, q.out)
}

// appendProblem writes the document. Members that the error brings stand after the standard ones.
func appendProblem(dst []byte, e *errs.Error, status int, title, requestID string) []byte {
	dst = append(dst, `{"type":"about:blank","title":`...)
	dst = rawjson.AppendString(dst, title)
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, `,"detail":`...)
	dst = rawjson.AppendString(dst, e.Text)
	dst = append(dst, `,"code":`...)
	dst = rawjson.AppendString(dst, string(e.Code))
	if len(e.Fields) > 0 {
		dst = append(dst, `,"errors":[`...)
		for i, f := range e.Fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"pointer":`...)
			dst = rawjson.AppendString(dst, f.Pointer)
			dst = append(dst, `,"code":`...)
			dst = rawjson.AppendString(dst, f.Code)
			dst = append(dst, `,"message":`...)
			dst = rawjson.AppendString(dst, f.Message)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	for _, name := range slices.Sorted(maps.Keys(e.Members)) {
		value, err := json.Marshal(e.Members[name], json.Deterministic(true))
		if err != nil {
			panic("api: a problem's member " + name + ": " + err.Error())
		}
		dst = append(dst, ',')
		dst = rawjson.AppendKey(dst, name)
		dst = append(dst, value...)
	}
	dst = append(dst, `,"request_id":`...)
	dst = rawjson.AppendString(dst, requestID)
	return append(dst, '}')
}

// notFound answers for addresses outside the table.
func (q *request) notFound() {
	q.fail(errs.New(errs.NotFound, "there is nothing at this address; the API's routes begin with "+prefix))
}

// methodNotAllowed answers for addresses in the table with other methods. The router has set Allow.
func (q *request) methodNotAllowed() {
	q.fail(errs.New(errs.MethodNotAllowed, "this address does not take "+methodName(q.r.Method)+"; it takes "+q.Header().Get("Allow")))
}

// methodName keeps a method that somebody made up from filling the answer.
func methodName(m string) string {
	if len(m) > 16 {
		return "this method"
	}
	return m
}
