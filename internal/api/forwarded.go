package api

import (
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// proxies are whose word is believed on where a request comes from. The headers that carry it are believed only on a
// connection that one of them made: anybody can send them.
//
// What follows from them is the client's address (for throttles, sessions and the log), the host that it asked for, and
// whether it came by HTTPS. What must hold is that a client can't choose its own address here, as long as its proxy sets
// one of X-Forwarded-For and Forwarded:
//   - The chain of addresses is walked from its end, which the nearest proxy wrote, as far as known proxies wrote it. The
//     first address that is no proxy's is the client. What stands before it is the client's own invention.
//   - A proxy that sets one of the two headers passes the other on as the client made it up. So where both are there and
//     name different clients, neither is believed, and the request counts as the proxy's own.
//   - A network of all addresses (0.0.0.0/0) says that whoever connects is a proxy, and not that whoever it names is one.
type proxies struct {
	peers  []netip.Prefix // who may connect and is believed
	hops   []netip.Prefix // who is taken for one more proxy when a chain names it
	warned atomic.Bool    // the log has told of a proxy that is not listed
}

func (p *proxies) trust(networks []netip.Prefix) {
	p.peers = networks
	for _, n := range networks {
		if n.Bits() > 0 {
			p.hops = append(p.hops, n)
		}
	}
}

// contains reports whether an address is in one of the networks. A zone only says by which interface it was reached.
func contains(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.WithZone("")
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// readForwarded takes over what a proxy says of a request.
func (q *request) readForwarded() {
	h, p := q.r.Header, &q.api.proxies
	if len(p.peers) == 0 && (len(h["X-Forwarded-For"]) == 0 || p.warned.Load()) {
		return // nearly every request, unless there is a proxy
	}
	peer := remoteAddr(q.r.RemoteAddr)
	if !contains(p.peers, peer) {
		q.warnOfProxy(peer)
		return
	}

	q.client = peer
	named := len(h["X-Forwarded-For"]) > 0
	if named {
		q.client, _ = p.walk(peer, strings.Split(q.header("X-Forwarded-For"), ","))
	}
	var said forwarded
	if len(h["Forwarded"]) > 0 {
		all, nodes := parseForwarded(q.header("Forwarded"))
		client, at := p.walk(peer, nodes)
		if named && client != q.client {
			q.client = peer
		} else {
			q.client = client
			if at < len(all) {
				said = all[at]
			}
		}
	}
	if host := lastOf(q.header("X-Forwarded-Host")); host != "" {
		said.host = host
	}
	if proto := lastOf(q.header("X-Forwarded-Proto")); proto != "" {
		said.proto = proto
	}
	if said.host != "" {
		q.host = said.host
	}
	switch {
	case strings.EqualFold(said.proto, "https"):
		q.tls = true
	case strings.EqualFold(said.proto, "http"):
		q.tls = false
	}
}

// walk finds the client in a chain of addresses, each written by the one behind it, the last by the peer; and where in the
// chain that is. An address that can't be read, or that a proxy hides, ends the walk at that proxy.
func (p *proxies) walk(peer netip.Addr, chain []string) (client netip.Addr, at int) {
	client = peer
	for at := len(chain) - 1; at >= 0; at-- {
		addr, ok := parseNode(chain[at])
		if !ok {
			return client, at
		}
		client = addr
		if !contains(p.hops, addr) {
			return client, at
		}
	}
	return client, 0
}

// parseNode reads the address of a client as proxies write it: with or without a port, IPv6 with or without brackets. An
// address with a zone is refused: the zone is another machine's.
func parseNode(s string) (_ netip.Addr, ok bool) {
	s = strings.Trim(s, " \t")
	bare, port, hasPort := s, "", false
	if inner, open := strings.CutPrefix(s, "["); open {
		if bare, port, ok = strings.Cut(inner, "]"); !ok || strings.IndexByte(bare, ':') < 0 {
			return netip.Addr{}, false
		}
		if port != "" {
			if port, hasPort = strings.CutPrefix(port, ":"); !hasPort {
				return netip.Addr{}, false
			}
		}
	} else if strings.Count(s, ":") == 1 {
		bare, port, hasPort = strings.Cut(s, ":")
	}
	if hasPort && !strings.HasPrefix(port, "_") { // RFC 7239 lets a proxy hide the port alone
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(bare)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// lastOf is the last value of a list: what the nearest proxy wrote, if those before it are not its own.
func lastOf(list string) string {
	return strings.Trim(list[strings.LastIndexByte(list, ',')+1:], " \t")
}

// forwarded is one element of the Forwarded header: what one proxy says of whom it answered.
type forwarded struct{ node, proto, host string }

// parseForwarded reads the Forwarded header (RFC 7239): its elements, and the node of each. There are none when it is
// malformed: an open quote of the client's may have swallowed what its proxy wrote behind it.
func parseForwarded(s string) (all []forwarded, nodes []string) {
	var e forwarded
	seen := 0 // pairs in e
	for {
		s = strings.TrimLeft(s, " \t")
		if s != "" && s[0] != ',' && s[0] != ';' {
			name, value, rest, ok := cutPair(s)
			if !ok || !e.set(name, value) {
				return nil, nil
			}
			seen++
			s = strings.TrimLeft(rest, " \t")
		}
		if s == "" || s[0] == ',' {
			if seen > 0 { // a list may have empty elements (RFC 9110, 5.6.1)
				all, nodes = append(all, e), append(nodes, e.node)
			}
			e, seen = forwarded{}, 0
		} else if s[0] != ';' {
			return nil, nil
		}
		if s == "" {
			return all, nodes
		}
		s = s[1:]
	}
}

// set takes a pair in. It reports false for one that was there already.
func (e *forwarded) set(name, value string) bool {
	var to *string
	switch {
	case strings.EqualFold(name, "for"):
		to = &e.node
	case strings.EqualFold(name, "proto"):
		to = &e.proto
	case strings.EqualFold(name, "host"):
		to = &e.host
	default:
		return true // by, and what is to come
	}
	if *to != "" || value == "" {
		return false
	}
	*to = value
	return true
}

// cutPair takes name=value or name="value" off the front of s. A value without quotes may hold the colons and brackets that
// the RFC wants quoted: not all proxies do.
func cutPair(s string) (name, value, rest string, ok bool) {
	const delimiters = " \t,;=\""
	i := strings.IndexAny(s, delimiters)
	if i <= 0 || s[i] != '=' {
		return "", "", "", false
	}
	name, s = s[:i], s[i+1:]
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexAny(s, delimiters)
		if i < 0 {
			i = len(s)
		}
		return name, s[:i], s[i:], i > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return name, b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", "", false
}

// warnOfProxy says once that a proxy seems to be there that is not listed. Only one within the home is told of: what comes
// from elsewhere is somebody trying.
func (q *request) warnOfProxy(peer netip.Addr) {
	if len(q.r.Header["X-Forwarded-For"]) == 0 || !peer.IsPrivate() && !peer.IsLoopback() && !peer.IsLinkLocalUnicast() {
		return
	}
	if q.api.proxies.warned.Swap(true) {
		return
	}
	peer = peer.WithZone("")
	q.api.log.Warn("a proxy seems to stand in front of Croft and is not listed, so what it says of its clients is not believed and they "+
		"all count as one address; if it is yours, add its address to trusted under [proxy] in croft.toml and start Croft again",
		slog.String("proxy", peer.String()), slog.String("line", `trusted = ["`+peer.String()+`"]`))
}
