package mdns

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// From RFC 6762. A record is multicast at most once a second, but against one who asks for our name four times (section 6); a record of
// many owners is told a little later (section 6); one who is no responder itself may keep an answer for ten seconds (section 6.7).
const (
	repeatAfter  = time.Second
	defendAfter  = probePause
	leastDelay   = 20 * time.Millisecond
	delaySpread  = 100 * time.Millisecond
	legacyTTL    = 10
	loserWaits   = time.Second      // section 8.2
	manyIn       = 10 * time.Second // section 8.1: after that many conflicts in that time, each next try waits for so long
	many         = 15
	waitWhenMany = 5 * time.Second
)

// What anybody in the network can send must cost little: so much of a packet is looked at (nobody asks or knows more of us), and this
// machine's addresses are asked for so often.
const (
	maxQuestions = 32
	maxRecords   = 256
	lookAgain    = 100 * time.Millisecond
	maxHad       = 16
)

func (r *Responder) receive(p packet) {
	l, m := p.link, p.msg
	if r.links[l.key] != l {
		return // it was closed meanwhile
	}
	if m != nil {
		m.Question = m.Question[:min(len(m.Question), maxQuestions)]
		m.Answer = m.Answer[:min(len(m.Answer), maxRecords)]
		m.Ns, m.Extra = m.Ns[:min(len(m.Ns), maxRecords)], m.Extra[:min(len(m.Extra), maxRecords)]
	}
	switch {
	case p.err != nil:
		r.trouble(l.name, p.err)
		r.drop(l) // the next poll opens it again
	case m.Opcode != dns.OpcodeQuery || m.Rcode != dns.RcodeSuccess:
	case !m.Response:
		r.contest(l, m)
		r.reply(l, m, p.from)
	case p.from.Port() == port:
		r.hear(l, m, p.from.Addr())
	}
}

// reply answers a query.
func (r *Responder) reply(l *link, m *dns.Msg, from netip.AddrPort) {
	if l.step <= probes {
		return // the names are not ours yet
	}
	answers, extra := r.zone(l).answer(m)
	if len(answers) == 0 {
		return
	}
	if from.Port() != port {
		r.replyLegacy(l, m, from, answers, extra)
		return
	}
	after := repeatAfter
	if len(m.Ns) > 0 {
		after = defendAfter
	}
	now := time.Now()
	fresh := slices.DeleteFunc(slices.Clone(answers), func(rr dns.RR) bool { return now.Sub(l.sent[rr.String()]) < after })
	if len(fresh) == 0 {
		alone := !slices.ContainsFunc(m.Question, func(q dns.Question) bool { return q.Qclass&topBit == 0 })
		if alone && l.near(from.Addr()) {
			reply := response()
			reply.Id = m.Id
			reply.Answer, reply.Extra = replacing(answers), replacing(extra)
			r.send(l, reply, from)
		}
		return
	}
	for _, rr := range fresh {
		l.sent[rr.String()] = now
	}
	reply := response()
	reply.Answer, reply.Extra = replacing(fresh), replacing(extra)
	if slices.ContainsFunc(fresh, isShared) {
		r.delayed = append(r.delayed, delayed{now.Add(leastDelay + rand.N(delaySpread)), l, reply})
		return
	}
	r.multicast(l, reply)
}

// replyLegacy answers a plain resolver, which knows nothing of multicast DNS, as a DNS server would.
func (r *Responder) replyLegacy(l *link, m *dns.Msg, from netip.AddrPort, answers, extra []dns.RR) {
	if !l.near(from.Addr()) {
		return
	}
	reply := response()
	reply.Id, reply.Question = m.Id, m.Question
	for _, rr := range slices.Concat(answers, extra) {
		h := rr.Header()
		h.Ttl = min(h.Ttl, legacyTTL)
	}
	reply.Answer, reply.Extra = answers, extra
	r.send(l, reply, from)
}

func (r *Responder) send(l *link, m *dns.Msg, to netip.AddrPort) {
	if err := l.send(m, to); err != nil {
		r.log.Debug("an answer of multicast DNS was not sent", "interface", l.name, "to", to, "error", err)
	}
}

