package proof

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
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
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"croft/internal/https/authority"
	"croft/internal/needs"
)

// TestBrowser has Chromium open a server that has an authority of its own: without a warning where the root is trusted, and not at
// all where it isn't; and the page that says how to trust it, which says whether that is done.
func TestBrowser(t *testing.T) {
	home := startHome(t, "croft.local", "pi.lan")
	hosts := []string{"croft.local", "pi.lan", "127.0.0.1"}
	const title, path = "Trust this Croft", "/trust"

	trusting := startBrowser(t, home.root)
	for _, host := range hosts {
		if got, err := trusting.open("https://" + host + ":" + home.securePort + path); got != title || err != nil {
			t.Errorf("%s, with the root trusted: %q, %v", host, got, err)
		}
	}
	if got, err := trusting.open("https://other.lan:" + home.securePort + path); !says(err, "ERR_CERT_COMMON_NAME_INVALID") {
		t.Errorf("a name that the certificate is not for: %q, %v", got, err)
	}
	if said, err := trusting.verdict("http://croft.local:" + home.plainPort + path); !strings.HasPrefix(said, "Done") || err != nil {
		t.Errorf("the page says %q, %v", said, err)
	}

	doubting := startBrowser(t, nil)
	for _, host := range hosts {
		if got, err := doubting.open("https://" + host + ":" + home.securePort + path); !says(err, "ERR_CERT_AUTHORITY_INVALID") {
			t.Errorf("%s, without the root trusted: %q, %v", host, got, err)
		}
	}
	if said, err := doubting.verdict("http://croft.local:" + home.plainPort); !strings.HasPrefix(said, "This device does not trust") || err != nil {
		t.Errorf("the page says %q, %v", said, err)
	}
}

// TestBrowserStolenKey has Chromium trust an authority whose key was stolen with the data file. What the thief can vouch for is of
// no use outside a home.
func TestBrowserStolenKey(t *testing.T) {
	root, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	stolen := serveTLS(t, steal(t, root, "bank.example", "croft.local"))
	permitted := serveTLS(t, steal(t, root, "croft.local")) // shows that nothing but the name is wrong with stolen
	trusting := startBrowser(t, root.PEM())
	for _, host := range []string{"bank.example", "croft.local"} {
		if title, err := trusting.open("https://" + host + ":" + stolen); !says(err, "ERR_CERT_INVALID") {
			t.Errorf("%s: %q, %v", host, title, err)
		}
	}
	if title, err := trusting.open("https://croft.local:" + permitted); title != "croft.local" || err != nil {
		t.Errorf("a certificate for home: %q, %v", title, err)
	}
}

// A home is a croft serve with an authority of its own.
type home struct {
	root                  []byte // PEM
	plainPort, securePort string
}

func startHome(t *testing.T, names ...string) home {
	t.Helper()
	needs.Program(t, "chromium") // before a server is built for it
	data, bin := filepath.Join(t.TempDir(), "croft.db"), binary(t, croft)
	s, err := launch(t, bin, data, needs.Program(t, "env"), "CROFT_HTTPS_MODE=local", "CROFT_HTTPS_LISTEN=127.0.0.1:0",
		"CROFT_HTTPS_NAMES="+strings.Join(names, ","), "CROFT_MDNS_ENABLED=false")
	if err != nil {
		t.Fatal(err)
	}
	line, ok := <-s.first
	if !ok {
		<-s.ended
		t.Fatalf("croft serve ended: %v\n%s", s.err, s.log.String())
	}
	var at struct{ Address, URL string }
	if err := json.Unmarshal(line, &at); err != nil {
		t.Fatalf("croft serve said %q: %v", line, err)
	}
	secure, err := url.Parse(at.URL)
	if err != nil {
		t.Fatal(err)
	}
	h := home{securePort: secure.Port()}
	if _, h.plainPort, err = net.SplitHostPort(at.Address); err != nil {
		t.Fatal(err)
	}

	// The page offers what the command prints on the server's own machine.
	h.root = download(t, "http://"+at.Address+"/trust/root.pem")
	if profile := download(t, "http://"+at.Address+"/trust/root.mobileconfig"); !bytes.Contains(profile, []byte("com.apple.security.root")) {
		t.Errorf("the profile for iPhones: %s", profile)
	}
	printed, err := exec.Command(bin, "https", "root", "--data", data).Output()
	if err != nil || !bytes.Equal(printed, h.root) {
		t.Errorf("croft https root printed %q, %v; the page offers %q", printed, err, h.root)
	}
	return h
}

