package schema

import (
	"bytes"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"croft/internal/records/rawjson"
)

// formats are the known ones: those of JSON Schema but "idn-email" and
// "idn-hostname", which would need the tables of IDNA. Both ways of validating
// use these.
var formats = map[string]func([]byte) bool{
	"date":                  isDate,
	"date-time":             isDateTime,
	"duration":              isDuration,
	"email":                 isEmail,
	"hostname":              isHostname,
	"ipv4":                  isIPv4,
	"ipv6":                  isIPv6,
	"iri":                   func(s []byte) bool { return isReference(s, true, true) },
	"iri-reference":         func(s []byte) bool { return isReference(s, true, false) },
	"json-pointer":          isJSONPointer,
	"regex":                 isRegex,
	"relative-json-pointer": isRelativePointer,
	"time":                  isTime,
	"uri":                   func(s []byte) bool { return isReference(s, false, true) },
	"uri-reference":         func(s []byte) bool { return isReference(s, false, false) },
	"uri-template":          func(s []byte) bool { return uriTemplate().Match(s) },
	"uuid":                  isUUID,
}

func formatNames() []string {
	var names []string
	for name := range formats {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// formatWords is what a value of a format is called, with an example where
// people may not know it.
func formatWords(name string) string {
	switch name {
	case "date":
		return `a date such as "2026-11-20"`
	case "date-time":
		return `a date and time with an offset, such as "2026-11-20T09:30:00Z"`
	case "duration":
		return `a duration such as "P1DT12H"`
	case "email":
		return "an e-mail address"
	case "hostname":
		return "a host name"
	case "ipv4":
		return "an IPv4 address"
	case "ipv6":
		return "an IPv6 address"
	case "iri", "uri":
		return `a full address such as "https://example.org/a"`
	case "iri-reference", "uri-reference":
		return `an address such as "https://example.org/a" or "/a"`
	case "json-pointer":
		return `a JSON Pointer such as "/a/0"`
	case "regex":
		return "a regular expression (RE2 syntax)"
	case "relative-json-pointer":
		return `a relative JSON Pointer such as "1/a"`
	case "time":
		return `a time of day with an offset, such as "09:30:00Z"`
	case "uri-template":
		return `a URI template such as "/a/{id}"`
	case "uuid":
		return "a UUID"
	}
	return "of the format " + name
}

// digits reads n decimal digits at the start of s, -1 if they aren't there.
func digits(s []byte, n int) int {
	if len(s) < n {
		return -1
	}
	v := 0
	for _, c := range s[:n] {
		if c < '0' || c > '9' {
			return -1
		}
		v = v*10 + int(c-'0')
	}
	return v
}

// isDate is full-date of RFC 3339.
func isDate(s []byte) bool {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return false
	}
	year, month, day := digits(s, 4), digits(s[5:], 2), digits(s[8:], 2)
	if year < 0 || month < 1 || month > 12 || day < 1 {
		return false
	}
	last := 31
	switch month {
	case 4, 6, 9, 11:
		last = 30
	case 2:
		last = 28
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			last = 29
		}
	}
	return day <= last
}

// isTime is full-time of RFC 3339. A leap second must be at 23:59:60 UTC.
func isTime(s []byte) bool {
	if len(s) < 9 || s[2] != ':' || s[5] != ':' {
		return false
	}
	hour, minute, second := digits(s, 2), digits(s[3:], 2), digits(s[6:], 2)
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return false
	}
	s = s[8:]
	if s[0] == '.' {
		n := 1
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		if n == 1 {
			return false
		}
		s = s[n:]
	}
	offset := 0
	switch {
	case len(s) == 1 && (s[0] == 'Z' || s[0] == 'z'):
	case len(s) == 6 && (s[0] == '+' || s[0] == '-') && s[3] == ':':
		h, m := digits(s[1:], 2), digits(s[4:], 2)
		if h < 0 || h > 23 || m < 0 || m > 59 {
			return false
		}
		offset = h*60 + m
		if s[0] == '-' {
			offset = -offset
		}
	default:
		return false
	}
	const day = 24 * 60
	return second < 60 || (hour*60+minute-offset+day)%day == day-1
}

// isDateTime is date-time of RFC 3339.
func isDateTime(s []byte) bool {
	return len(s) >= 20 && (s[10] == 'T' || s[10] == 't') && isDate(s[:10]) && isTime(s[11:])
}

// isDuration is duration of RFC 3339, appendix A: units may be left out at both
// ends, but not between others.
func isDuration(s []byte) bool {
	rest, ok := bytes.CutPrefix(s, []byte("P"))
	if !ok || len(rest) == 0 {
		return false
	}
	date, clock, timed := bytes.Cut(rest, []byte("T"))
	if weeks, ok := bytes.CutSuffix(rest, []byte("W")); ok {
		return !timed && len(weeks) > 0 && digits(weeks, len(weeks)) >= 0
	}
	if len(date) > 0 && !areUnits(date, "YMD") {
		return false
	}
	return !timed || areUnits(clock, "HMS")
}

