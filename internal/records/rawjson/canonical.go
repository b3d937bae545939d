package rawjson

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"sync"
)

// DefaultDepth is how deep arrays and objects may nest when Limits does not say.
const DefaultDepth = 64

// Limits are what Canonical and Validate hold a text to, besides being JSON.
// The zero value is good.
type Limits struct {
	Depth    int  // how deep arrays and objects may nest; 0 is DefaultDepth
	NoDollar bool // refuse names that begin with "$", at every level
}

// Canonical appends the canonical form of src to dst, which must not overlap
// it. The error is an *Error.
func Canonical(dst, src []byte, lim Limits) ([]byte, error) {
	var room [16]key // of most records' names; longer ones move to the heap
	p := parser{src: src, dst: dst, depth: lim.Depth, noDollar: lim.NoDollar, keys: room[:0]}
	if p.depth <= 0 {
		p.depth = DefaultDepth
	}
	if err := p.value(); err != nil {
		return dst, err
	}
	p.space()
	if p.pos < len(src) {
		return dst, p.fail(CodeTrailing, "there is something after the end of the JSON value")
	}
	return p.dst, nil
}

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// maxScratch keeps one huge text from occupying memory for ever.
const maxScratch = 64 << 10

// Validate is Canonical without the result.
func Validate(src []byte, lim Limits) error {
	buf := scratch.Get().(*[]byte)
	out, err := Canonical((*buf)[:0], src, lim)
	if cap(out) <= maxScratch {
		*buf = out
		scratch.Put(buf)
	}
	return err
}

// A parser copies one JSON text from src to dst.
type parser struct {
	src      []byte
	pos      int // of the next byte in src
	dst      []byte
	depth    int // levels left
	noDollar bool
	keys     []key // names of the open objects, outermost first
}

// A key is a member's name: where it stands in dst (quoted), and where it began in src.
type key struct {
	start, end, offset int
}

func (p *parser) fail(code, format string, args ...any) *Error {
	return p.failAt(p.pos, code, format, args...)
}

func (p *parser) failAt(offset int, code, format string, args ...any) *Error {
	return &Error{Offset: offset, Code: code, Msg: fmt.Sprintf(format, args...)}
}

// unexpected is the error for the byte at pos, where want should stand.
func (p *parser) unexpected(want string) *Error {
	if p.pos >= len(p.src) {
		return p.fail(CodeInvalid, "expected %s but the text ends", want)
	}
	if c := p.src[p.pos]; c > ' ' && c < 0x7f {
		return p.fail(CodeInvalid, "expected %s but found %q", want, string(rune(c)))
	}
	return p.fail(CodeInvalid, "expected %s but found byte 0x%02x", want, p.src[p.pos])
}

func (p *parser) space() {
	for p.pos < len(p.src) {
		switch p.src[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// peek skips white space and is the byte after it, 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.src) && p.src[p.pos] > ' ' {
		return p.src[p.pos]
	}
	p.space()
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

func (p *parser) value() error {
	switch c := p.peek(); c {
	case '"':
		return p.text()
	case '{':
		return p.object()
	case '[':
		return p.array()
	case 't':
		return p.word("true")
	case 'f':
		return p.word("false")
	case 'n':
		return p.word("null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return p.number()
		}
		return p.unexpected("a JSON value")
	}
}

func (p *parser) word(w string) error {
	if len(p.src)-p.pos < len(w) || string(p.src[p.pos:p.pos+len(w)]) != w {
		return p.unexpected("a JSON value (did you forget quotes?)")
	}
	p.pos += len(w)
	p.dst = append(p.dst, w...)
	return nil
}

func (p *parser) array() error {
	if p.depth == 0 {
		return p.fail(CodeDepth, "arrays and objects are nested too deep")
	}
	p.depth--
	p.pos++
	p.dst = append(p.dst, '[')
	if p.peek() == ']' {
		return p.close(']')
	}
	for i := 0; ; i++ {
		if err := p.value(); err != nil {
			return err.(*Error).under(strconv.Itoa(i))
		}
		switch p.peek() {
		case ',':
			p.pos++
			p.dst = append(p.dst, ',')
		case ']':
			return p.close(']')
		default:
			return p.unexpected(`"," or "]"`)
		}
	}
}

func (p *parser) close(c byte) error {
	p.depth++
	p.pos++
	p.dst = append(p.dst, c)
	return nil
}

// manyKeys is from how many members on duplicates are looked for by sorting:
// comparing each with all earlier ones is quick for few and allocates nothing,
// but quadratic.
const manyKeys = 32

func (p *parser) object() error {
	if p.depth == 0 {
		return p.fail(CodeDepth, "arrays and objects are nested too deep")
	}
	p.depth--
	p.pos++
	p.dst = append(p.dst, '{')
	if p.peek() == '}' {
		return p.close('}')
	}
	base := len(p.keys)
	var seen uint64 // a bit for each name's hash: no bit, no earlier equal name
	for {
		if p.peek() != '"' {
			return p.unexpected("a name in double quotes")
		}
		k := key{start: len(p.dst), offset: p.pos}
		if err := p.text(); err != nil {
			return err
		}
		k.end = len(p.dst)
		name := p.dst[k.start:k.end]
		if p.noDollar && name[1] == '$' {
			return p.failAt(k.offset, CodeReserved, `names must not begin with "$"`).under(Text(name))
		}
		if len(p.keys)-base < manyKeys {
			bit := uint64(1) << (uint(len(name)*7+int(name[1])*5+int(name[len(name)-2])) % 64)
			if seen&bit != 0 {
				for _, earlier := range p.keys[base:] {
					if bytes.Equal(name, p.dst[earlier.start:earlier.end]) {
						return p.duplicate(k)
					}
				}
			}
			seen |= bit
		}
		p.keys = append(p.keys, k)

		if p.peek() != ':' {
			return p.unexpected(`":" after the name`)
		}
		p.pos++
		p.dst = append(p.dst, ':')
		if err := p.value(); err != nil {
			return err.(*Error).under(Text(p.dst[k.start:k.end]))
		}
		switch p.peek() {
		case ',':
			p.pos++
			p.dst = append(p.dst, ',')
		case '}':
			if len(p.keys)-base > manyKeys {
				if err := p.sortedDuplicate(p.keys[base:]); err != nil {
					return err
				}
			}
			p.keys = p.keys[:base]
			return p.close('}')
		default:
			return p.unexpected(`"," or "}"`)
		}
	}
}

func (p *parser) duplicate(k key) *Error {
	return p.failAt(k.offset, CodeDuplicate, "the name stands twice in one object").under(Text(p.dst[k.start:k.end]))
}

// sortedDuplicate looks for equal names by sorting keys, which it may reorder.
func (p *parser) sortedDuplicate(keys []key) error {
	slices.SortFunc(keys, func(a, b key) int {
		if c := bytes.Compare(p.dst[a.start:a.end], p.dst[b.start:b.end]); c != 0 {
			return c
		}
		return a.start - b.start
	})
	for i := 1; i < len(keys); i++ {
		if bytes.Equal(p.dst[keys[i-1].start:keys[i-1].end], p.dst[keys[i].start:keys[i].end]) {
			return p.duplicate(keys[i])
		}
	}
	return nil
}
