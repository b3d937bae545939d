package https

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"croft/internal/errs"
	"croft/internal/https/authority"
	"croft/internal/store"
)

// local has Croft's own authority issue one certificate, for all names and addresses of this machine. Root and certificate are in the
// data file: a device that trusts the one, or made an exception for the other, is not asked again after a restart.
type local struct {
	*HTTPS
	root *authority.Root // nil when it can't be used: nothing is issued then, by no other root either

	turn sync.Mutex    // held while a certificate is issued
	woke chan struct{} // holds one when the machine's names may have changed

	mu    sync.Mutex
	cert  *tls.Certificate
	met   []string // addresses of this machine that clients came to, maxMet at most
	wrong trouble
}

func newLocal(h *HTTPS) (*local, error) {
	l := &local{HTTPS: h, woke: make(chan struct{}, 1)}
	l.look()
	var err error
	if l.root, err = h.openRoot(); err != nil {
		l.wrong = trouble{Text: err.Error() + "; put that right, and start Croft again", At: h.o.Now()}
		h.log.Error("browsers will warn: there is no authority for the home network", "error", err)
		return l, nil
	}
	text, err := get(h.db, keyOf(kindLeaf, ""))
	if err == nil && text != nil {
		var cert *tls.Certificate
		if cert, err = parsePair(text, text); err == nil && l.issued(cert) {
			l.cert = cert
		}
	}
	if err != nil {
		h.log.Error("the certificate in the data file can't be used; another one is issued", "error", err)
	}
	l.ensure(context.Background(), false)
	return l, nil
}

// openRoot reads the authority, or makes it: once in a data file's life.
func (h *HTTPS) openRoot() (*authority.Root, error) {
	text, err := get(h.db, keyOf(kindRoot, ""))
	if err != nil {
		return nil, err
	}
	if text == nil {
		made, err := authority.New(h.o.Now(), slices.Concat(h.o.Names, h.here())...)
		if err != nil {
			return nil, fmt.Errorf("make an authority for https mode local: %w", err)
		}
		text = made.Bytes()
		// As in put: it may also when little of the disk is left.
		err = h.db.Reclaim(context.Background(), func(tx *store.Tx) error {
			found, err := tx.Get(keyOf(kindRoot, ""))
			if err != nil {
				return err
			}
			if found != nil {
				text = append([]byte{}, found...)
				return nil
			}
			return tx.Put(keyOf(kindRoot, ""), text)
		})
		if err != nil {
			return nil, fmt.Errorf("store the authority for https mode local: %w", err)
		}
		h.log.Info("an authority of this server's own was made: devices that trust it get no warning", "name", made.Name())
	}
	root, err := authority.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the authority for https mode local in the data file can't be used: %w", err)
	}
	return root, nil
}

// issued reports whether a certificate is from this authority, not from one that a salvage lost.
func (l *local) issued(cert *tls.Certificate) bool {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(l.root.PEM())
	for _, der := range cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	_, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: cert.Leaf.NotBefore})
	return err == nil
}

func (l *local) start(ctx context.Context, run *sync.WaitGroup) {
	if l.root == nil {
		return
	}
	run.Go(func() {
		for {
			wait := longest
			if l.ensure(ctx, false) != nil {
				wait = soon
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			case <-l.woke:
			}
		}
	})
}

// soon is the pause after no certificate could be issued: the clock of a Raspberry Pi is wrong until it has found the time.
const soon = 10 * time.Second

func (*local) close() {}

// ensure issues a certificate when there is none, or it lacks a name, or nears its end. What goes wrong is kept for Status.
func (l *local) ensure(ctx context.Context, forced bool) error {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.look()
	now := l.o.Now()
	var names []string
	var refused error
	for _, name := range l.Names() {
		if err := l.root.Permits(name); err == nil {
			names = append(names, name)
		} else if slices.Contains(l.o.Names, name) && refused == nil {
			refused = err
		}
	}
	l.mu.Lock()
	cert := l.cert
	l.mu.Unlock()
	var err error
	if forced || cert == nil || !covered(cert, names) || validity(cert.Leaf, now) != "" || !now.Before(l.renewalOf(cert)) {
		if len(names) == 0 {
			names = []string{"localhost"}
		}
		cert, err = l.root.Issue(names, now)
		if err == nil {
			err = l.keep(ctx, cert)
			l.log.Info("a certificate was issued by this server's own authority", "names", names, "until", cert.Leaf.NotAfter)
		}
	}
	t := trouble{}
	if err != nil {
		t = trouble{Text: "no certificate can be issued: " + err.Error(), At: now, Next: now.Add(soon)}
	} else if refused != nil {
		t = trouble{Text: refused.Error(), At: now}
	}
	l.mu.Lock()
	news := t.Text != l.wrong.Text
	l.wrong = t
	if cert != nil {
		l.cert = cert
	}
	l.mu.Unlock()
	if t.Text != "" && news {
		l.log.Warn("the certificate for the home network lacks something", "reason", t.Text)
	}
	return err
}

