package mdns

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// How long others may keep an answer, in seconds; from section 10 of RFC 6762: what has to do with a host name, and the rest.
const (
	hostTTL  = 120
	otherTTL = 75 * 60
)

// The top bit of a class: in a question that an answer may come to the asker alone, in a record that it replaces older ones.
const topBit = 1 << 15

// A zone is what we answer at one interface.
type zone struct {
	host     string // croft.local.
	instance string // Croft\ on\ pi._http._tcp.local.
	service  string // _http._tcp.local.
	port     uint16
	addrs    []netip.Addr
}

const browse = "_services._dns-sd._udp.local."

func newZone(hostLabel, instanceLabel, serviceLabel string, port int, addrs []netip.Addr) zone {
	service := serviceLabel + "._tcp.local."
	return zone{hostLabel + ".local.", escape(instanceLabel) + "." + service, service, uint16(port), addrs}
}

// escape returns a label as dns writes one that it has read, so that names can be compared.
func escape(label string) string {
	var name strings.Builder
	for _, b := range []byte(label) {
		fmt.Fprintf(&name, `\%03d`, b)
	}
	wire := make([]byte, 256)
	if _, err := dns.PackDomainName(name.String()+".", wire, 0, nil, false); err != nil {
		panic("mdns: " + label + ": " + err.Error()) // machineName cuts
	}
	read, _, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		panic("mdns: " + label + ": " + err.Error())
	}
	return strings.TrimSuffix(read, ".")
}

func header(name string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

// addresses are the A and AAAA records.
func (z zone) addresses() []dns.RR {
	var rrs []dns.RR
	for _, a := range z.addrs {
		if a.Is4() {
			rrs = append(rrs, &dns.A{Hdr: header(z.host, dns.TypeA, hostTTL), A: a.AsSlice()})
		} else {
			rrs = append(rrs, &dns.AAAA{Hdr: header(z.host, dns.TypeAAAA, hostTTL), AAAA: a.AsSlice()})
		}
	}
	return rrs
}

// unique are the records of the names that nobody else may have.
func (z zone) unique() []dns.RR {
	return append(z.addresses(),
		&dns.SRV{Hdr: header(z.instance, dns.TypeSRV, hostTTL), Port: z.port, Target: z.host},
		&dns.TXT{Hdr: header(z.instance, dns.TypeTXT, otherTTL), Txt: []string{"path=/"}})
}

// shared are the records of names that others have as well.
func (z zone) shared() []dns.RR {
	return []dns.RR{
		&dns.PTR{Hdr: header(z.service, dns.TypePTR, otherTTL), Ptr: z.instance},
		&dns.PTR{Hdr: header(browse, dns.TypePTR, otherTTL), Ptr: z.service},
	}
}

// nothingElse says which types our names have, so that nobody waits for an IPv6 address that isn't there.
func (z zone) nothingElse() (host, instance *dns.NSEC) {
	var types []uint16
	if slices.ContainsFunc(z.addrs, netip.Addr.Is4) {
		types = append(types, dns.TypeA)
	}
	if slices.ContainsFunc(z.addrs, netip.Addr.Is6) {
		types = append(types, dns.TypeAAAA)
	}
	return &dns.NSEC{Hdr: header(z.host, dns.TypeNSEC, hostTTL), NextDomain: z.host, TypeBitMap: types},
		&dns.NSEC{Hdr: header(z.instance, dns.TypeNSEC, hostTTL), NextDomain: z.instance, TypeBitMap: []uint16{dns.TypeTXT, dns.TypeSRV}}
}

// answer returns what there is to say to a query, without what it says that it knows, and what is likely to be asked next.
func (z zone) answer(m *dns.Msg) (answers, extra []dns.RR) {
	unique, all := z.unique(), append(z.shared(), z.unique()...)
	host, instance := z.nothingElse()
	add := func(rr dns.RR) {
		if !contains(answers, rr) && !knows(m, rr) {
			answers = append(answers, rr)
		}
	}
	for _, q := range m.Question {
		if class := q.Qclass &^ topBit; class != dns.ClassINET && class != dns.ClassANY {
			continue
		}
		found := false
		for _, rr := range all {
			if h := rr.Header(); strings.EqualFold(h.Name, q.Name) && (q.Qtype == h.Rrtype || q.Qtype == dns.TypeANY) {
				found = true
				add(rr)
			}
		}
		switch {
		case found:
		case strings.EqualFold(q.Name, z.host):
			add(host)
		case strings.EqualFold(q.Name, z.instance):
			add(instance)
		}
	}
	also := func(rrs ...dns.RR) {
		for _, rr := range rrs {
			if !contains(answers, rr) && !contains(extra, rr) {
				extra = append(extra, rr)
			}
		}
	}
	for _, rr := range answers {
		switch h := rr.Header(); {
		case h.Rrtype == dns.TypePTR && h.Name == z.service, h.Rrtype == dns.TypeSRV:
			also(unique...)
			also(host, instance)
		case h.Name == z.host:
			also(z.addresses()...)
			also(host)
		}
	}
	return answers, extra
}

// isShared tells a record that others may have as well.
func isShared(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypePTR }

func contains(rrs []dns.RR, rr dns.RR) bool {
	return slices.ContainsFunc(rrs, func(o dns.RR) bool { return dns.IsDuplicate(o, rr) })
}

// knows tells whether the asker has a record and will keep it for at least half of its time.
func knows(m *dns.Msg, rr dns.RR) bool {
	return slices.ContainsFunc(m.Answer, func(o dns.RR) bool {
		return dns.IsDuplicate(o, rr) && o.Header().Ttl >= rr.Header().Ttl/2
	})
}

// wins tells whether, of two that ask for the same name at the same time, the one with these records may have it: the later in the
// order of section 8.2 of RFC 6762. Records that are equal are no contest, and won.
func wins(ours, theirs []dns.RR) bool {
	return slices.CompareFunc(order(ours), order(theirs), bytes.Compare) >= 0
}

// order returns class, type and content of each record as bytes, sorted.
func order(rrs []dns.RR) [][]byte {
	var keys [][]byte
	for _, rr := range rrs {
		rr = dns.Copy(rr)
		rr.Header().Class &^= topBit
		rr.Header().Name = "." // one byte
		rr.Header().Ttl = 0
		wire := make([]byte, dns.Len(rr)+1)
		n, err := dns.PackRR(rr, wire, 0, nil, false)
		if err != nil {
			continue // it came in a packet, so it can be packed
		}
		// Name 1, type 2, class 2, TTL 4, length 2.
		keys = append(keys, slices.Concat(wire[3:5], wire[1:3], wire[11:n]))
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

// goodbye returns records that tell others to forget ours.
func goodbye(rrs []dns.RR) []dns.RR {
	var gone []dns.RR
	for _, rr := range rrs {
		rr = dns.Copy(rr)
		rr.Header().Ttl = 0
		gone = append(gone, rr)
	}
	return gone
}

// replacing returns records of which the unique ones replace what others know under their names.
func replacing(rrs []dns.RR) []dns.RR {
	var marked []dns.RR
	for _, rr := range rrs {
		rr = dns.Copy(rr)
		if !isShared(rr) {
			rr.Header().Class |= topBit
		}
		marked = append(marked, rr)
	}
	return marked
}
