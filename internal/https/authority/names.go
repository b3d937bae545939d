package authority

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// homeNames are the domains of home networks. None is, or will be, one of the internet: RFC 6761 (localhost), RFC 6762 (local, and
// in appendix G those that networks used before it), RFC 8375 (home.arpa), ICANN's reservation of 2024 (internal).
var homeNames = []string{
	"local", "lan", "home.arpa", "internal", "home", "localdomain", "localhost", "intranet", "private", "corp",
}

// privateNets are the addresses of private networks: RFC 1918, link-local (RFC 3927, 4291), loopback, those behind a
// provider's NAT, which overlay networks use too (RFC 6598), and IPv6's unique local ones (RFC 4193).
var privateNets = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128"),
}

func privateRanges() []*net.IPNet {
	var nets []*net.IPNet
	for _, p := range privateNets {
		nets = append(nets, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return nets
}

// permitted returns what a new root may vouch for: homeNames, and those of the names that are none of them.
func permitted(names []string) []string {
	all := slices.Clone(homeNames)
	for _, name := range names {
		if _, err := parseAddr(name); err == nil {
			continue
		}
		if name = strings.TrimPrefix(clean(name), "*."); fault(name) == "" && !covered(name, all) {
			all = append(all, name)
		}
	}
	return all
}

// Permits says why the authority can't vouch for a name or an IP address, in a text for the owner; nil when it can.
func (r *Root) Permits(name string) error {
	if addr, err := parseAddr(name); err == nil {
		for _, n := range r.issuer.PermittedIPRanges {
			if n.Contains(addr.AsSlice()) {
				return nil
			}
		}
		return fmt.Errorf("%s is not an address of a private network: Croft's own authority vouches for those only", addr)
	}
	name, wild := strings.CutPrefix(clean(name), "*.")
	why := fault(name)
	if wild && !strings.Contains(name, ".") {
		why = "browsers take a name that begins with *. only when two parts follow, as in *.pi.lan"
	}
	if why != "" {
		return fmt.Errorf("this Croft's own authority can't vouch for %q: %s", name, why)
	}
	if covered(name, r.issuer.PermittedDNSDomains) {
		return nil
	}
	return fmt.Errorf("this Croft's own authority can't vouch for %q: it vouches only for what was fixed when it was made (%s); "+
		"use a name such as croft.local, https.mode acme for a domain of your own, or make another authority: croft https root --forget",
		name, strings.Join(r.issuer.PermittedDNSDomains, ", "))
}

// covered reports whether a name is one of the domains or below one.
func covered(name string, domains []string) bool {
	return slices.ContainsFunc(domains, func(d string) bool {
		above, ok := strings.CutSuffix(name, d)
		return ok && (above == "" || strings.HasSuffix(above, "."))
	})
}

// fault says why no authority of this kind should ever vouch for a name; "" when one may.
func fault(name string) string {
	if name == "" || len(name) > 253 {
		return "a name has 1 to 253 characters"
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "each part between dots has 1 to 63 characters, and none begins or ends with -"
		}
		for _, c := range label {
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return "a name has letters, digits and - (other letters in their xn-- form)"
			}
		}
	}
	// A host without a domain can be called like a part of the internet: who vouches for "dev" vouches for all of .dev.
	if suffix, known := publicsuffix.PublicSuffix(name); suffix == name && !covered(name, homeNames) && (known || strings.Contains(name, ".")) {
		return "." + name + " is a part of the internet that many others have names in; give the machine another name"
	}
	return ""
}

// clean brings a name into the form that certificates have it in.
func clean(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// parseAddr reads an IP address, in brackets or not, as certificates have it: without a zone.
func parseAddr(s string) (netip.Addr, error) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		s = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap().WithZone(""), err
}