func download(t *testing.T, url string) []byte {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v: %s", url, answer.StatusCode, err, body)
	}
	return body
}

func says(err error, word string) bool { return err != nil && strings.Contains(err.Error(), word) }

// serveTLS serves pages whose title is the host asked for.
func serveTLS(t *testing.T, c *tls.Certificate) (port string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		fmt.Fprintf(w, "<!DOCTYPE html><title>%s</title>", host)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that the browser ends, as it shall
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*c}}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// steal makes a certificate with the key of an authority, as it stands in the data file.
func steal(t *testing.T, root *authority.Root, names ...string) *tls.Certificate {
	t.Helper()
	var blocks []*pem.Block
	for rest := root.Bytes(); len(rest) > 0; {
		var b *pem.Block
		b, rest = pem.Decode(rest)
		blocks = append(blocks, b)
	}
	issuer, err := x509.ParseCertificate(blocks[1].Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(blocks[2].Bytes)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, issuer, &own.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{leaf, issuer.Raw}, PrivateKey: own}
}

// A browser is a Chromium with a home of its own.
type browser struct {
	first context.Context // its first tab; each address is opened in another
}

// startBrowser starts a Chromium that trusts a root, in PEM; nil for none. It ends with the test.
func startBrowser(t *testing.T, root []byte) *browser {
	t.Helper()
	program := needs.Program(t, "chromium")

	// Not t.TempDir: Chromium has a socket in its temporary directory, whose path must be short.
	home, err := os.MkdirTemp("/tmp", "croft-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Errorf("the browser's files: %v", err)
		}
	})
	if root != nil {
		trustIn(t, home, root)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(program), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1, EXCLUDE 127.0.0.1"),
		chromedp.UserDataDir(filepath.Join(home, "profile")),
		chromedp.Env("HOME="+home, "XDG_DATA_HOME=", "XDG_CONFIG_HOME=", "TMPDIR="+home, "DBUS_SESSION_BUS_ADDRESS=disabled:"),
	)
	t.Cleanup(stop)
	first, done := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(first); err != nil {
			t.Logf("end the browser: %v", err)
		}
		done()
	})
	if err := chromedp.Do(first); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	return &browser{first}
}

// trustIn does what the page for Linux says.
func trustIn(t *testing.T, home string, root []byte) {
	t.Helper()
	certutil := needs.Program(t, "certutil")
	file, db := filepath.Join(home, "root.crt"), filepath.Join(home, ".pki", "nssdb")
	if err := os.MkdirAll(db, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, root, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-N", "--empty-password"}, {"-A", "-t", "C,,", "-n", "Croft home authority", "-i", file}} {
		if out, err := exec.Command(certutil, append([]string{"-d", "sql:" + db}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("certutil %v: %v\n%s", args, err, out)
		}
	}
}

// open opens an address, and returns the page's title. Where the browser warns instead, that is the error.
func (b *browser) open(url string) (title string, err error) {
	tab, done := chromedp.NewContext(b.first)
	defer done()
	if err := chromedp.Do(tab, chromedp.Navigate(url)); err != nil {
		return "", err
	}
	return chromedp.Run(tab, chromedp.Title())
}

// verdict opens the page that says how to trust a server, and returns what it says when it has looked whether that is done.
func (b *browser) verdict(url string) (string, error) {
	tab, done := chromedp.NewContext(b.first)
	defer done()
	if err := chromedp.Do(tab, chromedp.Navigate(url)); err != nil {
		return "", err
	}
	const look = `(() => { const said = document.getElementById("check").textContent; return said.startsWith("When") ? "" : said })()`
	return chromedp.Run(tab, chromedp.Poll[string](look, chromedp.WithPollingTimeout(patience)))
}
