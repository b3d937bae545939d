package https

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"croft/internal/errs"
)

const alpnProto = acmez.ACMETLS1Protocol

// isChallenge reports whether a handshake is an ACME authority's, which looks for the answer to a TLS-ALPN-01 challenge.
func isChallenge(hello *tls.ClientHelloInfo) bool {
	return hello.ServerName != "" && len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == alpnProto
}

// acmeSource has certificates from an ACME authority, one for each name: so a name that can't have one doesn't keep others from theirs.
type acmeSource struct {
	*HTTPS
	storage *Storage
	cache   *certmagic.Cache // holds none: certmagic demands one
	config  *certmagic.Config
	issuer  *certmagic.ACMEIssuer

	managed []*managed // in the order of the names; never changes
}

// managed is a name whose certificate is got and renewed.
type managed struct {
	name string
	turn chan struct{} // holds one while an authority is asked
	woke chan struct{} // holds one when due may have changed

	mu      sync.Mutex
	cert    *tls.Certificate // nil while there is none; with Leaf
	foreign bool             // cert is from another authority than the one that is to be asked
	renewal time.Time        // when cert is to be renewed
	looked  time.Time        // when the authority was asked when that is
	trouble trouble

	unstored []byte // cert, until it is in the data file
	refused  bool   // the data file didn't take it

	storing sync.Mutex // held while unstored is stored
}

// current is the certificate that is served; nil while there is none.
func (m *managed) current() *tls.Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cert
}

func newACME(h *HTTPS) (*acmeSource, error) {
	o := &h.o
	if o.Directory == "" {
		o.Directory = certmagic.LetsEncryptProductionCA
	}
	if o.Challenge == "" {
		o.Challenge = ChallengeHTTP
	}
	if err := acmeFaults(o); err != nil {
		return nil, err
	}
	log := zapTo(h.log)
	a := &acmeSource{HTTPS: h, storage: NewStorage(h.db)}
	template := certmagic.ACMEIssuer{
		CA: o.Directory, Email: o.Email, Agreed: true, Logger: log,
		// Until Listening, there are no listeners. certmagic would open some.
		DisableHTTPChallenge: true, DisableTLSALPNChallenge: true,
	}
	if o.DirectoryRoots != nil {
		template.TrustedRoots = x509.NewCertPool()
		if !template.TrustedRoots.AppendCertsFromPEM(o.DirectoryRoots) {
			return nil, errors.New("https.directory_roots holds no certificate in PEM form")
		}
	}
	if o.Challenge == ChallengeDNS {
		if o.DNS.Logger == nil {
			o.DNS.Logger = log
		}
		template.DNS01Solver = dnsSolver{o.DNS, a.over}
	}
	// Nothing is put into the cache, so its maintenance has nothing to do; the config is for the challenges.
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil }, Logger: log,
		RenewCheckInterval: 24 * time.Hour, OCSPCheckInterval: 24 * time.Hour,
	})
	a.config = certmagic.New(a.cache, certmagic.Config{Storage: a.storage, Logger: log, OCSP: certmagic.OCSPConfig{DisableStapling: true}})
	a.issuer = certmagic.NewACMEIssuer(a.config, template)
	a.issuer.TestCA = "" // retries are ours
	a.config.Issuers = []certmagic.Issuer{a.issuer}
	h.setNames(o.Names)
	for _, name := range o.Names {
		m, err := a.load(name)
		if err != nil {
			a.cache.Stop()
			return nil, err
		}
		a.managed = append(a.managed, m)
	}
	return a, nil
}

// acmeFaults says what no authority would accept.
func acmeFaults(o *Options) error {
	if len(o.Names) == 0 {
		return errors.New("https mode acme needs https.names: the domains that certificates are for")
	}
	switch {
	case o.Challenge == ChallengeDNS && o.DNS == nil:
		return errors.New("https.challenge dns needs https.dns.provider: who has the domain's DNS")
	case o.Challenge != ChallengeDNS && o.Challenge != ChallengeHTTP:
		return fmt.Errorf("there is no https.challenge %q: there are http and dns", o.Challenge)
	}
	public := strings.Contains(o.Directory, "letsencrypt.org")
	for _, name := range o.Names {
		_, err := netip.ParseAddr(name)
		switch {
		case strings.HasPrefix(name, "*.") && o.Challenge != ChallengeDNS:
			return fmt.Errorf("https.names: a certificate for %s can only be had by DNS: set https.challenge to dns and https.dns.provider to who has the domain's DNS", name)
		case err == nil && o.Challenge == ChallengeDNS:
			return fmt.Errorf("https.names: %s is an address: a certificate for it can't be had by DNS", name)
		case public && err == nil:
			return fmt.Errorf("https.names: %s is an address: Croft gets certificates from Let's Encrypt for domains only; use https.mode local at home", name)
		case public && (!certmagic.SubjectQualifiesForPublicCert(name) || !strings.Contains(name, ".")):
			return fmt.Errorf("https.names: %s is a name of a home network: no public authority gives a certificate for it; use https.mode local", name)
		}
	}
	return nil
}

