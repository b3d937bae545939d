package rawjson

import (
	"bytes"
	"math"
	"strconv"
)

// A double keeps every decimal number of up to 15 significant digits, and no
// two of them are the same double (DBL_DIG in C). So such a number is its own
// shortest spelling once the zeros at the fraction's end are gone.
const safeDigits = 15

// number copies the number at pos.
//
// It is refused unless a double keeps it: the shortest decimal that reads as
// the nearest double must be the same number as the text. So 0.1, 1.50 and 1e22
// are kept (as 0.1, 1.5 and 1e+22), and 9007199254740993, 1e999, 1e-999 and
// 0.1000000000000000055511 are refused, where others would store a neighbour
// without a word. Whatever a program with doubles prints is kept.
func (p *parser) number() error {
	start := p.pos
	i := start
	src := p.src
	if src[i] == '-' {
		i++
	}
	whole := i
	for i < len(src) && isDigit(src[i]) {
		i++
	}
	if i == whole {
		p.pos = i
		return p.unexpected("a digit")
	}
	if src[whole] == '0' && i > whole+1 {
		p.pos = whole
		return p.fail(CodeInvalid, "a number must not begin with 0")
	}
	end := i // of the digits, without the zeros at the fraction's end
	digits := i - whole
	if i < len(src) && src[i] == '.' {
		i++
		fraction := i
		for i < len(src) && isDigit(src[i]) {
			if src[i] != '0' {
				end = i + 1
			}
			i++
		}
		if i == fraction {
			p.pos = i
			return p.unexpected(`a digit after "."`)
		}
		digits += i - fraction
	}
	exponent := false
	if i < len(src) && (src[i] == 'e' || src[i] == 'E') {
		exponent = true
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		first := i
		for i < len(src) && isDigit(src[i]) {
			i++
		}
		if i == first {
			p.pos = i
			return p.unexpected("a digit of the exponent")
		}
	}
	p.pos = i

	// A value below 0.1 may want an exponent: leave that to the slow way, and -0 too.
	if !exponent && digits <= safeDigits && (src[whole] != '0' || end > whole+2 && src[whole+2] != '0') {
		p.dst = append(p.dst, src[start:end]...)
		return nil
	}
	if i == start+1 { // a single 0
		p.dst = append(p.dst, '0')
		return nil
	}
	return p.slowNumber(start)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// slowNumber copies the number that ends at pos and is well formed.
func (p *parser) slowNumber(start int) error {
	text := p.src[start:p.pos]
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return p.failAt(start, CodeNumber, "the number is too large: Croft keeps numbers as doubles (up to about 1.8e308)")
	}
	var short, long [64]byte
	want := decimalOf(text, long[:0])
	got := decimalOf(strconv.AppendFloat(short[:0], math.Abs(f), 'e', -1, 64), nil)
	if want.exponent != got.exponent || !bytes.Equal(want.digits, got.digits) {
		return p.failAt(start, CodeNumber, "the number cannot be kept exactly: Croft keeps numbers as doubles (some 16 digits); send it as a string")
	}
	p.dst = AppendNumber(p.dst, f)
	return nil
}

// AppendNumber appends f, which must be finite, in the canonical spelling.
func AppendNumber(dst []byte, f float64) []byte {
	if f == 0 {
		return append(dst, '0') // -0 is 0
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// ECMAScript writes e-7 where Go writes e-07; longer exponents are alike.
	if n := len(dst); n-start >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// Number reads a canonical number.
func Number(raw []byte) (float64, bool) {
	f, err := strconv.ParseFloat(string(raw), 64)
	return f, err == nil
}

// A decimal is the number 0.digits × 10^exponent, without a sign. Its digits
// neither begin nor end with a zero, so equal numbers have equal decimals.
type decimal struct {
	digits   []byte
	exponent int
}

// decimalOf reads a well-formed number; digits go to buf as far as they fit.
func decimalOf(text, buf []byte) decimal {
	d := decimal{digits: buf}
	if text[0] == '-' {
		text = text[1:]
	}
	exponent := 0
	if i := bytes.IndexAny(text, "eE"); i >= 0 {
		exponent = saturatedInt(text[i+1:])
		text = text[:i]
	}
	fraction := false
	for _, c := range text {
		switch {
		case c == '.':
			fraction = true
		case c == '0' && len(d.digits) == 0:
			if fraction {
				d.exponent-- // 0.001 is 0.1 × 10^-2
			}
		default:
			d.digits = append(d.digits, c)
			if !fraction {
				d.exponent++
			}
		}
	}
	d.digits = bytes.TrimRight(d.digits, "0")
	if len(d.digits) == 0 {
		return decimal{}
	}
	d.exponent += exponent
	return d
}

// saturatedInt reads an exponent. Beyond a hundred million all are alike: no
// text is long enough to bring the number back into a double's range.
func saturatedInt(text []byte) int {
	const most = 100_000_000 // ten times that still fits 32 bits
	negative := text[0] == '-'
	if negative || text[0] == '+' {
		text = text[1:]
	}
	n := 0
	for _, c := range text {
		if n = n*10 + int(c-'0'); n >= most {
			n = most
			break
		}
	}
	if negative {
		return -n
	}
	return n
}
