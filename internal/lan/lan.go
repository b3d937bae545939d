// Package lan tells by which addresses the rest of the home network reaches this machine: those of the cable and the Wi-Fi, and not
// those of loopback, VPNs, and the private networks of containers and virtual machines. What is what can't be told for certain: on Linux
// /sys says it, elsewhere the names of the interfaces do.
package lan

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// An Interface is one at which the home network may be.
type Interface struct {
	net.Interface
	Prefixes []netip.Prefix // its addresses, each with the size of its network; at least one
}

// Addresses returns those that others can type in: link-local ones only when there are no others.
func (i Interface) Addresses() []netip.Addr {
	var wide, local []netip.Addr
	for _, p := range i.Prefixes {
		if p.Addr().IsLinkLocalUnicast() {
			local = append(local, p.Addr())
		} else {
			wide = append(wide, p.Addr())
		}
	}
	if len(wide) == 0 {
		return local
	}
	return wide
}

// Interfaces returns those that are up and have an address; none is no error.
func Interfaces() ([]Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var found []Interface
	const working = net.FlagUp | net.FlagRunning // an Ethernet without its cable is up, and not running
	for _, i := range all {
		if i.Flags&working != working || i.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0 || virtual(i.Name) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		if p := prefixes(addrs); len(p) > 0 {
			found = append(found, Interface{i, p})
		}
	}
	return found, nil
}

func prefixes(addrs []net.Addr) []netip.Prefix {
	var found []netip.Prefix
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if ones, bits := n.Mask.Size(); ok && bits > 0 {
			found = append(found, netip.PrefixFrom(ip.Unmap(), ones))
		}
	}
	return found
}

// Addresses returns the addresses of this machine in the home network, the best first: IPv4 before IPv6, which nobody likes to type,
// the one that the default route uses before the others, private before public.
func Addresses() []netip.Addr {
	interfaces, err := Interfaces()
	if err != nil {
		return nil
	}
	var found []netip.Addr
	for _, i := range interfaces {
		for _, a := range i.Addresses() {
			if !a.IsLinkLocalUnicast() {
				found = append(found, a)
			}
		}
	}
	four, six := routed("192.0.2.1:9"), routed("[2001:db8::1]:9") // networks for documentation, so nobody's
	rank := func(a netip.Addr) (n int) {
		if a.Is6() {
			n += 4
		}
		if a != four && a != six {
			n += 2
		}
		if !a.IsPrivate() {
			n++
		}
		return n
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return cmp.Compare(rank(a), rank(b)) })
	return found
}

// Best returns the first of Addresses, and the zero Addr when there is none.
func Best() netip.Addr {
	if a := Addresses(); len(a) > 0 {
		return a[0]
	}
	return netip.Addr{}
}

// routed returns the address from which this machine would send to another. Nothing is sent: connecting UDP only looks up the route.
func routed(to string) netip.Addr {
	c, err := net.Dial("udp", to)
	if err != nil {
		return netip.Addr{} // there is no route
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// virtualNames is how the names of interfaces begin that are no part of the home network. On Linux most of these are told by /sys
// already; the rest is from macOS, Windows and the BSDs.
var virtualNames = []string{
	"docker", "podman", "veth", "virbr", "vnet", "vboxnet", "vmnet", "cni", "flannel", "cali", "lxcbr", "lxdbr", "incusbr",
	"tun", "tap", "wg", "tailscale", "zt", "nebula", "utun", "ipsec", "awdl", "llw", "anpi", "bridge10",
	"vethernet", "virtualbox", "vmware", "zerotier", "wireguard", "openvpn", "nordlynx",
}

func virtual(name string) bool {
	lower := strings.ToLower(name)
	for _, v := range virtualNames {
		if strings.HasPrefix(lower, v) {
			return true
		}
	}
	return virtualDevice(name)
}