// listening says where the challenges are answered. certmagic tries to listen there as well, finds that somebody does, and leaves it at that.
func (a *acmeSource) listening(plain, secure net.Addr) {
	hosts := map[string]bool{}
	for _, addr := range []net.Addr{plain, secure} {
		if tcp, ok := addr.(*net.TCPAddr); ok {
			host := ""
			if len(tcp.IP) > 0 && !tcp.IP.IsUnspecified() {
				host = tcp.IP.String()
			}
			hosts[host] = true
			a.issuer.ListenHost = host
		}
	}
	if len(hosts) != 1 {
		a.issuer.ListenHost = ""
	}
	a.issuer.AltHTTPPort, a.issuer.DisableHTTPChallenge = int(a.plainPort), a.plainPort == 0
	a.issuer.AltTLSALPNPort, a.issuer.DisableTLSALPNChallenge = int(a.securePort), a.securePort == 0
}

// asking reports whether an authority is being asked: only then is there a challenge that may be answered.
func (a *acmeSource) asking() bool {
	return slices.ContainsFunc(a.managed, func(m *managed) bool { return len(m.turn) > 0 })
}

func (a *acmeSource) close() { a.cache.Stop() }

// path is where a certificate and its key are stored, in one value: a key is never beside another one's certificate.
func (a *acmeSource) path(issuer, name string) string {
	keys := certmagic.StorageKeys
	return path.Join(keys.CertsPrefix(issuer), keys.Safe(name)+".pem")
}

// load reads what is stored of a name: the authority's certificate, or while there is none another authority's.
func (a *acmeSource) load(name string) (*managed, error) {
	m := &managed{name: name, turn: make(chan struct{}, 1), woke: make(chan struct{}, 1), trouble: a.troubleOf(name)}
	if m.trouble.Asked != a.asked() {
		m.trouble.Failures = 0
	}
	if !m.trouble.Refused || m.trouble.Failures < limitAfter {
		m.trouble.Next = time.Time{}
	}
	own := a.path(a.issuer.IssuerKey(), name)
	paths := []string{own}
	others, err := a.storage.List(context.Background(), "certificates", false)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Error("not all certificates in the data file can be read", "error", err) // they can be had again
	}
	for _, folder := range others {
		if p := path.Join(folder, path.Base(own)); p != own {
			paths = append(paths, p)
		}
	}
	for _, p := range paths {
		text, err := a.storage.Load(context.Background(), p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var cert *tls.Certificate
		if err == nil {
			cert, err = parsePair(text, text)
		}
		if err != nil {
			// It can be had again.
			a.log.Error("the certificate in the data file can't be used; it is asked for anew", "name", name, "error", err)
			continue
		}
		m.cert, m.foreign = cert, p != own
		m.renewal = a.renewalOf(cert.Leaf)
		break
	}
	return m, nil
}

// over is closed when the server stops. It is asked for while an authority is asked, so after Start.
func (a *acmeSource) over() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.life.Done()
}

// asked tells authorities and ways apart.
func (a *acmeSource) asked() string { return a.o.Directory + " " + a.o.Challenge }

func (a *acmeSource) renewalOf(leaf *x509.Certificate) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return leaf.NotAfter.Add(-time.Duration(float64(life) * a.o.RenewAt))
}

// certificate chooses the certificate of the name that a client asks for, or the first.
func (a *acmeSource) certificate(hello *tls.ClientHelloInfo) *tls.Certificate {
	host := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	if host == "" && hello.Conn != nil {
		host = addrOf(hello.Conn.LocalAddr())
	}
	var any *tls.Certificate
	for _, m := range a.managed {
		cert := m.current()
		if cert == nil {
			continue
		}
		if cert.Leaf.VerifyHostname(host) == nil {
			return cert
		}
		if covers(m.name, host) || any == nil {
			any = cert
		}
	}
	// For a name that waits for its certificate, one that is signed by nobody but for this name says more than another name's.
	if slices.ContainsFunc(a.o.Names, func(name string) bool { return covers(name, host) }) {
		return nil
	}
	return any
}

