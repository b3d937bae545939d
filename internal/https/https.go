// Package https gets certificates, keeps them, and serves them: from an ACME authority such as Let's Encrypt, from files, or from
// Croft's own authority for the home network.
//
// It promises:
//   - That a certificate can't be had never stops the server, nor does it keep a handshake waiting: an old certificate is served while
//     there is one, else one that is signed by nobody, and what is wrong is in Status and in the log.
//   - It tries again by itself, and renews by itself. After a restart it doesn't ask an authority for what it has, nor sooner than the
//     authority's limits permit.
//   - Accounts, certificates, private keys and the own authority are in the data file: a copy of it serves the same certificates. No
//     private key reaches a log, an error or an answer.
//
// certmagic speaks ACME for it, and keeps the account; when to ask, what is kept and what is served is decided here, because
// certmagic's own schedule knows no state to show, nothing that wakes it, and waits for a minute at least after a failure. The keys of the space
// are in keys.go.
package https

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"

	"croft/internal/store"
)

// The modes.
const (
	Off   = "off"   // plain HTTP only
	ACME  = "acme"  // from an authority that speaks ACME
	Files = "files" // from two files
	Local = "local" // from Croft's own authority
)

// The challenges by which an ACME authority is shown that a name is ours.
const (
	ChallengeHTTP = "http" // HTTP-01 and TLS-ALPN-01, on our own listeners
	ChallengeDNS  = "dns"  // DNS-01
)

// Options are what HTTPS can be told.
type Options struct {
	Mode string // "" is Off

	// Names are the domains in mode ACME, with ChallengeDNS also such as *.example.org; and names and IP addresses in mode Local. In
	// modes Off and Files they are what the server answers to, besides the certificate's.
	Names []string

	Email          string // of the ACME account; "" is none
	Directory      string // URL of the ACME server; "" is Let's Encrypt
	DirectoryRoots []byte // PEM: the authorities that the ACME server's own TLS certificate may be from; nil is the system's
	Challenge      string // "" is ChallengeHTTP
	DNS            *certmagic.DNS01Solver

	Certificate, Key string // paths, in mode Files

	// LocalNames returns the addresses and names that the machine has now, for mode Local; nil is none. It is called from time to time.
	LocalNames func() []string

	// HostNames returns the names of the settings that the server answers to as well, in lower case; nil is none.
	HostNames func() []string

	Log *slog.Logger     // nil is none
	Now func() time.Time // nil is time.Now

	// For tests; 0 is the default.
	Poll    time.Duration // how often files are looked at; 5 s
	RenewAt float64       // the part of a certificate's life that is left when it is renewed; 1/3
}

// HTTPS has the server's certificates.
type HTTPS struct {
	db     *store.DB
	o      Options
	log    *slog.Logger
	source source // nil in mode Off

	plainPort, securePort uint16 // of our listeners; 0 where there is none

	fallback func() (*tls.Certificate, error) // made once: signed by nobody

	// What Names returns, which is asked at each request. The source makes another one when its names change.
	named atomic.Pointer[[]string]

	mu      sync.Mutex
	life    context.Context // of what runs in the background; nil before Start. With mu
	end     context.CancelFunc
	running sync.WaitGroup
}

// A source is where certificates come from.
type source interface {
	start(ctx context.Context, run *sync.WaitGroup)
	// certificate returns what is served to a client, nil if there is nothing.
	certificate(*tls.ClientHelloInfo) *tls.Certificate
	// renew gets all certificates anew, and returns when it is done.
	renew(ctx context.Context) error
	state() []Name
	close()
}

