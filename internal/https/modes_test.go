package https_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"croft/internal/errs"
	"croft/internal/https"
	"croft/internal/https/authority"
	"croft/internal/identity"
	"croft/internal/store"
	"croft/internal/store/storetest"
)

// pair makes a certificate of nobody's, and its key.
func pair(t *testing.T, serial int64, until time.Time, names ...string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: until.AddDate(0, -3, 0), NotAfter: until, DNSNames: names}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(path string, text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t)
	o := https.Options{Mode: https.Files, Certificate: certPath, Key: keyPath, Names: []string{"also.example.org"}, Poll: 10 * time.Millisecond}
	h := s.start(storetest.New(t), o)
	served := func() int64 {
		leaf, _ := s.served("a.example.org", nil)
		if !leaf.SerialNumber.IsInt64() {
			return -1 // signed by nobody
		}
		return leaf.SerialNumber.Int64()
	}
	// problem waits for the state to tell of words, and holds what is served meanwhile to it.
	problem := func(serial int64, words ...string) {
		t.Helper()
		s.until("problem "+strings.Join(words, " "), func() error {
			err := h.Healthy()
			for _, word := range words {
				if err == nil || !strings.Contains(err.Error(), word) {
					return errors.Join(errors.New("the state is another"), err)
				}
			}
			return nil
		})
		if got := served(); got != serial {
			t.Errorf("with %q, certificate %d is served, want %d", words, got, serial)
		}
	}
	problem(-1, "there is no certificate for also.example.org", "there is no file "+certPath, "there is no file "+keyPath)

	year := time.Now().AddDate(0, 2, 0)
	cert1, key1 := pair(t, 1, year, "a.example.org", "*.b.example.org")
	cert2, key2 := pair(t, 2, year, "a.example.org", "also.example.org")
	write(certPath, cert1)
	write(keyPath, key1)
	s.until("first certificate", func() error {
		if served() != 1 {
			return errors.New("another")
		}
		return nil
	})
	if want := []string{"also.example.org", "a.example.org", "*.b.example.org"}; !slices.Equal(h.Names(), want) {
		t.Errorf("names %q, want %q", h.Names(), want)
	}
	problem(1, "no certificate for also.example.org", "isn't for this name")
	if n := s.name("*.b.example.org"); n.NotAfter == nil || n.LastError != "" {
		t.Errorf("the wildcard: %+v", n)
	}
	write(certPath, cert2) // its key comes later
	problem(1, "don't go together")
	write(certPath, cert2[:len(cert2)/2]) // as in the middle of a write
	problem(1, "no certificate in PEM form")
	write(certPath, cert2)
	write(keyPath, key2)
	s.until("second certificate", func() error { return h.Healthy() })
	if served() != 2 {
		t.Errorf("certificate %d is served", served())
	}
	write(keyPath, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	problem(2, "passphrase", "openssl pkey")
	write(keyPath, []byte("x"))
	problem(2, "no private key")
	if err := os.Remove(keyPath); err != nil {
		t.Fatal(err)
	}
	problem(2, "there is no file "+keyPath)
	var e *errs.Error
	if err := h.Renew(t.Context(), operator); !errors.As(err, &e) || e.Code != errs.Conflict {
		t.Errorf("renew without a key: %v", err)
	}
	if err := os.Mkdir(keyPath, 0o700); err != nil {
		t.Fatal(err)
	}
	problem(2, keyPath+" is no file")
	if err := os.Remove(keyPath); err != nil {
		t.Fatal(err)
	}
	write(keyPath, key2) // as it was
	s.until("good state", func() error { return h.Healthy() })
	over, overKey := pair(t, 3, time.Now().AddDate(0, 0, -1), "a.example.org", "also.example.org")
	write(certPath, over)
	write(keyPath, overKey)
	problem(3, "ended on", "clock")
	if n := s.name("a.example.org"); n.DaysLeft == nil || *n.DaysLeft >= 0 {
		t.Errorf("days left of what ended: %+v", n)
	}
	write(certPath, cert1)
	write(keyPath, key1)
	if err := h.Renew(t.Context(), operator); err != nil || served() != 1 {
		t.Errorf("renew: %v; certificate %d", err, served())
	}
}