// contest looks whether somebody asks for one of our names while we do, and gives way to the one who may have it: if that one is there,
// it will answer the next probe.
func (r *Responder) contest(l *link, m *dns.Msg) {
	if l.step == 0 || l.step > probes || len(m.Ns) == 0 {
		return
	}
	z := r.zone(l)
	for _, name := range []string{z.host, z.instance} {
		named := func(rrs []dns.RR) []dns.RR {
			return slices.DeleteFunc(slices.Clone(rrs), func(rr dns.RR) bool { return !strings.EqualFold(rr.Header().Name, name) })
		}
		theirs := named(m.Ns)
		if !slices.ContainsFunc(theirs, func(rr dns.RR) bool { return r.foreign(rr, z, netip.Addr{}) }) {
			continue // our own, maybe heard at another interface
		}
		if !wins(named(z.unique()), theirs) {
			l.step, l.due = 0, time.Now().Add(loserWaits)
			return
		}
	}
}

// hear looks whether somebody else has one of our names. While we ask for it we then take the next one. When we had it, two networks
// have become one: we ask again, and so does the other.
func (r *Responder) hear(l *link, m *dns.Msg, from netip.Addr) {
	z := r.zone(l)
	var host, instance bool
	for _, rr := range slices.Concat(m.Answer, m.Extra) {
		if rr.Header().Ttl > 0 && r.foreign(rr, z, from) {
			host = host || rr.Header().Rrtype != dns.TypeSRV
			instance = instance || rr.Header().Rrtype == dns.TypeSRV
		}
	}
	switch {
	case !host && !instance:
	case l.step > probes:
		l.step, l.due = 0, time.Now().Add(r.backOff())
	default:
		r.rename(host, instance)
	}
}

// foreign tells whether a record gives one of our names to another machine or server. All addresses of this machine are ours, as a
// packet may have left it by another interface, or be from another responder here. from is the sender, if that matters.
func (r *Responder) foreign(rr dns.RR, z zone, from netip.Addr) bool {
	name := rr.Header().Name
	switch rr := rr.(type) {
	case *dns.A:
		return strings.EqualFold(name, z.host) && !r.isMine(rr.A)
	case *dns.AAAA:
		return strings.EqualFold(name, z.host) && !r.isMine(rr.AAAA)
	case *dns.SRV:
		if !strings.EqualFold(name, z.instance) || rr.Port == z.port && strings.EqualFold(rr.Target, z.host) {
			return false
		}
		// What we sent under an earlier name may come back late.
		return rr.Port != z.port || !r.hadNames[strings.ToLower(rr.Target)] || !r.isMine(from.AsSlice())
	}
	return false
}

func (r *Responder) isMine(ip []byte) bool {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return false
	}
	a = a.Unmap()
	if _, ok := r.mine[a]; !ok && time.Since(r.looked) > lookAgain {
		r.seeMine() // it may be new
	}
	_, ok = r.mine[a]
	return ok
}

// rename takes the next name, everywhere: it would be confusing to have two.
func (r *Responder) rename(host, instance bool) {
	old := r.hostLabel() + ".local"
	for _, l := range r.links {
		r.takeBack(l)
	}
	if len(r.hadNames) >= maxHad {
		clear(r.hadNames) // they are about what is on its way at this moment
	}
	r.hadNames[strings.ToLower(old+".")] = true
	if host {
		r.host++
		r.log.Info("another machine of the network has this name, so the next is tried", "taken", old, "next", r.hostLabel()+".local")
	}
	if instance {
		r.instance++
	}
	r.setName("")
	r.delayed = nil
	due := time.Now().Add(r.backOff())
	for _, l := range r.links {
		clear(l.sent)
		l.step, l.due = 0, due
	}
}

// backOff counts a conflict, and returns how long to wait before the next try.
func (r *Responder) backOff() time.Duration {
	now := time.Now()
	r.conflicts = slices.DeleteFunc(r.conflicts, func(t time.Time) bool { return now.Sub(t) > manyIn })
	if len(r.conflicts) >= many {
		return waitWhenMany
	}
	r.conflicts = append(r.conflicts, now)
	return rand.N(probePause)
}
