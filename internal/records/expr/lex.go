package expr

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	endToken    tokenKind = iota
	identToken            // a name or a word such as true, in, null
	intToken              // num, without its sign
	doubleToken           // double, without its sign
	stringToken           // str
	signToken             // an operator or a bracket: text
)

type token struct {
	kind   tokenKind
	pos    int
	text   string // as written
	num    uint64
	double float64
	str    string
}

// String describes the token in an error's "but found …".
func (t token) String() string {
	switch t.kind {
	case endToken:
		return "end of text"
	case stringToken:
		return "a string"
	}
	return `"` + t.text + `"`
}

// A lexer cuts the text into tokens. After an error it yields only endToken.
type lexer struct {
	text string
	pos  int
	err  *Error // the first error, also the parser's
}

func (l *lexer) fail(pos int, format string, args ...any) {
	if l.err == nil {
		l.err = errorAt(l.text, pos, format, args...)
	}
	l.pos = len(l.text)
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// at is the byte at i, 0 behind the end.
func (l *lexer) at(i int) byte {
	if i < len(l.text) {
		return l.text[i]
	}
	return 0
}

func (l *lexer) next() token {
	l.skipSpace()
	start := l.pos
	if start >= len(l.text) || l.err != nil {
		return token{kind: endToken, pos: len(l.text)}
	}
	switch c := l.text[start]; {
	case c == '"' || c == '\'':
		return l.stringLiteral(start, false)
	case (c == 'r' || c == 'R') && (l.at(start+1) == '"' || l.at(start+1) == '\''):
		l.pos++
		return l.stringLiteral(start, true)
	case isLetter(c):
		for isLetter(l.at(l.pos)) || isDigit(l.at(l.pos)) {
			l.pos++
		}
		if q := l.at(l.pos); q == '"' || q == '\'' {
			l.fail(start, `a string cannot begin with %s: the only prefix there is is r, for raw strings`, l.text[start:l.pos])
		}
		return token{kind: identToken, pos: start, text: l.text[start:l.pos]}
	case isDigit(c) || c == '.' && isDigit(l.at(start+1)):
		return l.numberLiteral(start)
	}
	return l.sign(start)
}

func (l *lexer) skipSpace() {
	for l.pos < len(l.text) {
		switch l.text[l.pos] {
		case ' ', '\t', '\n', '\r', '\f':
			l.pos++
		case '/':
			if l.at(l.pos+1) != '/' {
				return
			}
			end := strings.IndexByte(l.text[l.pos:], '\n')
			if end < 0 {
				end = len(l.text) - l.pos
			}
			l.pos += end
		default:
			return
		}
	}
}

func (l *lexer) sign(start int) token {
	two := l.text[start:min(start+2, len(l.text))]
	switch two {
	case "==", "!=", "<=", ">=", "&&", "||":
		l.pos += 2
		return token{kind: signToken, pos: start, text: two}
	}
	switch one := two[:1]; one {
	case "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")", "[", "]":
		l.pos++
		return token{kind: signToken, pos: start, text: one}
	case "=":
		l.fail(start, `found "=": write "==" to compare`)
	case "&", "|":
		l.fail(start, `found %q: write "%s%s"`, one, one, one)
	case "{", "}":
		l.fail(start, "found %q: this language has no way to write objects", one)
	default:
		r, _ := utf8.DecodeRuneInString(l.text[start:])
		l.fail(start, "found %q, which means nothing here", r)
	}
	return token{kind: endToken, pos: start}
}

