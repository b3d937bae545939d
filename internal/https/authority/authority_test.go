package authority_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"croft/internal/https/authority"
	"croft/internal/needs"
)

var now = time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)

func newRoot(t testing.TB, names ...string) *authority.Root {
	t.Helper()
	r, err := authority.New(now, names...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func issue(t testing.TB, r *authority.Root, names ...string) *tls.Certificate {
	t.Helper()
	c, err := r.Issue(names, now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// verify does what a Go client does that trusts the root.
func verify(r *authority.Root, c *tls.Certificate, host string, at time.Time) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(r.PEM())
	for _, der := range c.Certificate[1:] {
		between.AddCert(parse(der))
	}
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: host, CurrentTime: at})
	return err
}

func parse(der []byte) *x509.Certificate {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return c
}

// What a certificate is for, by names that are permitted, and how clients ask for it.
var permitted = []struct{ name, host string }{
	{"croft.local", "croft.local"},
	{"CROFT.Local.", "croft.local"},
	{"pi.lan", "pi.lan"},
	{"a.b.home.arpa", "a.b.home.arpa"},
	{"localhost", "localhost"},
	{"*.pi.lan", "notes.pi.lan"},
	{"pi", "pi"},
	{"croft.example.org", "croft.example.org"},
	{"192.168.1.20", "192.168.1.20"},
	{"::ffff:10.0.0.5", "10.0.0.5"},
	{"100.64.3.4", "100.64.3.4"},
	{"127.0.0.1", "127.0.0.1"},
	{"[::1]", "::1"},
	{"fe80::1%eth0", "fe80::1"},
	{"fd00::20", "fd00::20"},
}

func names() (all []string) {
	for _, p := range permitted {
		all = append(all, p.name)
	}
	return all
}

func TestIssue(t *testing.T) {
	r := newRoot(t, "pi", "croft.example.org")
	c := issue(t, r, names()...)
	for _, p := range permitted {
		if err := r.Permits(p.name); err != nil {
			t.Error(err)
		}
		if err := verify(r, c, p.host, now); err != nil {
			t.Errorf("%s: %v", p.host, err)
		}
		if err := verify(r, issue(t, r, p.name), p.host, now); err != nil {
			t.Errorf("%s alone: %v", p.host, err)
		}
	}
	if err := verify(r, c, "other.local", now); err == nil {
		t.Error("the certificate is for a name that was not asked for")
	}
	if err := verify(newRoot(t), c, "croft.local", now); err == nil {
		t.Error("another root vouches for the certificate")
	}
}

// A root is made once, maybe by a machine whose clock is wrong: it is good all the same when the clock was put right.
func TestMadeByAWrongClock(t *testing.T) {
	for _, wrong := range []time.Time{time.Unix(60, 0), now.AddDate(-1, 0, 0), now.AddDate(3, 0, 0)} {
		r, err := authority.New(wrong)
		if err != nil {
			t.Fatal(err)
		}
		for _, right := range []time.Time{now, now.AddDate(5, 0, 0)} {
			c, err := r.Issue([]string{"croft.local"}, right)
			if err != nil {
				t.Fatalf("made at %v, used at %v: %v", wrong, right, err)
			}
			if err := verify(r, c, "croft.local", right); err != nil {
				t.Errorf("made at %v, used at %v: %v", wrong, right, err)
			}
		}
	}
}

func TestForm(t *testing.T) {
	r := newRoot(t)
	c := issue(t, r, "croft.local", "Croft.local.", "192.168.1.20", "::ffff:192.168.1.20")
	leaf, root := c.Leaf, parse(block(t, r.PEM()))
	if d := leaf.NotAfter.Sub(leaf.NotBefore); d > 397*24*time.Hour || d < 396*24*time.Hour {
		t.Errorf("a certificate holds for %v", d)
	}
	if d := root.NotAfter.Sub(now); d != 3650*24*time.Hour {
		t.Errorf("the root holds for %v more", d)
	}
	if root.NotBefore.After(now.Add(-time.Hour)) || leaf.NotBefore.After(now.Add(-time.Hour)) {
		t.Errorf("clocks that are behind refuse: root from %v, certificate from %v", root.NotBefore, leaf.NotBefore)
	}
	if !slices.Equal(leaf.DNSNames, []string{"croft.local"}) || len(leaf.IPAddresses) != 1 || leaf.Subject.CommonName != "" {
		t.Errorf("names %q, addresses %v, subject %v", leaf.DNSNames, leaf.IPAddresses, leaf.Subject)
	}
	if leaf.IsCA || leaf.SerialNumber.BitLen() < 100 || leaf.SerialNumber.Cmp(issue(t, r, "croft.local").Leaf.SerialNumber) == 0 {
		t.Errorf("CA %v, serial %v", leaf.IsCA, leaf.SerialNumber)
	}
	if len(c.Certificate) != 2 || bytes.Equal(c.Certificate[1], root.Raw) {
		t.Errorf("the chain has %d certificates", len(c.Certificate))
	}
	for _, ca := range []*x509.Certificate{root, parse(c.Certificate[1])} {
		if !ca.IsCA || !ca.PermittedDNSDomainsCritical || len(ca.PermittedDNSDomains) == 0 || len(ca.PermittedIPRanges) == 0 {
			t.Errorf("%v is not constrained", ca.Subject)
		}
	}
	if issuer := parse(c.Certificate[1]); !issuer.MaxPathLenZero || issuer.MaxPathLen != 0 {
		t.Error("the issuer could make authorities")
	}
	if !regexp.MustCompile(`^Croft home authority [0-9a-f]{4}$`).MatchString(r.Name()) {
		t.Errorf("the name is %q", r.Name())
	}
	if !regexp.MustCompile(`^([0-9A-F]{2}:){31}[0-9A-F]{2}$`).MatchString(r.Fingerprint()) {
		t.Errorf("the fingerprint is %q", r.Fingerprint())
	}
	if rest := r.PEM(); bytes.Contains(rest, []byte("KEY")) || bytes.Count(rest, []byte("BEGIN")) != 1 {
		t.Errorf("the PEM:\n%s", rest)
	}
}

func block(t testing.TB, text []byte) []byte {
	t.Helper()
	b, rest := pem.Decode(text)
	if b == nil || len(rest) > 0 {
		t.Fatalf("not one PEM block:\n%s", text)
	}
	return b.Bytes
}

func TestDenied(t *testing.T) {
	// The last three were asked for, and are more than anybody's own.
	r := newRoot(t, "dev", "co.uk", "duckdns.org", "-", "1.2.3.4")
	for name, why := range map[string]string{
		"bank.example":      "fixed when it was made (local, lan,",
		"pi":                "fixed when",
		"notlocal":          "fixed when",
		"local.example.org": "fixed when",
		"dev":               "part of the internet",
		"app.dev":           "fixed when",
		"co.uk":             "part of the internet",
		"duckdns.org":       "part of the internet",
		"8.8.8.8":           "not an address of a private network",
		"1.2.3.4":           "not an address of a private network",
		"172.32.0.1":        "not an address of a private network",
		"2001:db8::1":       "not an address of a private network",
		"":                  "1 to 253",
		"a..local":          "each part",
		"-a.local":          "each part",
		"ä.local":           "xn--",
		"a b.local":         "letters, digits",
		"*.*.local":         "letters, digits",
		"*.local":           "browsers take",
		"croft.local:443":   "letters, digits",
	} {
		err := r.Permits(name)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", name, err)
		}
		if _, again := r.Issue([]string{"croft.local", name}, now); again == nil || again.Error() != err.Error() {
			t.Errorf("issue for %q: %v", name, again)
		}
	}
	if _, err := r.Issue(nil, now); err == nil {
		t.Error("a certificate for nothing")
	}
}

