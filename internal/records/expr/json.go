package expr

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// This file reads JSON that was validated and made compact when it was written: no white space, no duplicate
// names, valid UTF-8. On anything else its results mean nothing, but it never reads out of bounds or loops.

// skip returns the index behind the JSON value that begins at b[i].
func skip(b []byte, i int) int {
	if i >= len(b) {
		return len(b)
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		depth := 0
		for i < len(b) {
			switch b[i] {
			case '"':
				i = skipString(b, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return len(b)
	}
	for i++; i < len(b); i++ {
		switch b[i] {
		case ',', '}', ']', ':':
			return i
		}
	}
	return i
}

// skipString returns the index behind the string whose quote is b[i].
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(b)
}

// member returns the JSON of the object's member of that name, nil if there is none or obj is no object.
func member(obj []byte, name string) []byte {
	if len(obj) < 2 || obj[0] != '{' {
		return nil
	}
	for i := 1; i < len(obj) && obj[i] == '"'; {
		end := skipString(obj, i) // behind the name
		start := end + 1          // behind the colon
		stop := skip(obj, start)
		if start <= stop && nameIs(obj[i:end], name) {
			return obj[start:stop]
		}
		i = stop + 1 // behind the comma
	}
	return nil
}

// borrow is b as a string without a copy, for use while b stays as it is.
func borrow(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// view is s as bytes without a copy. They must not be written to; nothing writes to a Value's bytes.
func view(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// nameIs reports whether a quoted name is name.
func nameIs(quoted []byte, name string) bool {
	if len(quoted) < 2 {
		return false
	}
	text := quoted[1 : len(quoted)-1]
	if string(text) == name {
		return true
	}
	return len(text) > len(name) && escapedIs(quoted, name)
}

// first returns the first element of an array, or the first name (quoted) of an object, and where to go on;
// nil if there is none.
func first(b []byte) (element []byte, next int) { return following(b, 1) }

// following returns the element (or the name) at next, as first does.
func following(b []byte, next int) (element []byte, then int) {
	if next >= len(b)-1 {
		return nil, len(b)
	}
	end := skip(b, next)
	element = b[next:end]
	if b[0] == '{' {
		end = skip(b, end+1)
	}
	return element, end + 1
}

// count returns how many elements or members b has.
func count(b []byte) int {
	n := 0
	for e, next := first(b); e != nil; e, next = following(b, next) {
		n++
	}
	return n
}

// unquote returns the text of a quoted string: a part of it where nothing is escaped, else appended to scratch.
func unquote(quoted []byte, scratch *[]byte) []byte {
	if len(quoted) < 2 {
		return nil
	}
	text := quoted[1 : len(quoted)-1]
	at := bytes.IndexByte(text, '\\')
	if at < 0 {
		return text
	}
	dst := *scratch
	start := len(dst)
	for ; at >= 0; at = bytes.IndexByte(text, '\\') {
		r, n := escape(text[at:])
		dst = utf8.AppendRune(append(dst, text[:at]...), r)
		text = text[at+n:]
	}
	dst = append(dst, text...)
	*scratch = dst
	return dst[start:len(dst):len(dst)]
}

// escapedIs reports whether a quoted string with escapes denotes text.
func escapedIs(quoted []byte, text string) bool {
	if len(quoted) < 2 || quoted[0] != '"' || bytes.IndexByte(quoted, '\\') < 0 {
		return false
	}
	var room [utf8.UTFMax]byte
	for s := quoted[1 : len(quoted)-1]; len(s) > 0; {
		part, n := s[:1], 1
		if s[0] == '\\' {
			var r rune
			r, n = escape(s)
			part = utf8.AppendRune(room[:0], r)
		}
		if len(text) < len(part) || text[:len(part)] != string(part) {
			return false
		}
		text, s = text[len(part):], s[n:]
	}
	return text == ""
}

// escape reads the escape that s begins with; n is its length.
func escape(s []byte) (r rune, n int) {
	if len(s) < 2 {
		return utf8.RuneError, len(s)
	}
	switch s[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, n = hex4(s[2:])
		if !utf16.IsSurrogate(r) {
			return r, 2 + n
		}
		if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
			low, _ := hex4(s[8:])
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	}
	return rune(s[1]), 2
}

// hex4 reads four hexadecimal digits; n is 4, or 0 if there are none.
func hex4(b []byte) (r rune, n int) {
	if len(b) < 4 {
		return utf8.RuneError, 0
	}
	for _, c := range b[:4] {
		d, ok := hexDigit(c)
		if !ok {
			return utf8.RuneError, 0
		}
		r = r<<4 | rune(d)
	}
	return r, 4
}

func hexDigit(c byte) (d byte, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// powers of ten up to 22 are exact as doubles, so the quotient of one and an integer below 2^53 is rounded once.
var powers = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
	1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// number reads a JSON number.
func number(b []byte) float64 {
	i, negative := 0, false
	if b[0] == '-' {
		i, negative = 1, true
	}
	var mantissa uint64
	digits, point := 0, -1
	for ; i < len(b); i++ {
		c := b[i]
		if c == '.' && point < 0 {
			point = digits
			continue
		}
		if c-'0' > 9 || digits == 15 { // 15 digits are below 2^53
			f, err := strconv.ParseFloat(string(b), 64)
			if err != nil {
				return math.NaN() // no JSON number: it equals nothing
			}
			return f
		}
		mantissa = mantissa*10 + uint64(c-'0')
		digits++
	}
	f := float64(mantissa)
	if point >= 0 {
		f /= powers[digits-point]
	}
	if negative {
		f = -f
	}
	return f
}

// appendJSONString appends s in its canonical spelling: only quotes, backslashes and control characters escaped.
func appendJSONString(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\b':
			dst = append(dst, '\\', 'b')
		case c == '\f':
			dst = append(dst, '\\', 'f')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
