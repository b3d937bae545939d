package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// checkText says what is wrong with a text, or an item of a list, or nothing.
func (f *field) checkText(s string) (reason string) {
	if s == "" {
		return "it is empty; write for example " + f.example
	}
	shown := strconv.Quote(s)
	switch f.check {
	case "address":
		if !isAddress(s) {
			if f.deflt == "" {
				return fmt.Sprintf("%s is not an address; write host:port, for example %s", shown, f.example)
			}
			return fmt.Sprintf("%s is not an address; write host:port, for example 127.0.0.1%s, or %s for every address of this machine", shown, f.deflt, f.deflt)
		}
	case "name":
		if _, err := netip.ParseAddr(s); err != nil && !isName(strings.TrimPrefix(s, "*.")) {
			return shown + " is neither a host name nor an IP address; write for example " + f.example + ", without https:// and without a port"
		}
	case "label":
		if !isName(s) || strings.ContainsAny(s, "._") {
			return shown + " can't be a name: it may have letters, digits and -, and no dots; .local is added to it"
		}
	case "network":
		if _, err := Network(s); err != nil {
			return shown + " is neither an IP address nor a network; write for example 127.0.0.1 or 10.0.0.0/8"
		}
	case "email":
		if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
			return shown + " is not an e-mail address; write for example " + f.example
		}
	case "https":
		if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" {
			return shown + " is not an address that begins with https://; write for example " + f.example
		}
	}
	return ""
}

// Network is an address, or a network as 10.0.0.0/8.
func Network(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), err
}

// isAddress tells whether s is a host and a port number. Whether the host exists is found out by
// listening on it.
func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsAny(host, " /\t\n") {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// isName tells whether s is a host name (RFC 1123, and underscores, which some home networks have).
func isName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
