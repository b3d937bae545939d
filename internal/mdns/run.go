package mdns

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"github.com/miekg/dns"

	"croft/internal/lan"
)

// pollEvery is how often interfaces and addresses are looked at. It costs some 0.6 ms, works alike on every system, and is soon enough
// for a cable that is plugged in.
const pollEvery = 5 * time.Second

// Section 8 of RFC 6762: a name is asked for three times, a quarter of a second apart, and then announced at least twice; the pause
// between announcements doubles.
const (
	probes        = 3
	announcements = 3
	probePause    = 250 * time.Millisecond
	announcePause = time.Second
	slowest       = 30 // times announcePause, between tries of what can't be sent
)

// keepMine is for how long an address that this machine has lost is still not taken for another machine's: what others may remember.
const keepMine = hostTTL * time.Second

func (r *Responder) run() {
	defer close(r.stopped)
	defer r.readers.Wait()
	defer r.caught()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	r.follow()
	for {
		select {
		case <-r.stop:
			for _, l := range r.links {
				r.takeBack(l)
				l.conn.Close()
			}
			r.setName("")
			return
		case <-poll.C:
			r.follow()
		case p := <-r.packets:
			r.receive(p)
		case <-next.C:
		}
		r.act()
		next.Reset(r.pause())
	}
}

// caught ends a goroutine that has panicked, and not the server, which answers all the same.
func (r *Responder) caught() {
	if p := recover(); p != nil {
		r.log.Error("panic in multicast DNS: this server is found by its name no more until it starts again", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		r.setName("")
		r.closing.Do(func() { close(r.stop) }) // the others end too
		for _, l := range r.links {
			l.conn.Close()
		}
	}
}

// follow brings the links in line with the interfaces of now.
func (r *Responder) follow() {
	r.seeMine()
	interfaces, err := lan.Interfaces()
	if err != nil {
		r.trouble("", err)
		return
	}
	there := map[linkKey]bool{}
	for _, i := range interfaces {
		addrs := r.addresses(i)
		if i.Flags&net.FlagMulticast == 0 || len(addrs) == 0 {
			continue
		}
		for _, six := range []bool{false, true} {
			if slices.ContainsFunc(i.Prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() == six }) {
				key := linkKey{i.Index, six}
				there[key] = true
				r.followLink(key, i, addrs)
			}
		}
	}
	for key, l := range r.links {
		if !there[key] {
			r.drop(l)
		}
	}
	if len(r.links) == 0 {
		r.setName("")
	}
}

// followLink opens a link that is new. One whose addresses changed is opened again, as some systems tie a socket to them, and announces
// the new ones; the names are already its own.
func (r *Responder) followLink(key linkKey, i lan.Interface, addrs []netip.Addr) {
	old := r.links[key]
	if old != nil && old.name == i.Name && slices.Equal(old.prefixes, i.Prefixes) {
		return
	}
	if old != nil {
		r.forget(old, addrs)
		r.drop(old)
	}
	l, err := open(key, i)
	if err != nil {
		r.trouble(i.Name, err)
		return
	}
	delete(r.told, i.Name)
	l.addrs = addrs
	l.due = time.Now().Add(rand.N(probePause))
	if old != nil && old.step > probes {
		l.step, l.due = probes, time.Now()
	}
	r.links[key] = l
	r.readers.Add(1)
	go r.read(l)
}

func (r *Responder) addresses(i lan.Interface) []netip.Addr {
	addrs := i.Addresses()
	if only := r.options.Address; only.IsValid() {
		addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return a != only.Unmap().WithZone("") })
	}
	return addrs
}

// drop closes a link; its reader ends by itself.
func (r *Responder) drop(l *link) {
	l.conn.Close()
	delete(r.links, l.key)
	r.delayed = slices.DeleteFunc(r.delayed, func(d delayed) bool { return d.link == l })
}

