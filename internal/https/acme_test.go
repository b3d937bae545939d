package https_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"croft/internal/errs"
	"croft/internal/https"
	"croft/internal/https/pebbletest"
	"croft/internal/identity"
	"croft/internal/store"
	"croft/internal/store/storetest"
)

var operator = &identity.Caller{Kind: identity.Local}

// A site is a server with HTTPS: two listeners of its own, and whatever HTTPS stands behind them.
type site struct {
	t             testing.TB
	plain, secure net.Listener

	mu   sync.Mutex
	h    *https.HTTPS
	wrap func(http.Handler) http.Handler // around what answers plain requests
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t}
	for _, l := range []*net.Listener{&s.plain, &s.secure} {
		var err error
		if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "next") })
	quiet := slog.NewLogLogger(slog.DiscardHandler, 0)
	servers := []*http.Server{
		{ErrorLog: quiet, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h, wrap := s.now()
			if h == nil {
				return
			}
			handler := h.Plain(next)
			if wrap != nil {
				handler = wrap(handler)
			}
			handler.ServeHTTP(w, r)
		})},
		{ErrorLog: quiet, Handler: next},
	}
	config := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if h, _ := s.now(); h != nil {
			return h.TLSConfig(), nil
		}
		return nil, errors.New("nobody serves")
	}}
	var served sync.WaitGroup
	served.Go(func() { servers[0].Serve(s.plain) })
	served.Go(func() { servers[1].Serve(tls.NewListener(s.secure, config)) })
	t.Cleanup(func() {
		s.close()
		for _, server := range servers {
			server.Close()
		}
		served.Wait()
	})
	return s
}

func (s *site) now() (*https.HTTPS, func(http.Handler) http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.h, s.wrap
}

// open makes an HTTPS that stands behind the listeners.
func (s *site) open(db *store.DB, o https.Options) *https.HTTPS {
	s.t.Helper()
	h, err := https.New(db, o)
	if err != nil {
		s.t.Fatal(err)
	}
	h.Listening(s.plain.Addr(), s.secure.Addr())
	s.mu.Lock()
	s.h = h
	s.mu.Unlock()
	return h
}

func (s *site) start(db *store.DB, o https.Options) *https.HTTPS {
	s.t.Helper()
	h := s.open(db, o)
	h.Start(context.Background())
	return h
}

func (s *site) close() {
	s.mu.Lock()
	h := s.h
	s.h = nil
	s.mu.Unlock()
	if h != nil {
		if err := h.Close(); err != nil {
			s.t.Error(err)
		}
	}
}

// served is the certificate that a client gets that asks for a name, and whether it is of an authority.
func (s *site) served(name string, ca *x509.CertPool) (leaf *x509.Certificate, err error) {
	s.t.Helper()
	conn, err := tls.Dial("tcp", s.secure.Addr().String(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		s.t.Fatalf("a handshake for %s: %v", name, err)
	}
	defer conn.Close()
	chain := conn.ConnectionState().PeerCertificates
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: ca, Intermediates: between})
	return chain[0], err
}

// await waits until a certificate of the authority is served.
func (s *site) await(name string, ca *x509.CertPool) (leaf *x509.Certificate) {
	s.t.Helper()
	s.until("a good certificate for "+name, func() (err error) {
		leaf, err = s.served(name, ca)
		return err
	})
	return leaf
}

