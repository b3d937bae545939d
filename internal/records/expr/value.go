package expr

import (
	"bytes"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// A Type is the type of a Value.
type Type uint8

// The types of values.
const (
	TypeNull Type = iota
	TypeBool
	TypeInt
	TypeDouble
	TypeString
	TypeTimestamp
	TypeDuration
	TypeList
	TypeMap
)

var typeText = [...]string{
	TypeNull: "null", TypeBool: "a bool", TypeInt: "a number", TypeDouble: "a number", TypeString: "a string",
	TypeTimestamp: "a timestamp", TypeDuration: "a duration", TypeList: "a list", TypeMap: "an object",
}

func (t Type) String() string { return typeText[t] }

// A Value is what an expression yields. Strings, lists and objects that come from a record are slices of the
// record's own bytes (or of the Program's scratch memory): they are valid until the next evaluation only.
type Value struct {
	typ  Type
	nano int32   // Timestamp: 0 to 999,999,999
	num  uint64  // Bool: 0 or 1; Int, Duration (ns), Timestamp (Unix seconds): as int64; Double: its bits
	b    []byte  // String: its text; Map, and List where it comes from JSON: the JSON
	list []Value // List where b is nil
}

// The constructors of values.
var (
	NullValue  = Value{}
	TrueValue  = Value{typ: TypeBool, num: 1}
	FalseValue = Value{typ: TypeBool}
)

// BoolValue is b as a Value.
func BoolValue(b bool) Value {
	if b {
		return TrueValue
	}
	return FalseValue
}

// IntValue is i as a Value.
func IntValue(i int64) Value { return Value{typ: TypeInt, num: uint64(i)} }

// DoubleValue is f as a Value.
func DoubleValue(f float64) Value { return Value{typ: TypeDouble, num: math.Float64bits(f)} }

// StringValue is s as a Value.
func StringValue(s string) Value { return Value{typ: TypeString, b: []byte(s)} }

// TimestampValue is t as a Value.
func TimestampValue(t time.Time) Value {
	return Value{typ: TypeTimestamp, num: uint64(t.Unix()), nano: int32(t.Nanosecond())}
}

// DurationValue is d as a Value.
func DurationValue(d time.Duration) Value { return Value{typ: TypeDuration, num: uint64(d)} }

// Type is the value's type.
func (v *Value) Type() Type { return v.typ }

// Bool is a Bool's value; false for other types.
func (v *Value) Bool() bool { return v.typ == TypeBool && v.num != 0 }

// Int is an Int's value.
func (v *Value) Int() int64 { return int64(v.num) }

// Text is a String's value.
func (v *Value) Text() string { return string(v.b) }

// Time is a Timestamp's value, in UTC.
func (v *Value) Time() time.Time { return time.Unix(int64(v.num), int64(v.nano)).UTC() }

// Duration is a Duration's value.
func (v *Value) Duration() time.Duration { return time.Duration(v.num) }

// Number reports whether v is an Int or a Double.
func (v *Value) Number() bool { return v.typ == TypeInt || v.typ == TypeDouble }

// Float is the double nearest to a number, and whether it is the number itself.
func (v *Value) Float() (f float64, exact bool) {
	if v.typ == TypeDouble {
		return math.Float64frombits(v.num), true
	}
	f = float64(int64(v.num))
	return f, compareIntFloat(int64(v.num), f) == 0
}

// float is Float for use where v is a number and rounding doesn't matter.
func (v *Value) float() float64 {
	if v.typ == TypeDouble {
		return math.Float64frombits(v.num)
	}
	return float64(int64(v.num))
}

// isNaN reports whether v is what 0.0 / 0.0 yields: it has no order, and no comparison but != is true of it.
func (v *Value) isNaN() bool { return v.typ == TypeDouble && v.float() != v.float() }

// whole is the value of an Int, or of a Double that is a whole number of an Int's range.
func (v *Value) whole() (i int64, ok bool) {
	switch v.typ {
	case TypeInt:
		return int64(v.num), true
	case TypeDouble:
		f := math.Float64frombits(v.num)
		if f == math.Trunc(f) && f >= -1<<63 && f < 1<<63 {
			return int64(f), true
		}
	}
	return 0, false
}

// AppendJSON appends v as JSON: timestamps and durations as the strings that timestamp() and duration() read, and
// doubles that JSON has no number for (infinities) as strings.
func (v *Value) AppendJSON(dst []byte) []byte {
	switch v.typ {
	case TypeBool:
		return strconv.AppendBool(dst, v.num != 0)
	case TypeInt:
		return strconv.AppendInt(dst, int64(v.num), 10)
	case TypeDouble:
		f := math.Float64frombits(v.num)
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return strconv.AppendQuote(dst, strconv.FormatFloat(f, 'g', -1, 64))
		}
		return strconv.AppendFloat(dst, f, 'g', -1, 64)
	case TypeString:
		return appendJSONString(dst, v.b)
	case TypeTimestamp:
		return appendJSONString(dst, v.Time().AppendFormat(nil, time.RFC3339Nano))
	case TypeDuration:
		return appendJSONString(dst, []byte(v.Duration().String()))
	case TypeMap:
		return append(dst, v.b...)
	case TypeList:
		if v.b != nil {
			return append(dst, v.b...)
		}
		dst = append(dst, '[')
		for i := range v.list {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = v.list[i].AppendJSON(dst)
		}
		return append(dst, ']')
	}
	return append(dst, "null"...)
}

