package index

import (
	"bytes"
	"encoding/binary"
	"math"

	"croft/internal/records/rawjson"
)

// A Tag begins an ordered value and says its type. Tags sort as the types do.
type Tag = byte

// The tags. Number and String are followed by the value itself; the others are whole values.
const (
	Missing   Tag = 0x10
	Null      Tag = 0x20
	False     Tag = 0x30
	True      Tag = 0x40
	Number    Tag = 0x50
	String    Tag = 0x60
	Container Tag = 0x70 // an array or an object
)

// AppendValue appends the ordered form of a value in canonical JSON; nil stands for a missing one. Compared as bytes, ordered
// forms sort as the query language does: missing < null < false < true < numbers < strings < arrays and objects,
// numbers as numbers, strings by bytes, arrays and objects all alike. No ordered form is the beginning of another.
func AppendValue(dst, raw []byte, desc bool) []byte {
	start := len(dst)
	switch rawjson.KindOf(raw) {
	case rawjson.None:
		dst = append(dst, Missing)
	case rawjson.Null:
		dst = append(dst, Null)
	case rawjson.False:
		dst = append(dst, False)
	case rawjson.True:
		dst = append(dst, True)
	case rawjson.Num:
		f, _ := rawjson.Number(raw)
		dst = AppendNumber(dst, f)
	case rawjson.String:
		text, plain := rawjson.Plain(raw)
		if !plain {
			text = rawjson.UnquoteTo(nil, raw)
		}
		dst = AppendString(dst, text)
	default:
		dst = append(dst, Container)
	}
	if desc {
		invert(dst[start:])
	}
	return dst
}

// AppendNumber appends the ordered form of a number that is not NaN, ascending.
func AppendNumber(dst []byte, f float64) []byte {
	if f == 0 {
		f = 0 // and not -0
	}
	bits := math.Float64bits(f)
	if bits>>63 != 0 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return binary.BigEndian.AppendUint64(append(dst, Number), bits)
}

// AppendString appends the ordered form of a string, ascending.
func AppendString[T string | []byte](dst []byte, text T) []byte {
	return append(AppendStringPrefix(dst, text), 0x00, 0x00)
}

// AppendStringPrefix appends what the ordered forms of just those strings begin with that begin with text.
func AppendStringPrefix[T string | []byte](dst []byte, text T) []byte {
	dst = append(dst, String)
	start := len(dst)
	dst = append(dst, text...)
	i := bytes.IndexByte(dst[start:], 0x00)
	if i < 0 {
		return dst
	}
	rest := bytes.Clone(dst[start+i:])
	dst = dst[:start+i]
	for _, c := range rest {
		dst = append(dst, c)
		if c == 0x00 {
			dst = append(dst, 0xff)
		}
	}
	return dst
}

// Whole reports whether b, ascending, is the ordered form of one value: not just a beginning of some, and no Container.
func Whole(b []byte) bool {
	switch {
	case len(b) == 0:
		return false
	case b[0] == Number:
		return len(b) == 9
	case b[0] == String:
		return len(b) >= 3 && b[len(b)-2] == 0x00 && b[len(b)-1] == 0x00
	}
	return b[0] != Container
}

// After is the first key after all those that begin with b, or nil if there is none. It changes and shortens b.
func After(b []byte) []byte {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0xff {
			b[i]++
			return b[:i+1]
		}
	}
	return nil
}