func TestLocal(t *testing.T) {
	db := storetest.New(t)
	s := newSite(t)
	var mu sync.Mutex
	here := []string{"192.168.7.5", "fe80::1%eth0", "2001:db8::1", "pi", "no name"}
	now := time.Now()
	o := https.Options{
		Mode: https.Local, Names: []string{"croft.local", "Pi.lan", "10.0.0.9"},
		LocalNames: func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(here) },
		Now:        func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
	}
	h := s.start(db, o)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(h.RootPEM()) {
		t.Fatalf("the root is %q", h.RootPEM())
	}
	root := h.RootPEM()
	first, err := s.served("croft.local", roots)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"croft.local", "pi.lan", "10.0.0.9", "192.168.7.5", "fe80::1", "pi"} {
		if err := first.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if first.VerifyHostname("2001:db8::1") == nil {
		t.Error("there is a certificate for an address of the internet")
	}
	if err := h.Healthy(); err != nil {
		t.Error(err)
	}
	// A client that comes to an address asks for no name; this one was not known.
	conn, err := tls.Dial("tcp", s.secure.Addr().String(), &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatalf("https to an address of the machine that it didn't tell of: %v", err)
	}
	conn.Close()
	second, err := s.served("croft.local", roots)
	if err != nil || second.VerifyHostname("127.0.0.1") != nil || second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Errorf("%v, %v", second.IPAddresses, err)
	}
	status, err := h.Status(t.Context(), operator)
	if err != nil || !status.Healthy || len(status.Names) != 7 || !strings.Contains(status.RootFingerprint, ":") {
		t.Errorf("%+v, %v", status, err)
	}

	// After a restart, and in a copy, it is the same.
	s.close()
	h = s.start(storetest.Open(t, copyFile(t, db)), o)
	again, err := s.served("croft.local", roots)
	if err != nil || again.SerialNumber.Cmp(second.SerialNumber) != 0 || string(h.RootPEM()) != string(root) {
		t.Errorf("after a restart: %v", err)
	}
	s.close()

	// Another address, or two thirds of its life, and there is another certificate.
	mu.Lock()
	here = []string{"192.168.7.6"}
	mu.Unlock()
	s.start(db, o)
	third, err := s.served("192.168.7.6", roots)
	if err != nil {
		t.Error(err)
	}
	s.close()
	mu.Lock()
	now = now.Add(270 * 24 * time.Hour)
	mu.Unlock()
	h = s.start(db, o)
	fourth, _ := s.served("croft.local", roots)
	if fourth.SerialNumber.Cmp(third.SerialNumber) == 0 {
		t.Error("after 270 days it is the same certificate")
	}
	if err := h.Renew(t.Context(), operator); err != nil {
		t.Error(err)
	}
	if fifth, _ := s.served("croft.local", roots); fifth.SerialNumber.Cmp(fourth.SerialNumber) == 0 {
		t.Error("after Renew it is the same certificate")
	}
	s.close()

	// A name that the root may not vouch for: the others are served.
	o.Names = append(o.Names, "bank.example.com")
	h = s.start(db, o)
	if n := s.name("bank.example.com"); !strings.Contains(n.LastError, "can't vouch") || n.NotAfter != nil {
		t.Errorf("%+v", n)
	}
	if err := h.Healthy(); err == nil || !strings.Contains(err.Error(), "bank.example.com") {
		t.Errorf("healthy: %v", err)
	}
	if leaf, _ := s.served("croft.local", roots); leaf.VerifyHostname("croft.local") != nil {
		t.Error("croft.local has no certificate any more")
	}
	check(t, db)
}