func (l *local) keep(ctx context.Context, cert *tls.Certificate) error {
	text, err := formatPair(cert)
	if err != nil {
		return err
	}
	if err := put(ctx, l.db, keyOf(kindLeaf, ""), text); err != nil && ctx.Err() == nil {
		// It is served all the same, and another one issued at the next start.
		l.log.Warn("the certificate for the home network can't be stored", "error", err)
	}
	return nil
}

func (l *local) renewalOf(cert *tls.Certificate) time.Time {
	life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)
	return cert.Leaf.NotAfter.Add(-time.Duration(float64(life) * l.o.RenewAt))
}

func covered(cert *tls.Certificate, names []string) bool {
	have := namesIn(cert.Leaf)
	for _, name := range names {
		if !slices.Contains(have, name) {
			return false
		}
	}
	return true
}

// maxMet bounds how many addresses clients can have put into the certificate.
const maxMet = 32

// certificate issues one for an address that the machine got since, when a client comes to it: without a name, since that is how browsers
// ask for an address.
func (l *local) certificate(hello *tls.ClientHelloInfo) *tls.Certificate {
	if l.root != nil && hello.ServerName == "" && hello.Conn != nil {
		ip := addrOf(hello.Conn.LocalAddr())
		if ip != "" && l.root.Permits(ip) == nil && !slices.Contains(l.Names(), ip) && l.meet(ip) {
			l.ensure(context.Background(), false) // what goes wrong is in Status
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cert
}

// meet notes an address that a client came to, unless there are many already, as the loopback alone could have millions.
func (l *local) meet(ip string) (noted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.met) >= maxMet || slices.Contains(l.met, ip) {
		return false
	}
	l.met = append(l.met, ip)
	return true
}

// look asks the machine for its addresses and names, which are then among Names.
func (l *local) look() {
	here := l.here()
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for _, name := range slices.Concat(l.o.Names, here, l.met) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	l.setNames(names)
}

// here is what LocalNames says, but for what is of no use.
func (h *HTTPS) here() (here []string) {
	if h.o.LocalNames == nil {
		return nil
	}
	for _, name := range h.o.LocalNames() {
		plain, err := namesOf([]string{name})
		if err != nil {
			h.log.Debug("a name of this machine is of no use for a certificate", "error", err)
			continue
		}
		here = append(here, plain...)
	}
	return here
}

func (l *local) renew(ctx context.Context) error {
	if l.root == nil {
		return errs.New(errs.Conflict, l.wrong.Text)
	}
	if err := l.ensure(ctx, true); err != nil {
		return errs.Wrap(errs.Internal, "no certificate could be issued; the log says why", err)
	}
	return nil
}

func (l *local) state() []Name {
	names := l.Names()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.root == nil && len(names) == 0 {
		names = []string{"localhost"}
	}
	var out []Name
	for _, name := range names {
		if l.root == nil {
			n := nameOf(name, nil, l.o.Now())
			n.trouble(l.wrong)
			out = append(out, n)
			continue
		}
		err := l.root.Permits(name)
		if err != nil && !slices.Contains(l.o.Names, name) {
			continue // an address of the machine that is nothing to the home network
		}
		cert := l.cert
		if cert != nil && !slices.Contains(namesIn(cert.Leaf), name) {
			cert = nil
		}
		n := nameOf(name, cert, l.o.Now())
		switch {
		case err != nil:
			n.LastError = err.Error()
		case cert != nil:
			n.Renews = plainTime(l.renewalOf(cert))
		default:
			n.trouble(l.wrong)
		}
		out = append(out, n)
	}
	return out
}

// addrOf is the IP address of a connection's end, "" if it has none.
func addrOf(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok {
		if ip, ok := netip.AddrFromSlice(tcp.IP); ok {
			return ip.Unmap().String()
		}
	}
	return ""
}