func (l *lexer) numberLiteral(start int) token {
	t := token{kind: intToken, pos: start}
	var err error
	if l.at(start) == '0' && l.at(start+1) == 'x' {
		for l.pos = start + 2; ; l.pos++ {
			if _, ok := hexDigit(l.at(l.pos)); !ok {
				break
			}
		}
		t.num, err = strconv.ParseUint(l.text[start+2:l.pos], 16, 64)
	} else {
		l.skipDigits()
		if l.at(l.pos) == '.' && isDigit(l.at(l.pos+1)) {
			t.kind = doubleToken
			l.pos++
			l.skipDigits()
		}
		if e := l.at(l.pos); e == 'e' || e == 'E' {
			digit := l.pos + 1
			if s := l.at(digit); s == '+' || s == '-' {
				digit++
			}
			if isDigit(l.at(digit)) {
				t.kind = doubleToken
				l.pos = digit
				l.skipDigits()
			}
		}
		if t.kind == doubleToken {
			t.double, err = strconv.ParseFloat(l.text[start:l.pos], 64)
		} else {
			t.num, err = strconv.ParseUint(l.text[start:l.pos], 10, 64)
		}
	}
	t.text = l.text[start:l.pos]
	switch c := l.at(l.pos); {
	case c == 'u' || c == 'U':
		l.fail(start, "there are no unsigned numbers here: write %s", t.text)
	case isLetter(c):
		l.fail(l.pos, "expected the number %s to end, but found %q", t.text, c)
	case err != nil && t.text == "0x":
		l.fail(start, `expected hexadecimal digits behind "0x"`)
	case err != nil:
		l.fail(start, "the number %s is too large", t.text)
	}
	return t
}

func (l *lexer) skipDigits() {
	for isDigit(l.at(l.pos)) {
		l.pos++
	}
}

// stringLiteral reads the string whose quote is at l.pos and whose token began at start.
func (l *lexer) stringLiteral(start int, raw bool) token {
	quote := l.text[l.pos : l.pos+1]
	if strings.HasPrefix(l.text[l.pos:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	i := l.pos + len(quote)
	var b []byte
	for !strings.HasPrefix(l.text[i:], quote) {
		c := l.at(i)
		switch {
		case i >= len(l.text) || len(quote) == 1 && (c == '\n' || c == '\r'):
			l.fail(start, "this string does not end: expected %s", quote)
			return token{kind: endToken, pos: start}
		case c == '\\' && !raw:
			r, n := unescape(l.text[i:])
			if n == 0 {
				l.fail(i, `found an escape that does not exist: write \\ for a backslash`)
				return token{kind: endToken, pos: start}
			}
			b = utf8.AppendRune(b, r)
			i += n
		case c == '\r': // line ends in strings are \n, however the text was typed
			b = append(b, '\n')
			i++
			if l.at(i) == '\n' {
				i++
			}
		default:
			b = append(b, c)
			i++
		}
	}
	l.pos = i + len(quote)
	return token{kind: stringToken, pos: start, text: l.text[start:l.pos], str: string(b)}
}

// unescape reads the escape that s begins with; n is its length, 0 if it is none.
func unescape(s string) (r rune, n int) {
	if len(s) < 2 {
		return 0, 0
	}
	hex := 0
	switch c := s[1]; c {
	case 'a':
		return '\a', 2
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
	case 'v':
		return '\v', 2
	case '\\', '\'', '"', '`', '?':
		return rune(c), 2
	case '0', '1', '2', '3':
		if len(s) < 4 || s[2]-'0' > 7 || s[3]-'0' > 7 {
			return 0, 0
		}
		return rune(c-'0')<<6 | rune(s[2]-'0')<<3 | rune(s[3]-'0'), 4
	case 'x', 'X':
		hex = 2
	case 'u':
		hex = 4
	case 'U':
		hex = 8
	}
	if hex == 0 || len(s) < 2+hex {
		return 0, 0
	}
	for _, c := range []byte(s[2 : 2+hex]) {
		d, ok := hexDigit(c)
		if !ok || r > utf8.MaxRune {
			return 0, 0
		}
		r = r<<4 | rune(d)
	}
	if !utf8.ValidRune(r) {
		return 0, 0
	}
	return r, 2 + hex
}
