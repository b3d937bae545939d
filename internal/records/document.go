package records

import (
	"regexp"
	"slices"
	"strconv"
	"time"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records/rawjson"
)

// Document is a record, or what a caller may see of it.
type Document struct {
	ID       string
	Rev      string
	JSON     []byte
	Modified bool // false when a condition of a GET says that the caller has this revision
}

// timeLayout is RFC 3339 in UTC with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// revLen is the length of a rev: the number of the record's last change in hexadecimal, which sorts as the number does.
// Its 48 bits are those of the store's sequence. All are of one length, so that the writer can set it in place.
const revLen = 12

func appendRev(dst []byte, seq uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 4 * (revLen - 1); shift >= 0; shift -= 4 {
		dst = append(dst, digits[seq>>shift&0xf])
	}
	return dst
}

// seqOf is the number of the change that made a rev.
func seqOf(rev []byte) (uint64, error) { return strconv.ParseUint(string(rev), 16, 64) }

// idPattern is what record ids are made of; they stand in URLs, keys and file names as they are.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func checkID(id, pointer string) error {
	if !idPattern.MatchString(id) {
		return errs.At(errs.Invalid, pointer, "bad_id", "a record's id has 1 to 64 letters, digits, - and _")
	}
	return nil
}

// The system fields, which stand first in every record, in this order. Schemas can't have fields of these names.
var systemFields = []string{"id", "rev", "created", "updated", "owner"}

// system holds the system fields of a record, raw; a nil one was not given.
type system struct{ id, rev, created, updated, owner []byte }

func (s *system) field(name []byte) *[]byte {
	switch string(name) {
	case `"id"`:
		return &s.id
	case `"rev"`:
		return &s.rev
	case `"created"`:
		return &s.created
	case `"updated"`:
		return &s.updated
	case `"owner"`:
		return &s.owner
	}
	return nil
}

// split separates the system fields of a canonical object from the rest, which it appends to dst as an object.
func split(dst, object []byte) (system, []byte) {
	var s system
	dst = append(dst, '{')
	first := true
	for it := rawjson.Members(object); it.Next(); {
		if f := s.field(it.Key()); f != nil {
			*f = it.Value()
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(append(dst, it.Key()...), ':'), it.Value()...)
	}
	return s, append(dst, '}')
}

// check refuses system fields that the caller may not set. now holds those of the record as it is, or is nil for a new one.
func (s *system) check(c *identity.Caller, now *system) error {
	var faults []errs.Field
	refuse := func(field, message string) {
		faults = append(faults, errs.Field{Pointer: "/" + field, Code: "read_only", Message: message})
	}
	for _, f := range []struct {
		name       string
		given, has []byte
	}{{"rev", s.rev, now.of("rev")}, {"created", s.created, now.of("created")}, {"updated", s.updated, now.of("updated")}} {
		if f.given != nil && (now == nil || string(f.given) != string(f.has)) {
			refuse(f.name, "is set by Croft: leave it out")
		}
	}
	if now != nil && s.id != nil && string(s.id) != string(now.id) {
		refuse("id", "can't be changed: it must be the id in the address")
	}
	if s.owner != nil && (now == nil || string(s.owner) != string(now.owner)) {
		switch kind := rawjson.KindOf(s.owner); {
		case kind != rawjson.String && kind != rawjson.Null:
			faults = append(faults, errs.Field{Pointer: "/owner", Code: "type", Message: "must be a user's id or null"})
		case !c.IsAdmin() && (now != nil || rawjson.Text(s.owner) != c.ID || c.ID == ""):
			refuse("owner", "is the user who created the record; only an admin may set it")
		}
	}
	if faults == nil {
		return nil
	}
	return &errs.Error{Code: errs.Invalid, Text: faults[0].Message, Fields: faults}
}

func (s *system) of(field string) []byte {
	if s == nil {
		return nil
	}
	return *s.field([]byte(`"` + field + `"`))
}

// appendRecord appends a record: its system fields, and the rest of its members, which are an object. Its rev is a
// placeholder of zeros, for setRev.
func appendRecord(dst []byte, s *system, rest []byte) []byte {
	dst = append(append(dst, `{"id":`...), s.id...)
	dst = append(dst, `,"rev":"000000000000"`...)
	dst = append(append(dst, `,"created":`...), s.created...)
	dst = append(append(dst, `,"updated":`...), s.updated...)
	dst = append(append(dst, `,"owner":`...), s.owner...)
	if len(rest) > len(`{}`) {
		dst = append(append(dst, ','), rest[1:len(rest)-1]...)
		return append(dst, '}')
	}
	return append(dst, '}')
}

// revAt is where the rev stands in the JSON of a record: ids need no escapes.
func revAt(id string) int { return len(`{"id":"`) + len(id) + len(`","rev":"`) }

// revOf is the rev of a stored record.
func revOf(json []byte, id string) []byte {
	at := revAt(id)
	if len(json) < at+revLen {
		return nil
	}
	return json[at : at+revLen]
}

// revField is the number of the rev among the fields of a record.
const revField = 1

// setRev puts the number of its change into a stored record, as built by appendStored from appendRecord: into the JSON, and its hash
// into the directory.
func setRev(value []byte, id string, seq uint64) {
	n := int(value[1])<<8 | int(value[2])
	json := value[directoryHeader+n*(2+int(value[0])):]
	at := revAt(id)
	appendRev(json[at:at], seq)
	value[directoryHeader+n+revField] = hash(json[at-1 : at+revLen+1])
}

// ownerOf is the owner of what a caller creates, raw: null when it is by nobody, or by the operator.
func ownerOf(c *identity.Caller) []byte {
	if c.ID == "" {
		return []byte("null")
	}
	return rawjson.AppendString(nil, c.ID)
}

func appendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, timeLayout)
	return append(dst, '"')
}

// isSystem reports whether a top-level field is Croft's.
func isSystem(field string) bool { return slices.Contains(systemFields, field) }