func (s *site) until(what string, f func() error) {
	s.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			h, _ := s.now()
			status, _ := h.Status(context.Background(), operator)
			s.t.Fatalf("no %s: %v; status %+v", what, err, status)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// name is what the status says of a name.
func (s *site) name(name string) https.Name {
	s.t.Helper()
	h, _ := s.now()
	status, err := h.Status(context.Background(), operator)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, n := range status.Names {
		if n.Name == name {
			return n
		}
	}
	s.t.Fatalf("the status has no %s: %+v", name, status)
	return https.Name{}
}

// awaitError waits for the status to tell of an error with these words.
func (s *site) awaitError(name string, words ...string) https.Name {
	s.t.Helper()
	var n https.Name
	s.until("error", func() error {
		if n = s.name(name); n.LastError == "" {
			return errors.New("no error")
		}
		return nil
	})
	for _, word := range words {
		if !strings.Contains(n.LastError, word) {
			s.t.Errorf("the error of %s lacks %q: %s", name, word, n.LastError)
		}
	}
	return n
}

func port(a net.Addr) int { return a.(*net.TCPAddr).Port }

func (s *site) ports() pebbletest.Options {
	return pebbletest.Options{HTTPPort: port(s.plain.Addr()), TLSPort: port(s.secure.Addr())}
}

func options(p *pebbletest.Pebble, names ...string) https.Options {
	return https.Options{Mode: https.ACME, Names: names, Directory: p.Directory, DirectoryRoots: p.Roots}
}

// Either challenge does, over listeners of ours, and what is logged of it holds no secret.
func TestChallenges(t *testing.T) {
	for _, challenge := range []string{"HTTP-01", "TLS-ALPN-01"} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := pebbletest.Start(t, s.ports())
			db := storetest.New(t)
			var log bytes.Buffer
			o := options(p, "one."+strings.ToLower(challenge)+".example.org", "two."+strings.ToLower(challenge)+".example.org")
			o.Email = "somebody@example.org"
			o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			h := s.open(db, o)
			if challenge == "HTTP-01" {
				h.OnlyPlain()
			} else {
				h.OnlySecure()
			}
			if err := h.Healthy(); err == nil || !strings.Contains(err.Error(), "no certificate for "+o.Names[0]+" yet") {
				t.Errorf("before there is a certificate: %v", err)
			}
			h.Start(t.Context())
			ca := p.CA()
			for _, name := range o.Names {
				leaf := s.await(name, ca)
				s.until("certificate in the status", func() error {
					if n := s.name(name); n.NotAfter == nil || !n.NotAfter.Equal(leaf.NotAfter) || n.Issuer == "" || n.Renews == nil || *n.DaysLeft < 88 || n.LastError != "" {
						return errors.New(n.LastError)
					}
					return nil
				})
			}
			if err := h.Healthy(); err != nil {
				t.Error(err)
			}
			// Somebody else's name gets what there is: the browser says that it is another one's.
			if leaf, _ := s.served("else.example.org", ca); leaf.VerifyHostname(o.Names[0]) != nil {
				t.Errorf("for another name %v is served", leaf.DNSNames)
			}
			s.close()
			for _, secret := range []string{"PRIVATE KEY", "keyAuth", "key_auth", "Replay-Nonce", "acme-challenge/"} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("the log has %q:\n%s", secret, log.String())
				}
			}
			if !strings.Contains(log.String(), "a new certificate") || !strings.Contains(log.String(), "trying to solve challenge") {
				t.Errorf("the log says too little:\n%s", log.String())
			}
			check(t, db)
		})
	}
}

// check has the check of the file find nothing.
func check(t *testing.T, db *store.DB) {
	t.Helper()
	err := db.View(func(tx *store.Tx) error {
		return https.Check(tx, func(where, what string) { t.Errorf("check: %s: %s", where, what) })
	})
	if err != nil {
		t.Error(err)
	}
}

// A certificate is renewed before it ends, and when somebody asks for it.
func TestRenewal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := s.ports()
	o.Validity = 20 * time.Second
	p := pebbletest.Start(t, o)
	options := options(p, "renewal.example.org")
	options.RenewAt = 0.9
	h := s.start(storetest.New(t), options)
	ca := p.CA()
	first := s.await("renewal.example.org", ca)
	s.until("renewal", func() error {
		leaf, err := s.served("renewal.example.org", ca)
		if err != nil {
			t.Errorf("what is served meanwhile: %v", err)
		}
		if leaf.SerialNumber.Cmp(first.SerialNumber) == 0 {
			return errors.New("still the first")
		}
		return nil
	})
	second, _ := s.served("renewal.example.org", ca)
	if err := h.Renew(t.Context(), operator); err != nil {
		t.Fatal(err)
	}
	if third, err := s.served("renewal.example.org", ca); err != nil || third.SerialNumber.Cmp(second.SerialNumber) == 0 {
		t.Errorf("after Renew: %v, %v", third.SerialNumber, err)
	}
}