// areUnits tells whether s is numbers with these units, in order and without gaps.
func areUnits(s []byte, units string) bool {
	next := -1 // the unit that must follow
	for len(s) > 0 {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		if n == 0 || n == len(s) {
			return false
		}
		i := strings.IndexByte(units, s[n])
		if i < 0 || next >= 0 && i != next {
			return false
		}
		next = i + 1
		s = s[n+1:]
	}
	return next >= 0
}

// isEmail is an address as people write them: Mailbox of RFC 5321.
func isEmail(s []byte) bool {
	at := bytes.LastIndexByte(s, '@')
	if at < 1 || at > 64 || len(s) > 254 { // RFC 5321, 4.5.3.1
		return false
	}
	local, domain := s[:at], s[at+1:]
	if local[0] == '"' {
		if len(local) < 2 || local[len(local)-1] != '"' {
			return false
		}
		local = local[1 : len(local)-1]
		for i := 0; i < len(local); i++ {
			if local[i] == '\\' {
				i++
				if i == len(local) {
					return false
				}
			} else if local[i] == '"' {
				return false
			}
			if local[i] < ' ' || local[i] > '~' {
				return false
			}
		}
	} else {
		dot := true // so that neither the first nor two in a row pass
		for _, c := range local {
			if c == '.' && dot || c != '.' && !isLetter(c) && !isDigit(c) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
				return false
			}
			dot = c == '.'
		}
		if dot {
			return false
		}
	}
	if len(domain) > 2 && domain[0] == '[' && domain[len(domain)-1] == ']' {
		literal := domain[1 : len(domain)-1]
		if v6, ok := bytes.CutPrefix(literal, []byte("IPv6:")); ok {
			return isIPv6(v6)
		}
		return isIPv4(literal)
	}
	return isHostname(domain)
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// isHostname is a name of RFC 1123, 2.1, in ASCII. Names of internationalized
// domains (xn--…) are not decoded.
func isHostname(s []byte) bool {
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	length := 0
	for i, c := range s {
		switch {
		case c == '.':
			if length == 0 || s[i-1] == '-' {
				return false
			}
			length = 0
			continue
		case c == '-' && length == 0, !isLetter(c) && !isDigit(c) && c != '-':
			return false
		}
		if length++; length > 63 {
			return false
		}
		if length == 4 && c == '-' && s[i-1] == '-' && !bytes.EqualFold(s[i-3:i-1], []byte("xn")) {
			return false // RFC 5891, 4.2.3.1
		}
	}
	return length > 0 && s[len(s)-1] != '-'
}

func isIPv4(s []byte) bool {
	a, err := netip.ParseAddr(string(s))
	return err == nil && a.Is4()
}

func isIPv6(s []byte) bool {
	a, err := netip.ParseAddr(string(s))
	return err == nil && a.Is6() && a.Zone() == ""
}

func isUUID(s []byte) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return false
			}
		}
	}
	return true
}

func isJSONPointer(s []byte) bool {
	_, ok := rawjson.SplitPointer(string(s))
	return ok
}

func isRelativePointer(s []byte) bool {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n == 0 || n > 1 && s[0] == '0' {
		return false
	}
	return string(s[n:]) == "#" || isJSONPointer(s[n:])
}

// isReference is URI-reference of RFC 3986, or with wide IRI-reference of RFC
// 3987; with absolute it must have a scheme. net/url splits it, and is more
// lenient with the characters.
func isReference(s []byte, wide, absolute bool) bool {
	hashes := 0
	for i, c := range s {
		switch {
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
		case c == '#':
			if hashes++; hashes > 1 {
				return false
			}
		case isLetter(c), isDigit(c), c < utf8.RuneSelf && strings.IndexByte("-._~:/?[]@!$&'()*+,;=", c) >= 0:
		case c < utf8.RuneSelf || !wide:
			return false
		}
	}
	u, err := url.Parse(string(s))
	if err != nil || absolute && u.Scheme == "" {
		return false
	}
	before, authority, ok := strings.Cut(string(s), "//")
	if !ok || strings.ContainsAny(before, "/?#") {
		authority = ""
	}
	rest := ""
	if i := strings.IndexAny(authority, "/?#"); i >= 0 {
		authority, rest = authority[:i], authority[i:]
	}
	if strings.Count(authority, "@") > 1 || strings.ContainsAny(rest, "[]") || authority == "" && bytes.ContainsAny(s, "[]") {
		return false
	}
	if strings.Contains(u.Host, "[") {
		return isIPv6([]byte(u.Hostname()))
	}
	return strings.Count(u.Host, ":") <= 1
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

// uriTemplate is the grammar of RFC 6570, section 2, with the apostrophe as
// erratum 6937 has it.
var uriTemplate = sync.OnceValue(func() *regexp.Regexp {
	const (
		literal  = `[^\x00-\x20"%<>\\^` + "`" + `{|}\x7f]|%[0-9A-Fa-f]{2}`
		char     = `(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})`
		variable = char + `(?:\.?` + char + `)*(?::[1-9][0-9]{0,3}|\*)?`
	)
	return regexp.MustCompile(`^(?:` + literal + `|\{[+#./;?&=,!@|]?` + variable + `(?:,` + variable + `)*\})*$`)
})