func TestPlain(t *testing.T) {
	db := storetest.New(t)
	cert, key := pair(t, 1, time.Now().AddDate(0, 1, 0), "a.example.org", "*.b.example.org")
	dir := t.TempDir()
	for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t)
	_, plain, _ := net.SplitHostPort(s.plain.Addr().String())
	_, secure, _ := net.SplitHostPort(s.secure.Addr().String())
	files := https.Options{Mode: https.Files, Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	acme := https.Options{Mode: https.ACME, Names: []string{"a.example.org", "c.example.org"}}
	local := https.Options{Mode: https.Local, Names: []string{"croft.local"}}
	for _, test := range []struct {
		name              string
		o                 https.Options
		method, host, url string
		want              string // where to; or "next", or a status
	}{
		{"off", https.Options{}, "GET", "anything", "/x", "next"},
		{"files", files, "GET", "a.example.org", "/x/%2e?y=z&a", "https://a.example.org/x/%2e?y=z&a"},
		{"post", files, "POST", "A.Example.org.:" + plain, "/api", "https://a.example.org:" + secure + "/api"},
		{"router's port", files, "GET", "a.example.org:8000", "/", "https://a.example.org/"},
		{"wildcard", files, "GET", "x.b.example.org", "/", "https://x.b.example.org/"},
		{"below the wildcard", files, "GET", "y.x.b.example.org", "/", "https://a.example.org/"},
		{"another host", files, "GET", "evil.example.com", "/x", "https://a.example.org/x"},
		{"an address", files, "GET", "127.0.0.1:" + plain, "/x", "https://a.example.org:" + secure + "/x"},
		{"two slashes", files, "GET", "a.example.org", "//evil.example.com/x", "https://a.example.org//evil.example.com/x"},
		{"health", files, "GET", "127.0.0.1", "/healthz", "next"},
		{"trust without an authority", files, "GET", "a.example.org", "/trust", "https://a.example.org/trust"},
		{"acme", acme, "GET", "c.example.org", "/", "https://c.example.org/"},
		{"acme, another", acme, "GET", "evil.example.com", "/", "https://a.example.org/"},
		{"acme, no such challenge", acme, "GET", "a.example.org", "/.well-known/acme-challenge/x", "https://a.example.org/.well-known/acme-challenge/x"},
		{"local", local, "GET", "croft.local:" + plain, "/x", "https://croft.local:" + secure + "/x"},
		{"local, front", local, "GET", "croft.local", "/", "/trust"},
		{"local, trust", local, "GET", "croft.local", "/trust", "next"},
		{"local, root", local, "GET", "192.168.1.5", "/trust/root.pem", "next"},
		{"local, profile", local, "GET", "192.168.1.5", "/trust/root.mobileconfig", "next"},
		{"local, address", local, "GET", "192.168.1.5", "/x", "https://192.168.1.5/x"},
		{"local, IPv6", local, "GET", "[fd00::1]:" + plain, "/x", "https://[fd00::1]:" + secure + "/x"},
		{"local, address of the internet", local, "GET", "203.0.113.5", "/x", "https://127.0.0.1:" + secure + "/x"},
		{"local, another", local, "GET", "evil.example.com", "/x", "https://127.0.0.1:" + secure + "/x"},
		{"local, another's front", local, "GET", "pi.fritz.box", "/", "http://127.0.0.1:" + plain + "/trust"},
		{"local, a name of the settings", https.Options{Mode: https.Local, HostNames: func() []string { return []string{"pi.fritz.box"} }}, "GET", "pi.fritz.box:" + plain, "/x", "https://pi.fritz.box:" + secure + "/x"},
		{"local without names", https.Options{Mode: https.Local}, "GET", "evil.example.com:" + plain, "/x", "https://127.0.0.1:" + secure + "/x"},
		{"wildcards only", https.Options{Mode: https.Files, Certificate: "x", Key: "y", Names: []string{"*.example.org"}}, "GET", "b.example.com", "/", "https://127.0.0.1:" + secure + "/"},
	} {
		h := s.open(db, test.o)
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		r, err := http.NewRequest(test.method, "http://"+s.plain.Addr().String()+test.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = test.host
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		got, status := answer.Header.Get("Location"), http.StatusPermanentRedirect
		switch test.want {
		case "next":
			status = http.StatusOK
		case "/trust", "http://127.0.0.1:" + plain + "/trust":
			status = http.StatusFound
		}
		if got == "" {
			got = "next"
		}
		if got != test.want || answer.StatusCode != status {
			t.Errorf("%s: %d %s, want %d %s", test.name, answer.StatusCode, got, status, test.want)
		}
		if hsts := h.HSTS(); (hsts != "") != (test.o.Mode == https.ACME) {
			t.Errorf("%s: HSTS %q", test.name, hsts)
		}
		s.close()
	}
}

// TLS 1.2 and 1.3, and nothing else.
func TestVersions(t *testing.T) {
	s := newSite(t)
	h := s.start(storetest.New(t), https.Options{Mode: https.Local, Names: []string{"croft.local"}})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(h.RootPEM())
	for _, test := range []struct {
		version uint16
		suites  []uint16
		ok      bool
	}{
		{tls.VersionTLS10, nil, false},
		{tls.VersionTLS11, nil, false},
		{tls.VersionTLS12, nil, true},
		{tls.VersionTLS13, nil, true},
		{tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}, false},
	} {
		conn, err := tls.Dial("tcp", s.secure.Addr().String(), &tls.Config{
			ServerName: "croft.local", RootCAs: roots, MinVersion: test.version, MaxVersion: test.version, CipherSuites: test.suites, NextProtos: []string{"h2"},
		})
		if test.ok != (err == nil) {
			t.Errorf("%s %v: %v", tls.VersionName(test.version), test.suites, err)
		}
		if err == nil {
			if conn.ConnectionState().NegotiatedProtocol != "h2" {
				t.Error("no HTTP/2")
			}
			conn.Close()
		}
	}
}