// trouble logs what is wrong with an interface, once; it is tried again at each poll.
func (r *Responder) trouble(name string, err error) {
	if r.told[name] != err.Error() {
		r.told[name] = err.Error()
		r.log.Warn("others in the home network may not find this server by name, but by its address", "interface", name, "error", err)
	}
}

func (r *Responder) seeMine() {
	now := time.Now()
	r.looked = now
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return // follow reports it
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				r.mine[ip.Unmap()] = now
			}
		}
	}
	for a, seen := range r.mine {
		if now.Sub(seen) > keepMine {
			delete(r.mine, a)
		}
	}
}

func (r *Responder) zone(l *link) zone {
	return newZone(r.hostLabel(), r.instanceLabel(), r.service(), r.options.Port, l.addrs)
}

// pause is the time until something is due.
func (r *Responder) pause() time.Duration {
	next := time.Now().Add(time.Hour)
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	for _, l := range r.links {
		earlier(l.due)
	}
	for _, d := range r.delayed {
		earlier(d.due)
	}
	return max(0, time.Until(next))
}

// act does what is due.
func (r *Responder) act() {
	now := time.Now()
	for _, l := range r.links {
		if l.due.IsZero() || l.due.After(now) {
			continue
		}
		message, pause := r.probe(l), probePause
		if l.step >= probes {
			message, pause = r.announcement(l), announcePause<<(l.step-probes)
		}
		if !r.multicast(l, message) {
			// An IPv6 address can't be used in its first second or two, while the network is asked whether it is somebody else's.
			l.failed++
			l.due = now.Add(min(time.Duration(l.failed), slowest) * announcePause)
			continue
		}
		l.failed = 0
		l.due = now.Add(pause)
		l.step++
		if l.step == probes+1 {
			r.setName(r.hostLabel() + ".local")
		}
		if l.step == probes+announcements {
			l.due = time.Time{}
		}
	}
	r.delayed = slices.DeleteFunc(r.delayed, func(d delayed) bool {
		if d.due.After(now) {
			return false
		}
		r.multicast(d.link, d.msg)
		return true
	})
}

// probe asks whether somebody has the names, and says which records we would have.
func (r *Responder) probe(l *link) *dns.Msg {
	z := r.zone(l)
	m := new(dns.Msg)
	m.Question = []dns.Question{
		{Name: z.host, Qtype: dns.TypeANY, Qclass: dns.ClassINET},
		{Name: z.instance, Qtype: dns.TypeANY, Qclass: dns.ClassINET},
	}
	m.Ns = z.unique()
	return m
}

// announcement tells all that we have.
func (r *Responder) announcement(l *link) *dns.Msg {
	z := r.zone(l)
	host, instance := z.nothingElse()
	m := response()
	m.Answer = replacing(append(z.shared(), z.unique()...))
	m.Extra = replacing([]dns.RR{host, instance})
	return m
}

// takeBack has others forget what was announced at a link.
func (r *Responder) takeBack(l *link) {
	if l.step <= probes {
		return
	}
	z := r.zone(l)
	m := response()
	m.Answer = goodbye(append(z.shared()[:1:1], z.unique()...)) // others may have services of this type
	r.multicast(l, m)
}

// forget has others forget the addresses that a link no longer has.
func (r *Responder) forget(l *link, now []netip.Addr) {
	if l.step <= probes {
		return
	}
	z := r.zone(l)
	z.addrs = slices.DeleteFunc(slices.Clone(z.addrs), func(a netip.Addr) bool { return slices.Contains(now, a) })
	if len(z.addrs) == 0 {
		return
	}
	m := response()
	m.Answer = goodbye(z.addresses())
	r.multicast(l, m)
}

func response() *dns.Msg {
	return &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}}
}

// multicast sends to all. What fails is said again later, or asked again.
func (r *Responder) multicast(l *link, m *dns.Msg) (sent bool) {
	err := l.send(m, l.group)
	if err != nil {
		r.log.Debug("multicast DNS was not sent", "interface", l.name, "error", err)
	}
	return err == nil
}
