package api

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"croft/internal/auth"
	"croft/internal/errs"
	"croft/internal/records/rawjson"
)

// takeBody reads the body into q.body and refuses one that the route does not take.
func (q *request) takeBody() error {
	if q.route.body == noBody {
		if q.r.ContentLength != 0 {
			return errs.New(errs.BadRequest, "this address takes no body; leave it out")
		}
		return nil
	}
	if err := checkType(q.header("Content-Type"), q.route.body); err != nil {
		return err
	}
	if enc := q.header("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return errs.New(errs.UnsupportedType, "the body has a Content-Encoding; send it as it is, without compression")
	}
	if q.route.body == fileBody {
		return nil
	}
	return q.readBody()
}

// checkType refuses a Content-Type that is not the one that the route takes: JSON in UTF-8, unless it takes a file.
func checkType(header string, kind bodyKind) error {
	if header == "application/json" && kind != fileBody {
		return nil
	}
	if kind == fileBody {
		if header != valueBytes[0] {
			return errs.New(errs.UnsupportedType, "this address takes a file; send it as "+valueBytes[0])
		}
		return nil
	}
	takes := "application/json"
	if kind == patchBody {
		takes = "application/json or application/merge-patch+json"
	}
	if header == "" {
		return errs.New(errs.UnsupportedType, "the request has no Content-Type; send "+takes)
	}
	mediaType, params, err := mime.ParseMediaType(header)
	if err != nil || mediaType != "application/json" && (kind != patchBody || mediaType != "application/merge-patch+json") {
		return errs.New(errs.UnsupportedType, "the Content-Type of the request is not one that is taken here; send "+takes)
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return errs.New(errs.UnsupportedType, "the Content-Type has a parameter that is not taken; JSON is UTF-8, send "+takes)
		}
	}
	return nil
}

// readBody reads the body as far as its limit.
func (q *request) readBody() error {
	limit := q.api.maxBody
	if q.r.ContentLength > limit {
		return q.tooLarge()
	}
	// One byte more than is announced, so that the read that finds the end needs no more room.
	want := int(max(q.r.ContentLength, 511)) + 1
	if cap(q.body) < want {
		q.body = make([]byte, 0, want)
	}
	b := q.body[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := q.r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		q.body = b
		if int64(len(b)) > limit {
			return q.tooLarge()
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return unread(err)
		}
	}
	if len(b) == 0 {
		return errs.New(errs.InvalidJSON, "the body is empty; send a JSON value")
	}
	return nil
}

// unread is the error of a body that did not arrive whole.
func unread(err error) error {
	if e := asProblem(err); e.Code == errs.Timeout {
		return e
	}
	return errs.Wrap(errs.BadRequest, "the body did not arrive whole; send it again", err)
}

func (q *request) tooLarge() error {
	q.set("Connection", "close") // rather than read the rest
	return errs.New(errs.TooLarge, "the body is larger than "+sizeText(q.api.maxBody)+", the most that one request may send")
}

// sizeText is a size as people write it.
func sizeText(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// decode reads one of our own bodies strictly into a value of type In.
func decode[In any](body []byte) (In, error) {
	var in In
	canonical, err := rawjson.Canonical(nil, body, rawjson.Limits{})
	if err != nil {
		return in, notJSON(err)
	}
	t := reflect.TypeFor[In]()
	if err := refuseNull(canonical, t); err != nil {
		return in, err
	}
	if err := json.Unmarshal(canonical, &in, json.RejectUnknownMembers(true)); err != nil {
		return in, misfit(err, t)
	}
	return in, nil
}

// notJSON is the problem of a body that is not strict JSON.
func notJSON(err error) error {
	var fault *rawjson.Error
	if !errors.As(err, &fault) {
		return err
	}
	code := errs.InvalidJSON
	if fault.Code == rawjson.CodeNumber {
		code = errs.Invalid
	}
	return errs.At(code, fault.Pointer, fault.Code, fault.Msg)
}

// refuseNull refuses null for a body and for members of it that have no such value: the decoder would leave them out.
func refuseNull(body []byte, t reflect.Type) error {
	if rawjson.KindOf(body) == rawjson.Null {
		return wrongType("", "an object", ", not null")
	}
	for it := rawjson.Members(body); it.Next(); {
		if rawjson.KindOf(it.Value()) != rawjson.Null {
			continue
		}
		if f, ok := memberOf(t, it.Name()); ok && !takesNull(f) {
			return wrongType(rawjson.Pointer(it.Name()), kindName(f), ", not null")
		}
	}
	return nil
}

// takesNull reports whether null says something to a type: to pointers, and to those that read their JSON themselves.
func takesNull(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

// misfit is the problem of JSON that is not of the shape asked for.
func misfit(err error, t reflect.Type) error {
	var fault *json.SemanticError
	if !errors.As(err, &fault) {
		return err
	}
	pointer := string(fault.JSONPointer)
	if errors.Is(err, json.ErrUnknownName) {
		text := nameOf(pointer) + " is not known here"
		if fault.JSONPointer.Parent() == "" {
			text += "; known are " + strings.Join(memberNames(t), ", ")
		}
		return errs.At(errs.Invalid, pointer, "unknown_field", text)
	}
	var inner *stdjson.UnmarshalTypeError // of a type that reads its JSON itself
	switch {
	case fault.GoType == reflect.TypeFor[words]():
		return wrongType(pointer, `an array of strings, or a string such as "a,-b"`, "")
	case errors.As(err, &inner):
		return wrongType(pointer, kindName(inner.Type), "")
	case fault.GoType == reflect.TypeFor[auth.Time]():
		return wrongType(pointer, `a time as in RFC 3339, such as "2026-11-20T09:30:00Z"`, "")
	}
	return wrongType(pointer, kindName(fault.GoType), found(fault.JSONKind))
}

func wrongType(pointer, want, found string) error {
	return errs.At(errs.Invalid, pointer, "type", nameOf(pointer)+" must be "+want+found)
}

// nameOf names what a pointer points to, for a text that is read without it.
func nameOf(pointer string) string {
	path, ok := rawjson.SplitPointer(pointer)
	if !ok || len(path) == 0 {
		return "the body"
	}
	name := path[len(path)-1]
	if len(name) > 64 || name == "" {
		return "a member of this name"
	}
	return name
}

// memberNames lists the members of a body.
func memberNames(t reflect.Type) []string {
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		if name := memberName(f); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func memberOf(t reflect.Type, name string) (reflect.Type, bool) {
	for _, f := range reflect.VisibleFields(t) {
		if memberName(f) == name {
			return f.Type, true
		}
	}
	return nil, false
}

func memberName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// kindName says what JSON a Go type is read from.
func kindName(t reflect.Type) string {
	if t == nil {
		return "of another type"
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	default:
		return "an object"
	}
}

func found(k jsontext.Kind) string {
	switch k {
	case 'n':
		return ", not null"
	case 't', 'f':
		return ", not true or false"
	case '"':
		return ", not a string"
	case '0':
		return ", not this number"
	case '[':
		return ", not an array"
	case '{':
		return ", not an object"
	}
	return ""
}