func TestWhoMay(t *testing.T) {
	h, err := https.New(storetest.New(t), https.Options{})
	if err != nil {
		t.Fatal(err)
	}
	admin := &identity.Caller{Kind: identity.User, ID: "1", Roles: []string{identity.Admin}}
	byToken := *admin
	byToken.Token = &identity.Token{}
	for _, test := range []struct {
		name string
		c    *identity.Caller
		want errs.Code // "" is allowed
	}{
		{"anonymous", &identity.Caller{}, errs.Unauthenticated},
		{"user", &identity.Caller{Kind: identity.User, ID: "2"}, errs.Forbidden},
		{"admin's token", &byToken, errs.Forbidden},
		{"admin", admin, ""},
		{"local operator", operator, ""},
	} {
		status, err := h.Status(t.Context(), test.c)
		var e *errs.Error
		if errors.As(err, &e); test.want != "" && (e == nil || e.Code != test.want) || test.want == "" && (err != nil || status.Mode != "off" || !status.Healthy) {
			t.Errorf("%s: status %+v, %v", test.name, status, err)
		}
		want := test.want
		if want == "" {
			want = errs.Conflict // it is off
		}
		if err := h.Renew(t.Context(), test.c); !errors.As(err, &e) || e.Code != want {
			t.Errorf("%s: renew %v, want %s", test.name, err, want)
		}
	}
	if h.Names() != nil || h.RootPEM() != nil || h.Healthy() != nil {
		t.Error("off has something")
	}
}

func TestCheck(t *testing.T) {
	db := storetest.New(t)
	root, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, key := pair(t, 1, time.Now(), "a.example.org")
	_, other := pair(t, 2, time.Now(), "a.example.org")
	stamp := "\x00\x00\x00\x00\x00\x00\x00\x01"
	want := map[string]string{}
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		var err error
		put := func(rest, value, fault string) {
			err = errors.Join(err, tx.Put(store.HTTPS.Key([]byte(rest)), []byte(value)))
			if fault != "" {
				want[fault] = rest
			}
		}
		put("ccertificates/x/good.example.org.pem", stamp+string(cert)+string(key), "")
		put("ccertificates/x/bad.example.org.pem", stamp+string(cert)+string(other), "certificate of bad.example.org: the certificate and the key don't go together")
		put("cacme/x/users/y", stamp+"{}", "")
		put("cacme/x/short", "1", "certificates: an entry is too short")
		put("r", string(root.Bytes())[:300], "Croft's own authority: ")
		put("l", string(cert), "certificate of Croft's own authority: there is no private key")
		put("ea.example.org", `{"error":"x"}`, "")
		put("eb.example.org", `{`, "last error of b.example.org: it can't be read")
		put("z", "", "certificates: there is an entry of a kind")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	err = db.View(func(tx *store.Tx) error {
		return https.Check(tx, func(where, what string) {
			found++
			for fault := range want {
				if strings.HasPrefix(where+": "+what, fault) {
					delete(want, fault)
					return
				}
			}
			t.Errorf("unexpected: %s: %s", where, what)
		})
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%d faults, not %v; %v", found, want, err)
	}
	// What can't be read doesn't keep the server from starting; but no other root is made, which nobody would trust.
	s := newSite(t)
	h := s.start(db, https.Options{Mode: https.Local})
	if err := h.Healthy(); err == nil || !strings.Contains(err.Error(), "authority") || h.RootPEM() != nil {
		t.Errorf("with a damaged authority: %v", err)
	}
	if err := h.Renew(t.Context(), operator); err == nil || !strings.Contains(err.Error(), "start Croft again") {
		t.Errorf("renew with a damaged authority: %v", err)
	}
	if leaf, _ := s.served("croft.local", nil); !strings.Contains(leaf.Subject.CommonName, "no certificate") {
		t.Errorf("with a damaged authority %v is served", leaf.Subject)
	}
}

// A server whose disk is nearly full gets its certificates.
func TestReserve(t *testing.T) {
	db, err := store.Open(filepath.Join(t.TempDir(), "croft.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := db.Path()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = store.Open(path, store.Options{Reserve: 1 << 60}); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.Put(store.HTTPS.Key([]byte("z")), nil) }); !errors.Is(err, store.ErrDiskFull) {
		t.Skipf("there is no reserve on this system: %v", err)
	}
	if err := https.NewStorage(db).Store(t.Context(), "a", []byte("b")); err != nil {
		t.Error(err)
	}
	h, err := https.New(db, https.Options{Mode: https.Local})
	if err != nil || h.Healthy() != nil || h.RootPEM() == nil {
		t.Errorf("%v", err)
	}
}
