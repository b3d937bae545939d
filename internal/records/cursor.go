package records

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"croft/internal/errs"
	"croft/internal/records/rawjson"
)

// position is a place in the order of a list: beside a row, whose values of the sort's fields and id it holds; without an
// id it is the beginning, or backward the end.
type position struct {
	backward bool     // the page before it is wanted, not the one after
	values   [][]byte // raw, nil where missing, one for each field of the sort
	id       string
}

func (p *position) placed() bool { return p != nil && p.id != "" }

// A cursor is a position as its holder sees it: opaque, and bound to the collection, the filter and the sort of its list. It
// is, in base64url,
//
//	u8 version, u8 backward, 8 bytes of the query's digest, u8 length of the id, the id,
//	JSON array of the values, where [] stands for a missing one and [v] for v,
//	8 bytes of a digest of all before and the file's id
//
// The digest keeps changed cursors out. It guards nothing: whatever the position, a list shows what its caller may read.
const cursorVersion = 1

const digestLen = 8

// queryDigest names a query as far as its cursors depend on it.
func (l *list) queryDigest() [digestLen]byte {
	b := binary.BigEndian.AppendUint32(nil, l.coll.number)
	for _, s := range append([]string{l.q.Filter}, l.q.Sort...) {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	sum := sha256.Sum256(b)
	return [digestLen]byte(sum[:])
}

func (l *list) seal(b []byte) [digestLen]byte {
	id := l.r.db.FileID()
	sum := sha256.Sum256(append(b[:len(b):len(b)], id[:]...))
	return [digestLen]byte(sum[:])
}

// appendCursor appends a cursor, quoted.
func (l *list) appendCursor(dst []byte, p *position) []byte {
	digest := l.queryDigest()
	b := make([]byte, 0, 128)
	b = append(b, cursorVersion, 0)
	if p.backward {
		b[1] = 1
	}
	b = append(append(append(b, digest[:]...), byte(len(p.id))), p.id...)
	b = append(b, '[')
	for i, v := range p.values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '['), v...), ']')
	}
	b = append(b, ']')
	sum := l.seal(b)
	dst = append(dst, '"')
	dst = base64.RawURLEncoding.AppendEncode(dst, append(b, sum[:]...))
	return append(dst, '"')
}

// parseCursor reads a cursor of this query. Whatever it is given, it returns a position that fits the list's sort.
func (l *list) parseCursor(text string) (*position, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	const head = 2 + digestLen + 1
	if err != nil || len(b) < head+digestLen || b[0] != cursorVersion {
		return nil, errNoCursor
	}
	body := b[:len(b)-digestLen]
	if sum := l.seal(body); string(sum[:]) != string(b[len(body):]) {
		return nil, errNoCursor
	}
	if digest := l.queryDigest(); string(digest[:]) != string(b[2:2+digestLen]) {
		return nil, badCursor("this cursor is of another list: keep the collection, filter and sort, or begin without a cursor")
	}
	p := &position{backward: b[1] == 1}
	idEnd := head + int(b[head-1])
	if idEnd > len(body) {
		return nil, errNoCursor
	}
	if idEnd == head {
		return p, nil
	}
	p.id = string(body[head:idEnd])
	values, err := rawjson.Canonical(nil, body[idEnd:], rawjson.Limits{})
	if err != nil || !idPattern.MatchString(p.id) {
		return nil, errNoCursor
	}
	for it := rawjson.Elements(values); it.Next(); {
		var value []byte
		for inner := rawjson.Elements(it.Value()); inner.Next(); {
			value = inner.Value()
		}
		p.values = append(p.values, value)
	}
	if len(p.values) != len(l.values) {
		return nil, errNoCursor
	}
	return p, nil
}

var errNoCursor = badCursor("this is no cursor of a list: send back next or prev as you got it")

func badCursor(text string) error { return errs.At(errs.BadCursor, "/cursor", "bad_cursor", text) }
