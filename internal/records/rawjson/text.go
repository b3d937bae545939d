package rawjson

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// stops marks the bytes that end a plain run inside a string.
var stops = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

// text copies the string at pos, which is at its opening quote.
func (p *parser) text() error {
	p.pos++
	p.dst = append(p.dst, '"')
	for {
		start := p.pos
		var all byte // the bits of the run's bytes: is any beyond ASCII?
		i := start
		for i < len(p.src) && !stops[p.src[i]] {
			all |= p.src[i]
			i++
		}
		p.pos = i
		if all >= utf8.RuneSelf && !utf8.Valid(p.src[start:i]) {
			return p.failAt(start+firstInvalid(p.src[start:i]), CodeUTF8, "the text is not valid UTF-8")
		}
		p.dst = append(p.dst, p.src[start:i]...)
		if i >= len(p.src) {
			return p.unexpected(`a closing double quote`)
		}
		switch p.src[i] {
		case '"':
			p.pos++
			p.dst = append(p.dst, '"')
			return nil
		case '\\':
			r, n, err := p.escape(p.src[i:])
			if err != nil {
				return err
			}
			p.pos += n
			p.dst = appendRune(p.dst, r)
		default:
			return p.fail(CodeInvalid, "a control character in a string must be escaped (as in \\n)")
		}
	}
}

func firstInvalid(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}

// escape reads the escape sequence that b begins with: its character and its length.
func (p *parser) escape(b []byte) (rune, int, error) {
	if len(b) < 2 {
		return 0, 0, p.unexpected("an escape sequence")
	}
	if r := unescape(b[1]); r >= 0 {
		return r, 2, nil
	}
	if b[1] != 'u' {
		return 0, 0, p.fail(CodeInvalid, `a backslash must be followed by one of "\/bfnrtu`)
	}
	r, ok := hex4(b)
	if !ok {
		return 0, 0, p.fail(CodeInvalid, `\u must be followed by four hexadecimal digits`)
	}
	if !utf16.IsSurrogate(r) {
		return r, 6, nil
	}
	if low, ok := hex4(b[6:]); ok {
		if r := utf16.DecodeRune(r, low); r != utf8.RuneError {
			return r, 12, nil
		}
	}
	return 0, 0, p.fail(CodeUTF8, "half of a surrogate pair stands alone, which is not a character")
}

// unescape is the character for the letter after a backslash, -1 when there is none.
func unescape(c byte) rune {
	switch c {
	case '"', '\\', '/':
		return rune(c)
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return -1
}

// hex4 reads \uXXXX at the start of b.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

const hexDigits = "0123456789abcdef"

// appendRune writes one character of a string, escaped only where JSON demands it.
func appendRune(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	if r < 0x20 {
		return append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
	}
	return utf8.AppendRune(dst, r)
}

// AppendString appends s as a canonical JSON string. Bytes that are not UTF-8
// become U+FFFD; JSON has no way to hold them.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf && !stops[c] {
			i++
			continue
		}
		r, n := rune(c), 1
		if c >= utf8.RuneSelf {
			if r, n = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		dst = appendRune(dst, r)
		i += n
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// AppendKey appends name as a member's name, with the colon.
func AppendKey(dst []byte, name string) []byte {
	return append(AppendString(dst, name), ':')
}

// Plain is the inside of a quoted canonical string when it has no escapes, and
// so is the text itself; it shares quoted's memory.
func Plain(quoted []byte) (text []byte, ok bool) {
	if len(quoted) < 2 {
		return nil, false
	}
	text = quoted[1 : len(quoted)-1]
	return text, bytes.IndexByte(text, '\\') < 0
}

// UnquoteTo appends the text that a quoted canonical string stands for.
func UnquoteTo(dst, quoted []byte) []byte {
	if len(quoted) < 2 {
		return dst
	}
	b := quoted[1 : len(quoted)-1]
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 >= len(b) {
			return append(dst, b...)
		}
		dst = append(dst, b[:i]...)
		b = b[i:]
		n := 2
		r := unescape(b[1])
		if r < 0 {
			// Canonical text has \u only for control characters: never surrogates.
			u, ok := hex4(b)
			if !ok {
				return append(dst, b...)
			}
			r, n = u, 6
		}
		dst = utf8.AppendRune(dst, r)
		b = b[n:]
	}
}

// Text is the text that a quoted canonical string stands for.
func Text(quoted []byte) string {
	if text, ok := Plain(quoted); ok {
		return string(text)
	}
	return string(UnquoteTo(nil, quoted))
}
