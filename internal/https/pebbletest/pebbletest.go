// Package pebbletest runs Pebble, Let's Encrypt's small ACME server for tests, and the DNS server that it asks, on loopback. Both end
// with the test.
package pebbletest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"croft/internal/needs"
)

// Options say what Pebble is to check and to issue.
type Options struct {
	HTTPPort int           // where it looks for answers to HTTP-01; 0 is where nobody listens
	TLSPort  int           // and to TLS-ALPN-01
	DNS      string        // host:port of the DNS server that it asks; "" is one of its own, which says that every name is 127.0.0.1
	Validity time.Duration // of certificates; 0 is 90 days
	Blocked  []string      // names that it refuses
}

// Pebble is an ACME server.
type Pebble struct {
	Directory string // its URL
	Roots     []byte // PEM: the authority that its own TLS certificate is from

	t          testing.TB
	dir        string
	dns        string
	address    string
	management string
	names      string // the management address of the DNS server, "" if that is somebody else's
	running    *process
}

// Start runs Pebble. The test is skipped if it can't be built here.
func Start(t testing.TB, o Options) *Pebble {
	t.Helper()
	p := New(t, o)
	p.Run()
	return p
}

// New prepares a Pebble that runs from Run on.
func New(t testing.TB, o Options) *Pebble {
	t.Helper()
	p := &Pebble{t: t, dir: t.TempDir(), dns: o.DNS, address: freePort(t), management: freePort(t)}
	p.Directory = "https://" + p.address + "/dir"
	needs.Tool(t, pebble)
	if o.HTTPPort == 0 {
		o.HTTPPort = portOf(freePort(t))
	}
	if o.TLSPort == 0 {
		o.TLSPort = portOf(freePort(t))
	}
	if o.Validity == 0 {
		o.Validity = 90 * 24 * time.Hour
	}
	if p.dns == "" {
		p.dns, p.names = freePort(t), freePort(t)
		start(t, needs.Tool(t, challtestsrv), "-http01", "", "-https01", "", "-doh", "", "-tlsalpn01", "", "-defaultIPv6", "",
			"-dnsserver", p.dns, "-management", p.names)
		p.Resolve("127.0.0.1")
	}
	cert, key := p.certificate()
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": p.address, "managementListenAddress": p.management, "certificate": cert, "privateKey": key,
		"httpPort": o.HTTPPort, "tlsPort": o.TLSPort, "domainBlocklist": o.Blocked, "keyAlgorithm": "ecdsa",
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "the only one", "validityPeriod": int(o.Validity.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.write("pebble.json", config)
	return p
}

const (
	pebble       = "github.com/letsencrypt/pebble/v2/cmd/pebble"
	challtestsrv = "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv"
)

// Run starts Pebble, and returns when it answers. It remembers nothing of an earlier run, and has another root.
func (p *Pebble) Run() {
	p.t.Helper()
	// Without it, Pebble waits for up to 15 s before it validates.
	p.running = start(p.t, needs.Tool(p.t, pebble), []string{"PEBBLE_VA_NOSLEEP=1"}, "-config", filepath.Join(p.dir, "pebble.json"), "-dnsserver", p.dns)
	p.running.poll(func() error {
		_, err := p.get(p.Directory)
		return err
	})
}

// Stop ends Pebble at once.
func (p *Pebble) Stop() {
	p.t.Helper()
	p.running.stop()
}

// CA returns the authority that Pebble's certificates are from.
func (p *Pebble) CA() *x509.CertPool {
	p.t.Helper()
	root, err := p.get("https://" + p.management + "/roots/0")
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root) {
		p.t.Fatalf("Pebble's root is no certificate: %q", root)
	}
	return pool
}

// Resolve has all names be at an IPv4 address, or "" at none. It is for Pebble's own DNS server.
func (p *Pebble) Resolve(ip string) {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		r, err := http.Post("http://"+p.names+"/set-default-ipv4", "application/json", strings.NewReader(`{"ip":"`+ip+`"}`))
		if err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
			err = fmt.Errorf("%s", r.Status)
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the DNS server for tests doesn't answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *Pebble) get(url string) ([]byte, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.Roots)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	r, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(url)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

// certificate makes what Pebble shows those who ask it for certificates.
func (p *Pebble) certificate() (cert, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Pebble for a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		p.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Roots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return p.write("cert.pem", p.Roots), p.write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func (p *Pebble) write(name string, content []byte) (path string) {
	path = filepath.Join(p.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// A process is a server that the test runs.
type process struct {
	t      testing.TB
	name   string
	cancel context.CancelFunc
	ended  chan struct{} // closed when it has
	out    output
}

// start runs a program. Arguments of type []string are its environment, besides ours.
func start(t testing.TB, path string, args ...any) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{t: t, name: filepath.Base(path), cancel: cancel, ended: make(chan struct{})}
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = os.Environ()
	for _, arg := range args {
		switch arg := arg.(type) {
		case string:
			cmd.Args = append(cmd.Args, arg)
		case []string:
			cmd.Env = append(cmd.Env, arg...)
		}
	}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		cmd.Wait() // it is killed: the error says so
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said at last:\n%s", p.name, p.out.tail())
		}
	})
	return p
}

func (p *process) stop() {
	p.cancel()
	<-p.ended
}

// poll waits until f succeeds.
func (p *process) poll(f func() error) {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-p.ended:
			p.t.Fatalf("%s ended:\n%s", p.name, p.out.tail())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s doesn't answer: %v\n%s", p.name, err, p.out.tail())
		}
	}
}

// output is what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

// tail returns the last of it.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := strings.Split(o.buf.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// freePort returns an address at which nobody listens, for programs that can't choose one and tell. Others may take it meanwhile; the
// system hands out ports in an order that makes this rare.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func portOf(address string) int {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return n
}