func TestClock(t *testing.T) {
	r := newRoot(t)
	for _, at := range []time.Time{now.AddDate(-1, 0, 0), now.AddDate(10, 0, 0)} {
		if _, err := r.Issue([]string{"croft.local"}, at); err == nil || !strings.Contains(err.Error(), at.Format(time.DateTime)) || !strings.Contains(err.Error(), "set the clock") {
			t.Errorf("at %v: %v", at, err)
		}
	}
	// Near the end a certificate is shorter: nothing outlives the root.
	late := r.NotAfter().Add(-time.Hour)
	c, err := r.Issue([]string{"croft.local"}, late)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Leaf.NotAfter.Equal(r.NotAfter()) {
		t.Errorf("the certificate ends %v, the root %v", c.Leaf.NotAfter, r.NotAfter())
	}
	if err := verify(r, c, "croft.local", late); err != nil {
		t.Error(err)
	}
}

// forgeries are what the thief of a data file would want.
func forgeries(t testing.TB, r *authority.Root) map[string]*tls.Certificate {
	t.Helper()
	form := x509.Certificate{NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 1, 0), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	all := map[string]*tls.Certificate{}
	for _, host := range []string{"bank.example", "8.8.8.8", "2001:db8::1"} {
		f := form
		if ip := net.ParseIP(host); ip != nil {
			f.IPAddresses = []net.IP{ip}
		} else {
			f.DNSNames = []string{host, "croft.local"}
		}
		c, err := r.Forge(&f)
		if err != nil {
			t.Fatal(err)
		}
		all[host] = c
	}
	return all
}

func TestStolenKey(t *testing.T) {
	r := newRoot(t)
	for host, c := range forgeries(t, r) {
		var invalid x509.CertificateInvalidError
		if err := verify(r, c, host, now); !errors.As(err, &invalid) || invalid.Reason != x509.CANotAuthorizedForThisName {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestOpenSSL(t *testing.T) {
	r := newRoot(t, "pi", "croft.example.org")
	c := issue(t, r, names()...)
	for _, p := range permitted {
		flag := "-verify_hostname"
		if net.ParseIP(p.host) != nil {
			flag = "-verify_ip"
		}
		for _, c := range []*tls.Certificate{c, issue(t, r, p.name)} {
			if text, err := openssl(t, r, c, flag, p.host); err != nil {
				t.Errorf("%s: %v\n%s", p.host, err, text)
			}
		}
	}
	for host, c := range forgeries(t, r) {
		if text, err := openssl(t, r, c); err == nil || !strings.Contains(text, "permitted subtree violation") {
			t.Errorf("%s: %v\n%s", host, err, text)
		}
	}
}

// openssl verifies as OpenSSL does, as strictly as it can.
func openssl(t *testing.T, r *authority.Root, c *tls.Certificate, args ...string) (string, error) {
	t.Helper()
	program := needs.Program(t, "openssl")
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	chain := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	args = append([]string{"verify", "-x509_strict", "-purpose", "sslserver", "-attime", "1795167000", "-no-CApath",
		"-CAfile", write("root.pem", r.PEM()), "-untrusted", write("issuer.pem", chain(c.Certificate[1]))}, args...)
	out, err := exec.Command(program, append(args, write("leaf.pem", chain(c.Certificate[0])))...).CombinedOutput()
	return string(out), err
}
