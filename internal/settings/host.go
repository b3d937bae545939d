package settings

import (
	"net/netip"
	"strings"
)

// hostName returns a name as a Host header has it, in lower case and without a port.
func hostName(s string) (name, fault string) {
	const form = "must be a host name, such as croft.example.org"
	s = strings.ToLower(s)
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return "", "is an IP address; those are always answered to and need not be listed"
	}
	if strings.ContainsAny(s, ":/") {
		return "", form + "; without scheme, port and path"
	}
	if fault := nameFault(s); fault != "" {
		return "", form + "; " + fault
	}
	return s, ""
}

// isIPv6 reports whether a host is an IPv6 address in brackets.
func isIPv6(host string) bool {
	inner, open := strings.CutPrefix(host, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !open || !closed {
		return false
	}
	addr, err := netip.ParseAddr(inner)
	return err == nil && addr.Is6() && addr.Zone() == ""
}

// nameFault says what keeps s from being a host name (RFC 1123, and underscores, which some home networks have).
func nameFault(s string) string {
	if s == "" || len(s) > 253 {
		return "a name has 1 to 253 characters"
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return "each part between dots has 1 to 63 characters"
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return "no part begins or ends with -"
		}
		for _, c := range label {
			switch {
			case c >= 0x80:
				return "a name with other than ASCII letters is written in its xn-- form"
			case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			case c == '*':
				return "there are no wildcards; list each name"
			default:
				return "it may have letters, digits, - and dots"
			}
		}
	}
	return ""
}