func (a *acmeSource) start(ctx context.Context, run *sync.WaitGroup) {
	for _, m := range a.managed {
		if due := a.due(m); m.cert == nil && due.After(a.now()) {
			t := m.trouble
			a.log.Warn("no certificate could be had before; the authority's limits forbid another try at once (croft https renew tries now)",
				"name", m.name, "reason", t.Text, "next_try", due)
		}
		run.Go(func() { a.keep(ctx, m) })
	}
}

// longest is the longest sleep: a machine that was suspended finds out by then that it is late.
const longest = time.Hour

// keep gets and renews one certificate until ctx ends.
func (a *acmeSource) keep(ctx context.Context, m *managed) {
	for {
		if a.due(m).After(a.now()) {
			a.consult(ctx, m)
		} else {
			a.ask(ctx, m, false) // which remembers what went wrong
		}
		wait := min(a.due(m).Sub(a.now()), longest)
		if !a.store(ctx, m) {
			wait = min(wait, storeAgain)
		}
		if wait <= 0 {
			wait = time.Second // whatever the reason, not again at once
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-m.woke:
		}
	}
}

// storeAgain is how often the data file is given a certificate that it didn't take: its disk was full.
const storeAgain = 30 * time.Second

// store stores the certificate that is served, if that isn't done, and reports whether it is.
func (a *acmeSource) store(ctx context.Context, m *managed) bool {
	m.storing.Lock()
	defer m.storing.Unlock()
	m.mu.Lock()
	text, refused := m.unstored, m.refused
	m.mu.Unlock()
	if text == nil {
		return true
	}
	// A certificate that was issued is kept even when the server is told to stop.
	err := a.storage.Store(context.WithoutCancel(ctx), a.path(a.issuer.IssuerKey(), m.name), text)
	if err != nil && !refused {
		a.log.Error("a new certificate can't be stored in the data file: it is served until the server stops", "name", m.name, "error", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = err != nil
	if err == nil && &m.unstored[0] == &text[0] { // and not one that is newer still
		m.unstored = nil
	}
	return err == nil
}

func (a *acmeSource) now() time.Time { return a.o.Now() }

// limitAfter is how many refusals there may be before a restart has to wait: so a server that crashes again and again doesn't use up
// what an authority permits, and one whose owner puts something right and starts it again needs no patience.
const limitAfter = 3

// due is when the authority is to be asked next.
func (a *acmeSource) due(m *managed) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := a.now()
	want := m.renewal
	if m.cert == nil || m.foreign {
		want = now
	}
	// A next try that is further away than any pause was set by a clock that was wrong.
	if t := m.trouble; t.Next.After(want) && t.Next.Before(now.Add(maxPause+time.Minute)) {
		return t.Next
	}
	return want
}

// askLimit is how long one try may take: a DNS provider's propagation takes minutes.
const askLimit = 15 * time.Minute

// ask gets a certificate, if one is due or forced, and remembers what came of it.
func (a *acmeSource) ask(ctx context.Context, m *managed, forced bool) error {
	before := m.current()
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	// Authorities give only so many in a week: who forces while another asks gets what that one gets.
	if forced && m.current() != before || !forced && a.due(m).After(a.now()) {
		return nil
	}
	// Noted before: a server that ends here again and again minds the authority's limits all the same. And where this can't be written, a
	// certificate couldn't either.
	m.mu.Lock()
	last := m.trouble
	m.mu.Unlock()
	mark := trouble{Text: "the server ended while the authority was asked", At: a.now(), Failures: last.Failures + 1, Refused: true, Asked: a.asked()}
	mark.Next = mark.At.Add(pause(nil, mark.Failures))
	var cert *tls.Certificate
	var text []byte
	var renewal time.Time
	err := a.storeTrouble(ctx, m.name, mark)
	if err == nil {
		tryCtx, cancel := context.WithTimeout(ctx, askLimit)
		cert, text, renewal, err = a.obtain(tryCtx, m.name)
		cancel()
	}
	if err != nil && ctx.Err() != nil {
		a.setTrouble(context.WithoutCancel(ctx), m.name, last)
		return ctx.Err() // the server stops: nothing went wrong
	}
	now := a.now()
	t := trouble{}
	if err == nil {
		if text := clockFault(cert.Leaf, now); text != "" {
			err = &clockError{text}
		}
	}
	m.mu.Lock()
	if err != nil {
		t = trouble{Text: explain(err, m.name, a.o.Directory, now), At: now, Failures: m.trouble.Failures + 1, Refused: !unreachable(err), Asked: a.asked()}
		t.Next = now.Add(pause(err, t.Failures))
	}
	if cert != nil {
		m.cert, m.foreign, m.renewal, m.looked, m.unstored = cert, false, renewal, now, text
	}
	m.trouble = t
	m.mu.Unlock()
	if cert != nil && a.store(ctx, m) {
		a.forget(ctx, m.name)
	}
	a.setTrouble(ctx, m.name, t)
	select {
	case m.woke <- struct{}{}:
	default:
	}
	if err != nil {
		a.log.Warn("no certificate could be had", "name", m.name, "reason", t.Text, "next_try", t.Next)
		return errors.New(t.Text)
	}
	a.log.Info("a new certificate", "name", m.name, "issuer", cert.Leaf.Issuer.String(), "until", cert.Leaf.NotAfter)
	return nil
}

// obtain asks the authority for a certificate, once. text is what is to be stored.
func (a *acmeSource) obtain(ctx context.Context, name string) (cert *tls.Certificate, text []byte, renewal time.Time, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	form := &x509.CertificateRequest{DNSNames: []string{name}}
	if ip := net.ParseIP(name); ip != nil {
		form = &x509.CertificateRequest{IPAddresses: []net.IP{ip}}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, form, key)
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	if err := a.issuer.PreCheck(ctx, []string{name}, false); err != nil {
		return nil, nil, time.Time{}, err
	}
	issued, err := a.issuer.Issue(ctx, csr)
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	keyPEM, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	cert, err = parsePair(issued.Certificate, keyPEM)
	if err != nil {
		return nil, nil, time.Time{}, fmt.Errorf("what the authority issued can't be used: %w", err)
	}
	text = append(append(bytes.TrimSpace(issued.Certificate), '\n'), keyPEM...)
	renewal = a.renewalOf(cert.Leaf)
	if meta, ok := issued.Metadata.(acme.Certificate); ok && meta.RenewalInfo != nil {
		renewal = earlier(renewal, meta.RenewalInfo.SelectedTime)
	}
	return cert, text, renewal, nil
}

// forget deletes other authorities' certificates of a name.
func (a *acmeSource) forget(ctx context.Context, name string) {
	own := a.path(a.issuer.IssuerKey(), name)
	folders, err := a.storage.List(ctx, "certificates", false)
	for _, folder := range folders {
		if p := path.Join(folder, path.Base(own)); p != own && a.storage.Exists(ctx, p) {
			err = errors.Join(err, a.storage.Delete(ctx, p))
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("an earlier authority's certificate can't be deleted from the data file", "name", name, "error", err)
	}
}

// consultEvery is how often an authority is asked when it wants a certificate to be renewed (RFC 9773): one that must revoke many says
// so there, a day or more ahead.
const consultEvery = 6 * time.Hour

// consult asks for it. That there is no answer is no trouble: the certificate's life says enough.
func (a *acmeSource) consult(ctx context.Context, m *managed) {
	m.mu.Lock()
	cert, late := m.cert, a.now().Sub(m.looked) > consultEvery
	if late {
		m.looked = a.now()
	}
	m.mu.Unlock()
	if !late || cert == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	found, err := a.issuer.GetRenewalInfo(ctx, certmagic.Certificate{Certificate: *cert})
	if err != nil {
		a.log.Debug("the authority doesn't say when it wants a certificate to be renewed", "name", m.name, "error", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cert == cert {
		m.renewal = earlier(a.renewalOf(cert.Leaf), found.SelectedTime)
	}
}

func earlier(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// renew asks for all names at once. It goes on when the one who asked for it leaves.
func (a *acmeSource) renew(ctx context.Context) error {
	results := make(chan error, len(a.managed))
	a.mu.Lock()
	life := a.life
	if life == nil || life.Err() != nil {
		a.mu.Unlock()
		return errs.New(errs.Conflict, "no server runs that an authority could ask: start Croft, which gets certificates by itself")
	}
	for _, m := range a.managed {
		a.running.Go(func() { results <- a.ask(life, m, true) })
	}
	a.mu.Unlock()
	var failed error
	for range a.managed {
		select {
		case err := <-results:
			failed = errors.Join(failed, err)
		case <-ctx.Done():
			return errs.Wrap(errs.Timeout, "the certificates are still being asked for; croft https status tells what comes of it", ctx.Err())
		}
	}
	return failed
}

func (a *acmeSource) state() []Name {
	var out []Name
	for _, m := range a.managed {
		m.mu.Lock()
		n := nameOf(m.name, m.cert, a.now())
		if m.cert != nil {
			n.Renews = plainTime(m.renewal)
		}
		n.trouble(m.trouble)
		if m.refused && n.LastError == "" {
			n.LastError = "the new certificate can't be stored in the data file, and is served until the server stops: make room on its disk"
		}
		m.mu.Unlock()
		out = append(out, n)
	}
	return out
}