// The server starts without its authority, serves what it can, and finds the authority by itself. A copy of the data file needs none.
func TestAuthorityDown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := pebbletest.New(t, s.ports())
	db := storetest.New(t)
	o := options(p, "down.example.org")
	s.start(db, o)
	n := s.awaitError("down.example.org", "can't be reached", strings.TrimSuffix(strings.TrimPrefix(p.Directory, "https://"), "/dir"), "internet connection")
	if n.NextTry == nil || n.LastTry == nil || n.NextTry.Sub(*n.LastTry) > time.Minute {
		t.Errorf("the next try is at %v, after %v", n.NextTry, n.LastTry)
	}
	if leaf, _ := s.served("down.example.org", nil); !strings.Contains(leaf.Subject.CommonName, "no certificate yet") || leaf.VerifyHostname("down.example.org") != nil {
		t.Errorf("without a certificate, %v is served", leaf.Subject)
	}
	p.Run()
	ca := p.CA()
	first := s.await("down.example.org", ca)
	s.until("good state", func() error {
		h, _ := s.now()
		return h.Healthy()
	})
	s.close()
	p.Stop()

	copied := storetest.Open(t, copyFile(t, db))
	h := s.start(copied, o)
	if leaf, err := s.served("down.example.org", ca); err != nil || leaf.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Errorf("a copy of the data file serves %v: %v", leaf.SerialNumber, err)
	}
	if err := h.Healthy(); err != nil {
		t.Error(err)
	}
	// And when it can't be renewed, it goes on being served.
	var e *errs.Error
	if err := h.Renew(t.Context(), operator); !errors.As(err, &e) || !strings.Contains(e.Text, "can't be reached") {
		t.Errorf("renew without an authority: %v", err)
	}
	if leaf, err := s.served("down.example.org", ca); err != nil || leaf.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Errorf("after a renewal that failed: %v: %v", leaf.SerialNumber, err)
	}
	s.awaitError("down.example.org", "can't be reached")
	if err := h.Healthy(); err != nil {
		t.Errorf("a certificate of 90 days is good, though it could not be renewed: %v", err)
	}
	s.close()

	// The error is remembered; and another authority is asked at once, while the certificate of the first is served.
	s.open(copied, o)
	s.awaitError("down.example.org", "can't be reached")
	s.close()
	other := pebbletest.Start(t, s.ports())
	s.start(copied, options(other, "down.example.org"))
	s.await("down.example.org", other.CA())
	check(t, copied)
}

func copyFile(t testing.TB, db *store.DB) (path string) {
	t.Helper()
	b, err := os.ReadFile(db.Path())
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "croft.db")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What an authority refuses is explained, doesn't keep other names from their certificates, and is asked again at once by Renew alone.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := s.ports()
	o.Blocked = []string{"blocked.example.org"}
	p := pebbletest.Start(t, o)
	db := storetest.New(t)
	options := options(p, "blocked.example.org", "good.example.org")
	h := s.start(db, options)
	ca := p.CA()
	s.await("good.example.org", ca)
	n := s.awaitError("blocked.example.org", "gives no certificates for blocked.example.org", "says:")
	if wait := n.NextTry.Sub(*n.LastTry); wait != 10*time.Minute {
		t.Errorf("after a refusal, the next try is %v later", wait)
	}
	if err := h.Healthy(); err == nil || !strings.Contains(err.Error(), "blocked.example.org") {
		t.Errorf("healthy: %v", err)
	}
	// Two more make three: after those a restart has to wait.
	for range 2 {
		if err := h.Renew(t.Context(), operator); err == nil || !strings.Contains(err.Error(), "blocked.example.org") {
			t.Errorf("renew: %v", err)
		}
	}
	n = s.name("blocked.example.org")
	s.close()
	s.start(db, options)
	if again := s.name("blocked.example.org"); again.LastError != n.LastError || !again.LastTry.Equal(*n.LastTry) || !again.NextTry.Equal(*n.NextTry) {
		t.Errorf("after a restart: %+v, want %+v", again, n)
	}
	s.close()

	p.Resolve("")
	h = s.start(db, optionsFor(options, "nowhere.example.org"))
	s.awaitError("nowhere.example.org", "nowhere.example.org", "DNS", "croft https renew")
	p.Resolve("127.0.0.1")
	if err := h.Renew(t.Context(), operator); err != nil {
		t.Fatal(err)
	}
	s.await("nowhere.example.org", ca)
	if n := s.name("nowhere.example.org"); n.LastError != "" {
		t.Errorf("after it went well: %+v", n)
	}
}