// String is v as JSON, for people.
func (v Value) String() string { return string(v.AppendJSON(nil)) }

// setBool, setInt and setDouble leave the rest of v as it is: it is not looked at.
func (v *Value) setBool(b bool) {
	v.typ, v.num = TypeBool, 0
	if b {
		v.num = 1
	}
}

func (v *Value) setInt(i int64)      { v.typ, v.num = TypeInt, uint64(i) }
func (v *Value) setDouble(f float64) { v.typ, v.num = TypeDouble, math.Float64bits(f) }

// decode makes v the value of one JSON value. Strings with escapes are decoded to the end of scratch.
func (v *Value) decode(raw []byte, scratch *[]byte) {
	v.b, v.list = nil, nil
	if len(raw) == 0 {
		v.typ = TypeNull
		return
	}
	switch raw[0] {
	case '"':
		v.typ, v.b = TypeString, unquote(raw, scratch)
	case '{':
		v.typ, v.b = TypeMap, raw
	case '[':
		v.typ, v.b = TypeList, raw
	case 't', 'f':
		v.setBool(raw[0] == 't')
	case 'n':
		v.typ = TypeNull
	default:
		v.setDouble(number(raw))
	}
}

// compare orders a and b: -1, 0, 1, or ok=false where their types have no order between them. Booleans, numbers
// (exactly, whatever their types), strings (by code point), timestamps and durations have one; NaN has none.
func compare(a, b *Value) (c int, ok bool) {
	switch {
	case a.typ == TypeDouble && b.typ == TypeDouble:
		return compareFloats(math.Float64frombits(a.num), math.Float64frombits(b.num))
	case a.typ == TypeInt && b.typ == TypeDouble:
		f := math.Float64frombits(b.num)
		return compareIntFloat(int64(a.num), f), f == f
	case a.typ == TypeDouble && b.typ == TypeInt:
		f := math.Float64frombits(a.num)
		return -compareIntFloat(int64(b.num), f), f == f
	case a.typ != b.typ:
		return 0, false
	}
	switch a.typ {
	case TypeString:
		return bytes.Compare(a.b, b.b), true
	case TypeTimestamp:
		if a.num == b.num {
			return compareInts(int64(a.nano), int64(b.nano)), true
		}
		return compareInts(int64(a.num), int64(b.num)), true
	case TypeBool, TypeInt, TypeDuration:
		return compareInts(int64(a.num), int64(b.num)), true
	}
	return 0, false
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func compareFloats(a, b float64) (c int, ok bool) {
	switch {
	case a < b:
		return -1, true
	case a > b:
		return 1, true
	}
	return 0, a == b
}

// compareIntFloat compares exactly, where cel-go rounds the int to a double first. f must not be NaN.
func compareIntFloat(i int64, f float64) int {
	switch {
	case f >= 1<<63:
		return -1
	case f < -1<<63:
		return 1
	}
	whole := int64(f) // f's fraction is cut off, toward zero
	if c := compareInts(i, whole); c != 0 {
		return c
	}
	c, _ := compareFloats(float64(whole), f) // equal but for the fraction
	return c
}

// size is the length of a string in characters, of a list in elements, of an object in members.
func (v *Value) size() (n int, ok bool) {
	switch v.typ {
	case TypeString:
		return utf8.RuneCount(v.b), true
	case TypeList:
		if v.b == nil {
			return len(v.list), true
		}
		return count(v.b), true
	case TypeMap:
		return count(v.b), true
	}
	return 0, false
}
