package expr

import (
	"math"
	"time"
)

// The range of timestamps, as CEL's: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z, in Unix seconds.
const (
	minUnix = -62135596800
	maxUnix = 253402300799
)

// parseTimestamp reads RFC 3339 strictly, without allocating: what time.Parse lets pass besides (a comma, one digit
// of an hour) is refused, and digits of the second beyond the ninth are cut off, as cel-go does both.
func parseTimestamp(s []byte) (sec int64, nano int32, ok bool) {
	if len(s) < len("2006-01-02T15:04:05Z") || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return 0, 0, false
	}
	year := digits(s[0:4])
	month, day := digits(s[5:7]), digits(s[8:10])
	hour, minute, second := digits(s[11:13]), digits(s[14:16]), digits(s[17:19])
	if year < 0 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
		second < 0 || second > 59 {
		return 0, 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if t.Day() != day {
		return 0, 0, false // the 30th of February
	}
	rest := s[19:]
	if rest[0] == '.' {
		n := 1
		for scale := int32(1e8); n < len(rest) && rest[n]-'0' <= 9; n++ {
			nano += int32(rest[n]-'0') * scale
			scale /= 10
		}
		if n == 1 {
			return 0, 0, false
		}
		rest = rest[n:]
	}
	sec = t.Unix()
	switch {
	case len(rest) == 1 && rest[0] == 'Z':
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		h, m := digits(rest[1:3]), digits(rest[4:6])
		if h < 0 || h > 23 || m < 0 || m > 59 {
			return 0, 0, false
		}
		offset := int64(h*3600 + m*60)
		if rest[0] == '+' {
			offset = -offset
		}
		sec += offset
	default:
		return 0, 0, false
	}
	return sec, nano, sec >= minUnix && sec <= maxUnix
}

// digits is the number that decimal digits denote, -1 if they aren't all digits.
func digits(s []byte) int {
	n := 0
	for _, c := range s {
		if c-'0' > 9 {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// parseDuration reads what time.ParseDuration reads: "90s", "1h30m", "-1.5h".
func parseDuration(s []byte) (d time.Duration, ok bool) {
	d, err := time.ParseDuration(string(s))
	return d, err == nil
}

// addTime sets out to the timestamp t plus d, unless that is out of range.
func addTime(out, t *Value, d int64) bool {
	sec := int64(t.num) + d/1e9
	nano := int64(t.nano) + d%1e9
	switch {
	case nano < 0:
		sec, nano = sec-1, nano+1e9
	case nano >= 1e9:
		sec, nano = sec+1, nano-1e9
	}
	if sec < minUnix || sec > maxUnix {
		return false
	}
	out.typ, out.num, out.nano = TypeTimestamp, uint64(sec), int32(nano)
	return true
}

// subTime sets out to the duration from b to a, unless it is too long for one (292 years).
func subTime(out, a, b *Value) bool {
	sec := int64(a.num) - int64(b.num) // no overflow: both are in the range of timestamps
	nano := int64(a.nano) - int64(b.nano)
	ns, ok := multiply(sec, 1e9)
	if !ok {
		return false
	}
	if ns, ok = add(ns, nano); !ok {
		return false
	}
	out.typ, out.num = TypeDuration, uint64(ns)
	return true
}

// add, subtract and multiply are those of int64, and whether there was no overflow.
func add(a, b int64) (int64, bool) {
	c := a + b
	return c, (c > a) == (b > 0)
}

func subtract(a, b int64) (int64, bool) {
	c := a - b
	return c, (c < a) == (b > 0)
}

func multiply(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	c := a * b
	return c, c/b == a && !(a == -1 && b == math.MinInt64) && !(b == -1 && a == math.MinInt64)
}
