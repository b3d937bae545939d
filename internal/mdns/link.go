package mdns

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"croft/internal/lan"
)

const port = 5353

var (
	group4 = netip.MustParseAddr("224.0.0.251")
	group6 = netip.MustParseAddr("ff02::fb")
)

// maxPacket is the most bytes of a message; section 17 of RFC 6762.
const maxPacket = 9000

// A linkKey names one interface and one of its two protocols. Each of the two has a state of its own, as section 14 of RFC 6762 wants it.
type linkKey struct {
	index int
	six   bool
}

// A link is a socket at one interface, and what was said there. Owned by run, but for conn.
type link struct {
	key      linkKey
	name     string
	prefixes []netip.Prefix // of both protocols
	addrs    []netip.Addr   // what we answer
	conn     *net.UDPConn
	group    netip.AddrPort

	step   int                  // how many probes, and then announcements, were sent
	due    time.Time            // when the next is; zero for never
	failed int                  // how often it could not be sent
	sent   map[string]time.Time // when each record was last multicast as an answer
}

// A packet is what a reader hands to run.
type packet struct {
	link *link
	from netip.AddrPort
	msg  *dns.Msg
	err  error // the reader has ended
}

// A delayed answer waits a little, so that not all machines of a network speak at once.
type delayed struct {
	due  time.Time
	link *link
	msg  *dns.Msg
}

func open(key linkKey, i lan.Interface) (*link, error) {
	conn, err := listen(key.six, &i.Interface)
	if err != nil {
		return nil, err
	}
	l := &link{key: key, name: i.Name, prefixes: i.Prefixes, conn: conn, sent: map[string]time.Time{}}
	// Others of this machine must hear us, so loopback is on: it is for senders on Unix, for receivers on Windows. 255 is the TTL of section 11.
	if key.six {
		p := ipv6.NewPacketConn(conn)
		l.group = netip.AddrPortFrom(group6.WithZone(i.Name), port)
		err = errors.Join(
			p.JoinGroup(&i.Interface, &net.UDPAddr{IP: group6.AsSlice()}),
			p.SetMulticastInterface(&i.Interface),
			p.SetMulticastHopLimit(255), p.SetHopLimit(255), p.SetMulticastLoopback(true))
	} else {
		p := ipv4.NewPacketConn(conn)
		l.group = netip.AddrPortFrom(group4, port)
		err = errors.Join(
			p.JoinGroup(&i.Interface, &net.UDPAddr{IP: group4.AsSlice()}),
			p.SetMulticastInterface(&i.Interface),
			p.SetMulticastTTL(255), p.SetTTL(255), p.SetMulticastLoopback(true))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return l, nil
}

// maxErrors is how many reads in a row may fail before a socket is given up; Windows reports here that an asker has gone.
const maxErrors = 10

// read hands on what may be about us, until the socket is closed. A network is full of other talk, which is not worth parsing.
func (r *Responder) read(l *link) {
	defer r.readers.Done()
	buf, lower := make([]byte, maxPacket), make([]byte, 0, maxPacket)
	failed := 0
	for {
		n, from, err := l.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		p := packet{link: l}
		if err != nil {
			if failed++; failed < maxErrors {
				continue
			}
			p.err = err
		} else {
			failed = 0
			lower = lowered(lower[:0], buf[:n])
			if !r.concerned(lower) {
				continue
			}
			p.from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			if p.msg = r.unpack(buf[:n]); p.msg == nil {
				continue
			}
		}
		select {
		case r.packets <- p:
		case <-r.stop:
			return
		}
		if p.err != nil {
			return
		}
	}
}

// unpack returns nil for what is no message: anybody may send anything.
func (r *Responder) unpack(b []byte) (m *dns.Msg) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("panic on a packet of multicast DNS, which is left out", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			m = nil
		}
	}()
	m = new(dns.Msg)
	if m.Unpack(b) != nil {
		return nil
	}
	return m
}

// concerned tells whether a label of one of our names is in a packet: a name that is compressed stands in it in full once as well.
func (r *Responder) concerned(lower []byte) bool {
	for _, w := range r.words {
		if bytes.Contains(lower, w) {
			return true
		}
	}
	return false
}

func lowered(to, from []byte) []byte {
	for _, b := range from {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		to = append(to, b)
	}
	return to
}

func (l *link) send(m *dns.Msg, to netip.AddrPort) error {
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		return err
	}
	// A send that can't go out at once would hold up everything; the network's queue is full then.
	if err := l.conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = l.conn.WriteToUDPAddrPort(wire, to)
	return err
}

// near tells whether an address is in a network of this link: only such a machine is answered alone, as section 11 of RFC 6762 wants
// it, so that nobody elsewhere can be flooded through us.
func (l *link) near(a netip.Addr) bool {
	if a.IsLinkLocalUnicast() {
		return true
	}
	for _, p := range l.prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