func optionsFor(o https.Options, names ...string) https.Options {
	o.Names = names
	return o
}

// A server that ends while an authority looks at it: nothing is lost, and the next one gets the certificate.
func TestCrashBetween(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := pebbletest.Start(t, s.ports())
	asked, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.wrap = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			once.Do(func() { close(asked) })
			<-proceed
			h.ServeHTTP(w, r)
		})
	}
	db := storetest.New(t)
	o := options(p, "crash.example.org")
	s.open(db, o).OnlyPlain()
	s.h.Start(t.Context())
	<-asked
	// As after a crash: what is on disk at this moment, and nothing else.
	crashed := storetest.Open(t, copyFile(t, db))
	s.close()
	close(proceed)
	s.start(crashed, o)
	s.await("crash.example.org", p.CA())
	check(t, crashed)
	if n := s.name("crash.example.org"); n.LastError != "" {
		t.Errorf("%+v", n)
	}
	// The one that was stopped in order has no error either.
	s.close()
	s.open(db, o)
	if n := s.name("crash.example.org"); n.LastError != "" {
		t.Errorf("after a stop in the middle: %+v", n)
	}
}

// A clock that is a year ahead: the certificate is served to others, whose clocks are right, and the error says what is wrong.
func TestWrongClock(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := pebbletest.Start(t, s.ports())
	o := options(p, "clock.example.org")
	o.Now = func() time.Time { return time.Now().AddDate(1, 0, 0) }
	h := s.start(storetest.New(t), o)
	n := s.awaitError("clock.example.org", "this machine's clock shows", "time synchronisation")
	if wait := n.NextTry.Sub(*n.LastTry); wait != time.Hour {
		t.Errorf("the next try is %v later", wait)
	}
	s.await("clock.example.org", p.CA())
	if again := s.name("clock.example.org"); again.LastError != n.LastError || again.NextTry == nil || !again.NextTry.Equal(*n.NextTry) {
		t.Errorf("when the certificate is stored, its trouble is %q, next try %v", again.LastError, again.NextTry)
	}
	if err := h.Healthy(); err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("healthy: %v", err)
	}
}

// What can't work is told at once.
func TestOptions(t *testing.T) {
	db := storetest.New(t)
	for _, test := range []struct {
		name string
		o    https.Options
		want string
	}{
		{"no such mode", https.Options{Mode: "on"}, `there is no https mode "on"`},
		{"no names", https.Options{Mode: https.ACME}, "https.names"},
		{"wildcard", https.Options{Mode: https.ACME, Names: []string{"*.example.org"}}, "set https.challenge to dns"},
		{"no provider", https.Options{Mode: https.ACME, Names: []string{"a.example.org"}, Challenge: "dns"}, "https.dns.provider"},
		{"no such challenge", https.Options{Mode: https.ACME, Names: []string{"a.example.org"}, Challenge: "tls"}, `"tls"`},
		{"a home name", https.Options{Mode: https.ACME, Names: []string{"croft.local"}}, "https.mode local"},
		{"a name without dots", https.Options{Mode: https.ACME, Names: []string{"croft"}}, "https.mode local"},
		{"an address of a home", https.Options{Mode: https.ACME, Names: []string{"192.168.1.5"}}, "https.mode local"},
		{"no name", https.Options{Mode: https.Local, Names: []string{"a b"}}, `"a b"`},
		{"letters", https.Options{Mode: https.Local, Names: []string{"bücher.lan"}}, "xn--"},
		{"roots", https.Options{Mode: https.ACME, Names: []string{"a.example.org"}, DirectoryRoots: []byte("x")}, "https.directory_roots"},
		{"no files", https.Options{Mode: https.Files, Certificate: "a.pem"}, "https.key"},
	} {
		if _, err := https.New(db, test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
