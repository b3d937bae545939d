package dns_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"croft/internal/https"
	"croft/internal/https/dns"
	"croft/internal/https/pebbletest"
	"croft/internal/identity"
	"croft/internal/store/storetest"
)

// serve runs HTTPS for names whose zone n has, with Pebble as the authority.
func serve(t *testing.T, n *named, token string, names ...string) (*https.HTTPS, *pebbletest.Pebble) {
	t.Helper()
	pebble := pebbletest.Start(t, pebbletest.Options{DNS: n.addr})
	solver, err := dns.Solver(dns.Options{Provider: "rfc2136", Token: token, Server: n.addr, Resolvers: []string{n.addr}})
	if err != nil {
		t.Fatal(err)
	}
	h, err := https.New(storetest.New(t), https.Options{
		Mode: https.ACME, Names: names, Challenge: https.ChallengeDNS, DNS: solver, Directory: pebble.Directory, DirectoryRoots: pebble.Roots,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	h.Start(t.Context())
	return h, pebble
}

// await polls the state of the first name that a condition doesn't hold for, until it holds for all.
func await(t *testing.T, h *https.HTTPS, what string, holds func(https.Name) bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		s, err := h.Status(t.Context(), &identity.Caller{Kind: identity.Local})
		if err != nil {
			t.Fatal(err)
		}
		all := true
		for _, name := range s.Names {
			all = all && holds(name)
		}
		if all {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s: %+v", what, s.Names)
		}
	}
}

// TestCertificates has certificates for a name and a wildcard, whose records are at one name and wanted at one time.
func TestCertificates(t *testing.T) {
	n := startNamed(t)
	h, pebble := serve(t, n, keyName+" "+keySecret, "home.example.test", "*.home.example.test")
	await(t, h, "certificates", func(n https.Name) bool { return n.NotAfter != nil || n.LastError != "" })
	roots := pebble.CA()
	for _, host := range []string{"home.example.test", "photos.home.example.test"} {
		if err := greet(t, h.TLSConfig(), host, roots); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	// A record is removed after its certificate is there.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		left := n.values(t, "_acme-challenge.home.example.test.")
		if left == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left in the zone: %q", left)
		}
	}
}

// greet shakes hands as a client that trusts nothing but roots.
func greet(t *testing.T, config *tls.Config, host string, roots *x509.CertPool) error {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if c, err := l.Accept(); err == nil {
			_ = c.(*tls.Conn).HandshakeContext(t.Context()) // the client tells
			c.Close()
		}
	}()
	defer func() { l.Close(); <-served }()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", l.Addr().String(), &tls.Config{ServerName: host, RootCAs: roots})
	if err != nil {
		return err
	}
	return c.Close()
}

// TestWrongKey wants the status to tell what is wrong with the key, and not the key.
func TestWrongKey(t *testing.T) {
	n := startNamed(t)
	wrong := "d3Jvbmcg" + keySecret[8:]
	h, _ := serve(t, n, keyName+" "+wrong, "wrong.example.test")
	await(t, h, "error", func(n https.Name) bool {
		if n.LastError == "" {
			return false
		}
		t.Log(n.LastError)
		if !strings.Contains(n.LastError, "The secret of the key croft-test is another one there") || strings.Contains(n.LastError, wrong) {
			t.Errorf("the status says: %s", n.LastError)
		}
		return true
	})
	if err := h.Healthy(); err == nil {
		t.Error("healthy without a certificate")
	}
}
