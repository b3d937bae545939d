package rawjson

import (
	"fmt"
)

// Codes of an Error.
const (
	CodeInvalid   = "invalid_json"  // not JSON
	CodeUTF8      = "invalid_utf8"  // bytes that are not UTF-8, or a lone surrogate
	CodeDuplicate = "duplicate_key" // a name twice in one object
	CodeDepth     = "too_deep"      // nested deeper than Limits.Depth
	CodeNumber    = "number_range"  // a number that a double does not keep
	CodeTrailing  = "trailing_data" // something after the value
	CodeReserved  = "reserved_name" // a name beginning with "$" (Limits.NoDollar)
)

// An Error says what is wrong with a text that should be JSON, and where. It
// never holds values of the text.
type Error struct {
	Pointer string // JSON Pointer (RFC 6901) to the faulty value or member
	Offset  int    // in bytes, from the start of the text
	Code    string
	Msg     string // fit for the user
}

func (e *Error) Error() string {
	if e.Pointer == "" {
		return fmt.Sprintf("%s (at byte %d)", e.Msg, e.Offset)
	}
	return fmt.Sprintf("%s: %s (at byte %d)", e.Pointer, e.Msg, e.Offset)
}

// under puts a member's name in front of the pointer of an error found below it.
func (e *Error) under(segment string) *Error {
	e.Pointer = Pointer(segment) + e.Pointer
	return e
}
