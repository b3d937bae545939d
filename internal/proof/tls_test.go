package proof

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"croft/internal/needs"
)

// A scan is what sslscan found, as its XML says it.
type scan struct {
	Test struct {
		Protocols []struct {
			Type    string `xml:"type,attr"`
			Version string `xml:"version,attr"`
			Enabled bool   `xml:"enabled,attr"`
		} `xml:"protocol"`
		Renegotiation []struct {
			Supported bool `xml:"supported,attr"`
		} `xml:"renegotiation"`
		Compression []struct {
			Supported bool `xml:"supported,attr"`
		} `xml:"compression"`
		Heartbleed []struct {
			Vulnerable bool `xml:"vulnerable,attr"`
		} `xml:"heartbleed"`
		Ciphers []struct {
			Version  string `xml:"sslversion,attr"`
			Name     string `xml:"cipher,attr"`
			Bits     int    `xml:"bits,attr"`
			Strength string `xml:"strength,attr"`
		} `xml:"cipher"`
		Groups []struct {
			Name string `xml:"name,attr"`
			Bits int    `xml:"bits,attr"`
		} `xml:"group"`
		Certificates []struct {
			Signature string `xml:"signature-algorithm"`
			Expired   bool   `xml:"expired"`
			Key       struct {
				Error bool `xml:"error,attr"`
				Bits  int  `xml:"bits,attr"`
			} `xml:"pk"`
		} `xml:"certificates>certificate"`
	} `xml:"ssltest"`
}

// goodCipher is a cipher with forward secrecy and authenticated encryption.
var goodCipher = regexp.MustCompile(`^(TLS_AES_(128|256)_GCM_SHA(256|384)|TLS_CHACHA20_POLY1305_SHA256|ECDHE-(RSA|ECDSA)-(AES(128|256)-GCM-SHA(256|384)|CHACHA20-POLY1305))$`)

// faults lists what is wrong.
func (s *scan) faults() []string {
	var all []string
	fault := func(format string, a ...any) { all = append(all, fmt.Sprintf(format, a...)) }
	for _, p := range s.Test.Protocols {
		if good := p.Type == "tls" && (p.Version == "1.2" || p.Version == "1.3"); p.Enabled != good {
			fault("%s %s is enabled: %v", p.Type, p.Version, p.Enabled)
		}
	}
	for _, r := range s.Test.Renegotiation {
		if r.Supported {
			fault("a client can ask for a renegotiation")
		}
	}
	for _, c := range s.Test.Compression {
		if c.Supported {
			fault("it compresses")
		}
	}
	for _, h := range s.Test.Heartbleed {
		if h.Vulnerable {
			fault("heartbleed")
		}
	}
	for _, c := range s.Test.Ciphers {
		if !goodCipher.MatchString(c.Name) || c.Bits < 128 || c.Strength != "strong" && c.Strength != "acceptable" {
			fault("%s with %s, of %d bits, which is %s", c.Version, c.Name, c.Bits, c.Strength)
		}
	}
	for _, g := range s.Test.Groups {
		if g.Bits < 112 {
			fault("the group %s, of %d bits", g.Name, g.Bits)
		}
	}
	for _, c := range s.Test.Certificates {
		if c.Expired || c.Key.Error || strings.Contains(c.Signature, "sha1") || strings.Contains(c.Signature, "md5") {
			fault("a certificate by %s, key of %d bits (error: %v), expired: %v", c.Signature, c.Key.Bits, c.Key.Error, c.Expired)
		}
	}
	return all
}

func sslscan(t *testing.T, program, address string) *scan {
	t.Helper()
	cmd := exec.Command(program, "--no-colour", "--xml=-", address)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sslscan: %v\n%s", err, out)
	}
	s := &scan{}
	if err := xml.Unmarshal(out, s); err != nil {
		t.Fatalf("sslscan: %v in %s", err, out)
	}
	if len(s.Test.Protocols) != 6 || len(s.Test.Renegotiation) == 0 || len(s.Test.Heartbleed) == 0 || len(s.Test.Ciphers) == 0 || len(s.Test.Certificates) == 0 {
		t.Fatalf("sslscan did not look at everything: %s", out)
	}
	return s
}

