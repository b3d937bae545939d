package mdns

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func testZone() zone {
	return newZone("croft", "Croft on a.b (2) café", "_http", 8080,
		[]netip.Addr{netip.MustParseAddr("192.168.1.20"), netip.MustParseAddr("fd00::20")})
}

// show writes records without their TTLs, one after another.
func show(rrs []dns.RR) string {
	var s []string
	for _, rr := range rrs {
		name, value := rr.Header().Name, strings.TrimPrefix(rr.String(), rr.Header().String())
		s = append(s, name+" "+dns.TypeToString[rr.Header().Rrtype]+" "+value)
	}
	return strings.Join(s, "; ")
}

func TestAnswer(t *testing.T) {
	z := testZone()
	four := z
	four.addrs = z.addrs[:1]
	const (
		a        = "croft.local. A 192.168.1.20"
		aaaa     = "croft.local. AAAA fd00::20"
		instance = `Croft\ on\ a\.b\ \(2\)\ caf\195\169._http._tcp.local.`
		ptr      = "_http._tcp.local. PTR " + instance
		srv      = instance + " SRV 0 0 8080 croft.local."
		txt      = instance + ` TXT "path=/"`
		both     = "croft.local. NSEC croft.local. A AAAA"
		only     = "croft.local. NSEC croft.local. A"
		rest     = instance + " NSEC " + instance + " TXT SRV"
	)
	for _, c := range []struct {
		zone           zone
		name           string
		qtype          uint16
		known          string
		answers, extra string
	}{
		{z, "croft.local.", dns.TypeA, "", a, aaaa + "; " + both},
		{z, "CROFT.Local.", dns.TypeAAAA, "", aaaa, a + "; " + both},
		{z, "croft.local.", dns.TypeANY, "", a + "; " + aaaa, both},
		{four, "croft.local.", dns.TypeAAAA, "", only, a}, // there is none, said at once
		{z, "croft.local.", dns.TypeHINFO, "", both, a + "; " + aaaa},
		{z, "croft-2.local.", dns.TypeA, "", "", ""},
		{z, "notcroft.local.", dns.TypeA, "", "", ""},
		{z, "_http._tcp.local.", dns.TypePTR, "", ptr, strings.Join([]string{a, aaaa, srv, txt, both, rest}, "; ")},
		{z, "_https._tcp.local.", dns.TypePTR, "", "", ""},
		{z, "_services._dns-sd._udp.local.", dns.TypePTR, "", "_services._dns-sd._udp.local. PTR _http._tcp.local.", ""},
		{z, instance, dns.TypeSRV, "", srv, strings.Join([]string{a, aaaa, txt, both, rest}, "; ")},
		{z, instance, dns.TypeA, "", rest, ""},
		{z, "_http._tcp.local.", dns.TypePTR, "_http._tcp.local. 2250 IN PTR " + instance, "", ""},
		{z, "_http._tcp.local.", dns.TypePTR, "_http._tcp.local. 2249 IN PTR " + instance, ptr, strings.Join([]string{a, aaaa, srv, txt, both, rest}, "; ")},
		{z, "croft.local.", dns.TypeA, "croft.local. 100 IN A 192.168.1.99", a, aaaa + "; " + both},
	} {
		m := new(dns.Msg)
		m.SetQuestion(c.name, c.qtype)
		m.Question[0].Qclass |= topBit
		if c.known != "" {
			rr, err := dns.NewRR(c.known)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = []dns.RR{rr}
		}
		answers, extra := c.zone.answer(overTheWire(t, m))
		if got := show(answers); got != c.answers {
			t.Errorf("%s %s: answers\n %s, want\n %s", c.name, dns.TypeToString[c.qtype], got, c.answers)
		}
		if got := show(extra); got != c.extra {
			t.Errorf("%s %s: extra\n %s, want\n %s", c.name, dns.TypeToString[c.qtype], got, c.extra)
		}
	}
}

func overTheWire(t *testing.T, m *dns.Msg) *dns.Msg {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	read := new(dns.Msg)
	if err := read.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	return read
}

// TestWins has the examples of section 8.2 of RFC 6762.
func TestWins(t *testing.T) {
	rrs := func(texts ...string) (rrs []dns.RR) {
		for _, text := range texts {
			rr, err := dns.NewRR("croft.local. 120 IN " + text)
			if err != nil {
				t.Fatal(err)
			}
			rrs = append(rrs, rr)
		}
		return rrs
	}
	earlier, later := rrs("A 169.254.99.200"), rrs("A 169.254.200.50")
	for _, c := range []struct {
		ours, theirs []dns.RR
		want         bool
	}{
		{earlier, later, false},
		{later, earlier, true},
		{later, later, true},
		{later, replacing(later), true},
		{later, rrs("AAAA ::1"), false}, // a later type
		{later, rrs("A 169.254.200.50", "A 169.254.200.51"), false},
		{rrs("A 169.254.200.50", "A 169.254.0.1"), later, false}, // the first in order decides
		{nil, later, false},
	} {
		if got := wins(c.ours, c.theirs); got != c.want {
			t.Errorf("%s against %s: wins is %v", show(c.ours), show(c.theirs), got)
		}
	}
}

// FuzzAnswer wants no packet to do harm, and every answer to be one that can be sent.
func FuzzAnswer(f *testing.F) {
	z := testZone()
	ask := new(dns.Msg)
	ask.SetQuestion("croft.local.", dns.TypeANY)
	ask.Ns = z.unique()
	said := &dns.Msg{Answer: append(z.shared(), z.unique()...)}
	for _, m := range []*dns.Msg{ask, said} {
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		answers, extra := z.answer(m)
		reply := &dns.Msg{Answer: replacing(answers), Extra: replacing(extra)}
		if _, err := reply.Pack(); err != nil {
			t.Fatal(err)
		}
		rrs := slices.Concat(m.Answer, m.Ns, m.Extra)
		if ours := z.unique(); !wins(rrs, ours) && !wins(ours, rrs) {
			t.Fatal("two records both lose")
		}
	})
}

// TestNames wants every name to fit into a label, whatever its number.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		name   string
		number int
		want   string
	}{
		{"croft", 1, "croft"},
		{"croft", 2, "croft-2"},
		{strings.Repeat("a", 63), 1, strings.Repeat("a", 63)},
		{strings.Repeat("a", 63), 10, strings.Repeat("a", 60) + "-10"},
	} {
		r := &Responder{options: Options{Name: c.name}, machine: strings.Repeat("m", 48), host: c.number, instance: c.number}
		if got := r.hostLabel(); got != c.want {
			t.Errorf("the name number %d of %s is %s", c.number, c.name, got)
		}
		if got := r.instanceLabel(); len(got) > maxLabel {
			t.Errorf("%q has %d bytes", got, len(got))
		}
	}
}

func TestStartRefuses(t *testing.T) {
	for _, o := range []Options{
		{Name: "", Port: 80},
		{Name: "croft.local", Port: 80},
		{Name: "-croft", Port: 80},
		{Name: "my croft", Port: 80},
		{Name: strings.Repeat("a", 64), Port: 80},
		{Name: "croft", Port: 0},
		{Name: "croft", Port: 65536},
		{Name: "croft", Port: 80, Address: netip.MustParseAddr("127.0.0.1")},
	} {
		if r, err := Start(o); err == nil {
			r.Close()
			t.Errorf("%+v is taken", o)
		}
	}
}
