// Package errs is the error type that everything above the store returns: a stable code, a text fit for the
// person who made the request, and the cause, which is for the log alone. Package api turns it into a problem
// document in one place.
package errs

import "time"

// Code is a stable snake_case word that programs may test for. Package api knows each code's HTTP status.
type Code string

// The codes. A new one needs a line in api's table of problems, which a test demands.
const (
	BadRequest       Code = "bad_request"        // the request can't be understood: 400
	InvalidJSON      Code = "invalid_json"       // the body is not strict JSON: 400
	BadCursor        Code = "bad_cursor"         // not a cursor of this query: 400
	Unauthenticated  Code = "unauthenticated"    // nobody is signed in: 401
	BadCredentials   Code = "bad_credentials"    // wrong e-mail or password: 401
	Forbidden        Code = "forbidden"          // signed in, but not allowed: 403
	NotFound         Code = "not_found"          // not there, or not for this caller: 404
	MethodNotAllowed Code = "method_not_allowed" // 405
	Conflict         Code = "conflict"           // at odds with what is stored: 409
	IDTaken          Code = "id_taken"           // a record of this id exists: 409
	NotUnique        Code = "not_unique"         // a unique index has this value: 409
	LastAdmin        Code = "last_admin"         // someone must remain admin: 409
	Stale            Code = "stale"              // If-Match or If-None-Match says no: 412
	TooLarge         Code = "too_large"          // 413
	UnsupportedType  Code = "unsupported_type"   // the Content-Type is not JSON: 415
	Misdirected      Code = "misdirected"        // a Host that is not ours: 421
	Invalid          Code = "invalid"            // understood, but values don't fit: 422
	FieldNotAllowed  Code = "field_not_allowed"  // a field this caller may not ask about: 422
	NeedsIndex       Code = "needs_index"        // the query would test too many records: 422
	TooCostly        Code = "too_costly"         // an expression used up its budget: 422
	TooMany          Code = "too_many_requests"  // throttled: 429
	Internal         Code = "internal"           // a bug or a failing disk: 500
	Upstream         Code = "upstream"           // somebody that the server had to ask said no, or nothing: 502
	Busy             Code = "busy"               // try again soon: 503
	Timeout          Code = "timeout"            // the request took too long: 503
	DiskFull         Code = "disk_full"          // 507
)

// Error is what went wrong, told to the person who asked.
type Error struct {
	Code  Code
	Text  string // what happened and what to do next
	Cause error  // for the log only

	Fields     []Field        // the faults of single values, if it is about them
	Members    map[string]any // further members of the problem document, such as needs_index's "index"
	RetryAfter time.Duration  // when to try again, 0 if that is not known
}

// Field is a fault of one value of the input.
type Field struct {
	Pointer string `json:"pointer"` // a JSON Pointer (RFC 6901) into the input
	Code    string `json:"code"`
	Message string `json:"message"`
}

// New returns an error of a code and a text.
func New(code Code, text string) *Error { return &Error{Code: code, Text: text} }

// At returns an error about one value of the input.
func At(code Code, pointer, fieldCode, message string) *Error {
	return &Error{Code: code, Text: message, Fields: []Field{{pointer, fieldCode, message}}}
}

// Wrap returns an error whose cause is kept for the log.
func Wrap(code Code, text string, cause error) *Error {
	return &Error{Code: code, Text: text, Cause: cause}
}

func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Text
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Cause }
