package rawjson

import "bytes"

// A Kind is one of JSON's types.
type Kind byte

// The kinds. None is that of missing or unreadable bytes.
const (
	None Kind = iota
	Null
	False
	True
	Num
	String
	Array
	Object
)

var kinds = func() (t [256]Kind) {
	t['n'], t['f'], t['t'], t['"'], t['['], t['{'], t['-'] = Null, False, True, String, Array, Object, Num
	for c := '0'; c <= '9'; c++ {
		t[c] = Num
	}
	return t
}()

// KindOf tells the kind of a canonical value by its first byte.
func KindOf(raw []byte) Kind {
	if len(raw) == 0 {
		return None
	}
	return kinds[raw[0]]
}

// A MemberIter walks the members of an object; Members makes one.
type MemberIter struct {
	raw        []byte
	pos        int // of the next member's name, or past the end
	key, value []byte
}

// Members walks the members of a canonical object in order, without
// allocating. What is not an object has none.
//
//	for it := rawjson.Members(raw); it.Next(); {
//		use(it.Key(), it.Value())
//	}
func Members(raw []byte) MemberIter {
	if KindOf(raw) != Object {
		return MemberIter{}
	}
	return MemberIter{raw: raw, pos: 1}
}

// Next goes to the next member and says whether there is one.
func (it *MemberIter) Next() bool {
	if it.pos >= len(it.raw) || it.raw[it.pos] != '"' {
		return false
	}
	end := skipString(it.raw, it.pos)
	if end >= len(it.raw) {
		return false
	}
	it.key = it.raw[it.pos:end]
	value := end + 1 // past the colon
	end = skipValue(it.raw, value)
	if end <= value {
		return false
	}
	it.value = it.raw[value:end]
	it.pos = end + 1 // past the comma or brace
	return true
}

// Key is the member's name as it stands, quoted.
func (it *MemberIter) Key() []byte { return it.key }

// Value is the member's value; it shares the object's memory.
func (it *MemberIter) Value() []byte { return it.value }

// Name is the member's name.
func (it *MemberIter) Name() string { return Text(it.key) }

// Is tells whether the member has this name, without allocating.
func (it *MemberIter) Is(name string) bool { return TextIs(it.key, name) }

// Offset is where the member's value begins in the object.
func (it *MemberIter) Offset() int { return it.pos - 1 - len(it.value) }

// TextIs tells whether a quoted canonical string stands for this text.
func TextIs(quoted []byte, text string) bool {
	plain, ok := Plain(quoted)
	if ok {
		return string(plain) == text
	}
	var room [64]byte
	return len(quoted) >= 2 && string(UnquoteTo(room[:0], quoted)) == text
}

// An ElementIter walks the elements of an array; Elements makes one.
type ElementIter struct {
	raw   []byte
	pos   int
	value []byte
}

// Elements walks the elements of a canonical array in order, without
// allocating. What is not an array has none.
func Elements(raw []byte) ElementIter {
	if KindOf(raw) != Array {
		return ElementIter{}
	}
	return ElementIter{raw: raw, pos: 1}
}

// Next goes to the next element and says whether there is one.
func (it *ElementIter) Next() bool {
	if it.pos >= len(it.raw) {
		return false
	}
	end := skipValue(it.raw, it.pos)
	if end <= it.pos {
		return false
	}
	it.value = it.raw[it.pos:end]
	it.pos = end + 1
	return true
}

// Value is the element; it shares the array's memory.
func (it *ElementIter) Value() []byte { return it.value }

// Get is the value of an object's member, nil when there is none.
func Get(raw []byte, name string) []byte {
	for it := Members(raw); it.Next(); {
		if it.Is(name) {
			return it.value
		}
	}
	return nil
}

// Path is the value at a path of names through nested objects, nil when there
// is none. An empty path is raw itself.
func Path(raw []byte, path ...string) []byte {
	for _, name := range path {
		if raw = Get(raw, name); raw == nil {
			return nil
		}
	}
	return raw
}

// skipString is the position after the string that begins at i, len(raw) at most.
func skipString(raw []byte, i int) int {
	i++
	for i < len(raw) {
		n := bytes.IndexByte(raw[i:], '"')
		if n < 0 {
			return len(raw)
		}
		quote := i + n
		slashes := 0
		for quote-slashes-1 >= i && raw[quote-slashes-1] == '\\' {
			slashes++
		}
		i = quote + 1
		if slashes%2 == 0 {
			return i
		}
	}
	return len(raw)
}

// skipValue is the position after the value that begins at i; i itself when
// there is none.
func skipValue(raw []byte, i int) int {
	if i >= len(raw) {
		return i
	}
	switch raw[i] {
	case '"':
		return skipString(raw, i)
	case '{', '[':
		depth := 0
		for i < len(raw) {
			switch raw[i] {
			case '"':
				i = skipString(raw, i)
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
		return len(raw)
	}
	for i < len(raw) && raw[i] != ',' && raw[i] != '}' && raw[i] != ']' {
		i++
	}
	return i
}