// New reads what is stored. An error says that the options can't be served, or the data file not be read; that there is no
// certificate is none.
func New(db *store.DB, o Options) (*HTTPS, error) {
	if o.Mode == "" {
		o.Mode = Off
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.RenewAt == 0 {
		o.RenewAt = 1. / 3
	}
	if o.Poll == 0 {
		o.Poll = 5 * time.Second
	}
	var err error
	if o.Names, err = namesOf(o.Names); err != nil {
		return nil, err
	}
	h := &HTTPS{db: db, o: o, log: o.Log}
	h.fallback = sync.OnceValues(func() (*tls.Certificate, error) { return selfSigned(h.Names(), h.o.Now()) })
	switch o.Mode {
	case Off:
		h.setNames(o.Names)
	case ACME:
		h.source, err = newACME(h)
	case Files:
		h.source, err = newFiles(h)
	case Local:
		h.source, err = newLocal(h)
	default:
		err = fmt.Errorf("there is no https mode %q: there are off, acme, files and local", o.Mode)
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Listening says where the server listens, nil for nowhere. It comes before Start: answers to an ACME authority's challenges are
// given there, and redirections lead there.
func (h *HTTPS) Listening(plain, secure net.Addr) {
	if a, ok := plain.(*net.TCPAddr); ok {
		h.plainPort = uint16(a.Port)
	}
	if a, ok := secure.(*net.TCPAddr); ok {
		h.securePort = uint16(a.Port)
	}
	if a, ok := h.source.(*acmeSource); ok {
		a.listening(plain, secure)
	}
}

// Start begins to get and renew certificates, in the background, until ctx ends or Close.
func (h *HTTPS) Start(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.life != nil {
		panic("https is started twice")
	}
	h.life, h.end = context.WithCancel(ctx)
	if h.source != nil {
		h.source.start(h.life, &h.running)
	}
}

// Close ends what Start began, and waits for it.
func (h *HTTPS) Close() error {
	h.mu.Lock()
	if h.end != nil {
		h.end()
	}
	h.mu.Unlock()
	h.running.Wait()
	if h.source != nil {
		h.source.close()
	}
	return nil
}

// Mode is the mode.
func (h *HTTPS) Mode() string { return h.o.Mode }

// Names are the host names and addresses that the server answers to; such as *.example.org stands for each name in its place. The
// slice is shared, and never changed.
func (h *HTTPS) Names() []string {
	if names := h.named.Load(); names != nil {
		return *names
	}
	return nil
}

func (h *HTTPS) setNames(names []string) { h.named.Store(&names) }

// NamesChanged says that LocalNames may return others now. Without it that is found out within an hour.
func (h *HTTPS) NamesChanged() {
	if l, ok := h.source.(*local); ok {
		select {
		case l.woke <- struct{}{}:
		default:
		}
	}
}

// Answers reports whether a host is one of Names. It is in lower case, and without a port.
func (h *HTTPS) Answers(host string) bool {
	return slices.ContainsFunc(h.Names(), func(name string) bool { return covers(name, host) })
}

// HSTS is the value of the header Strict-Transport-Security, or "" for none: who has taken over a certificate by hand, or
// trusts an authority at home, may have to go back.
func (h *HTTPS) HSTS() string {
	if h.o.Mode == ACME {
		return "max-age=31536000"
	}
	return ""
}

// RootPEM is the certificate of Croft's own authority, nil but in mode Local, and when that can't be used.
func (h *HTTPS) RootPEM() []byte {
	if l, ok := h.source.(*local); ok && l.root != nil {
		return l.root.PEM()
	}
	return nil
}

// SecurePort is the port of the listener with TLS; 0 before Listening.
func (h *HTTPS) SecurePort() int { return int(h.securePort) }

// TLSConfig is for the listener: TLS 1.2 with forward secrecy and authenticated encryption, and 1.3.
func (h *HTTPS) TLSConfig() *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all good
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: h.certificate,
	}
	if a, ok := h.source.(*acmeSource); ok && a.o.Challenge != ChallengeDNS {
		c.NextProtos = append(c.NextProtos, alpnProto)
	}
	return c
}

// certificate never fails for want of one: a handshake that ends lets the browser say what is wrong.
func (h *HTTPS) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if a, ok := h.source.(*acmeSource); ok && isChallenge(hello) {
		if !a.asking() {
			return nil, errors.New("no ACME challenge is under way")
		}
		return a.config.GetCertificate(hello)
	}
	if h.source == nil {
		return nil, errors.New("https is off")
	}
	if c := h.source.certificate(hello); c != nil {
		return c, nil
	}
	return h.fallback()
}

// namesOf brings names into their plain form, each once.
func namesOf(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		plain := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), ".")
		if a, err := netip.ParseAddr(plain); err == nil {
			plain = a.Unmap().WithZone("").String()
		} else if !certmagic.SubjectQualifiesForCert(plain) || strings.ContainsFunc(plain, func(r rune) bool { return r > 0x7e || r <= ' ' }) {
			return nil, fmt.Errorf("https: %q is no name that a certificate can be for: write a domain such as croft.example.org, in its form with xn-- if it has other letters", name)
		}
		if !slices.Contains(out, plain) {
			out = append(out, plain)
		}
	}
	return out, nil
}

// covers reports whether a name, which may begin with *., stands for a host.
func covers(name, host string) bool {
	if rest, ok := strings.CutPrefix(name, "*"); ok {
		label, found := strings.CutSuffix(host, rest)
		return found && label != "" && !strings.Contains(label, ".")
	}
	return name == host
}