// TestTLSScan has sslscan look at a server with each kind of certificate. It must find nothing, and must find something in a
// server that is set up badly.
func TestTLSScan(t *testing.T) {
	program := needs.Program(t, "sslscan")
	for name, settings := range map[string]func(t *testing.T) []string{
		"local": func(*testing.T) []string { return []string{"CROFT_HTTPS_MODE=local"} },
		"files": func(t *testing.T) []string {
			certificate, key := rsaFiles(t)
			return []string{"CROFT_HTTPS_MODE=files", "CROFT_HTTPS_CERTIFICATE=" + certificate, "CROFT_HTTPS_KEY=" + key}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sslscan(t, program, secure(t, settings(t)...))
			for _, fault := range s.faults() {
				t.Error(fault)
			}
			versions := map[string]bool{}
			for _, c := range s.Test.Ciphers {
				versions[c.Version] = true
			}
			if !versions["TLSv1.2"] || !versions["TLSv1.3"] {
				t.Errorf("no ciphers for one of TLS 1.2 and 1.3: %+v", s.Test.Ciphers)
			}
		})
	}
	t.Run("a bad server", func(t *testing.T) {
		bad := bare(&tls.Config{
			MinVersion:   tls.VersionTLS10,
			CipherSuites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA},
		})
		defer bad.Close()
		faults := strings.Join(sslscan(t, program, bad.Listener.Addr().String()).faults(), "\n")
		for _, want := range []string{"tls 1.0 is enabled", "tls 1.1 is enabled", "TLSv1.2 with ECDHE-RSA-AES128-SHA"} {
			if !strings.Contains(faults, want) {
				t.Errorf("sslscan did not find: %s; it found:\n%s", want, faults)
			}
		}
	})
}

// TestHTTP2 has h2spec ask a server all that HTTP/2 forbids. It may fail where Go's own server fails too, and nowhere else.
func TestHTTP2(t *testing.T) {
	program := needs.Tool(t, "github.com/summerwind/h2spec/cmd/h2spec")
	ours := secure(t, "CROFT_HTTPS_MODE=local")
	plain := bare(&tls.Config{})
	defer plain.Close()

	// It waits for each answer for so long, and a slow machine takes longer: what fails must fail each time.
	var worse []string
	for range 3 {
		var gos, croft map[string]bool
		var wait sync.WaitGroup
		wait.Go(func() { gos = h2spec(t, program, plain.Listener.Addr().String()) })
		wait.Go(func() { croft = h2spec(t, program, ours) })
		wait.Wait()
		if t.Failed() {
			return
		}
		t.Logf("Go's server fails %d, ours %d", len(gos), len(croft))
		var now []string
		for name := range croft {
			if !gos[name] {
				now = append(now, name)
			}
		}
		if worse = now; len(worse) == 0 {
			return
		}
	}
	t.Errorf("these fail, and don't with Go's own server:\n%s", strings.Join(worse, "\n"))
}

// h2spec returns the cases that fail.
func h2spec(t *testing.T, program, address string) map[string]bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Error(err)
		return nil
	}
	report := filepath.Join(t.TempDir(), "report.xml")
	// Go's server closes a connection a second after it says so; the rest is for a slow machine.
	out, runErr := exec.Command(program, "-t", "-k", "-h", host, "-p", port, "-P", "/healthz", "-o", "3", "-j", report).CombinedOutput()
	text, err := os.ReadFile(report)
	if err != nil {
		t.Errorf("h2spec wrote no report: %v, %v\n%s", err, runErr, out)
		return nil
	}
	var suites struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &suites); err != nil {
		t.Errorf("h2spec: %v in %s", err, text)
		return nil
	}
	failed, cases := map[string]bool{}, 0
	for _, s := range suites.Suites {
		for _, c := range s.Cases {
			cases++
			if c.Failure != nil || c.Error != nil {
				failed[c.Package+": "+c.Name] = true
			}
		}
	}
	if cases < 100 || len(failed) > cases/2 { // it has 145
		t.Errorf("h2spec did not run as it should: %d cases, %d failed\n%s", cases, len(failed), out)
	}
	return failed
}

// secure starts a server with HTTPS and returns the address of its secure listener.
func secure(t *testing.T, settings ...string) (address string) {
	t.Helper()
	wrap := append([]string{"env", "CROFT_HTTPS_LISTEN=127.0.0.1:0", "CROFT_MDNS_ENABLED=false"}, settings...)
	s := start(t, binary(t, croft), filepath.Join(t.TempDir(), "croft.db"), wrap...)
	at, err := url.Parse(s.url)
	if err != nil || at.Scheme != "https" {
		t.Fatalf("the server answers at %s, which is not HTTPS (%v)", s.url, err)
	}
	return net.JoinHostPort("127.0.0.1", at.Port())
}

// bare is Go's own server with TLS and HTTP/2, which answers everything.
func bare(config *tls.Config) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello\n") // its error is that the client has gone
	}))
	s.EnableHTTP2, s.TLS = true, config
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	return s
}

// rsaFiles makes a certificate of the kind that most authorities sign, by itself.
func rsaFiles(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		DNSNames: []string{"croft.example.org"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}
