package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"croft/internal/app/apptest"
	"croft/internal/config"
	"croft/internal/needs"
)

// TestNginx puts a real proxy, configured as docs/proxy.md says, in front of a server.
func TestNginx(t *testing.T) {
	program := needs.Program(t, "nginx")
	s := apptest.Start(t, apptest.Config(func(c *config.Config) { c.Proxy.Trusted = []string{"127.0.0.1"} }))
	url, roots := startNginx(t, program, strings.TrimPrefix(s.URL, "http://"))
	guest, owner, neighbour := from(t, "127.0.0.9", roots), from(t, "127.0.0.10", roots), from(t, "127.0.0.11", roots)

	// A guest guesses and makes addresses up, through the proxy; a neighbour does so past it. Both are caught, and the owner is not.
	for _, c := range []struct {
		ask ask
		url string
	}{{guest, url}, {neighbour, s.URL}} {
		caught := false
		for i := 0; i < 60 && !caught; i++ {
			r, text := c.ask("POST", c.url+"/api/v1/auth/login", fmt.Sprintf(`{"email":"nobody%d@example.com","password":"guess-again-88"}`, i),
				fmt.Sprintf("X-Forwarded-For: 127.0.0.1, 6.6.6.%d", i))
			caught = r.StatusCode == 429
			if !caught && r.StatusCode != 401 {
				t.Fatalf("%s: status %d: %s", c.url, r.StatusCode, text)
			}
		}
		if !caught {
			t.Errorf("%s: guesses without end", c.url)
		}
	}

	// Signing in by cookie works as without a proxy, and the session names the client.
	login := fmt.Sprintf(`{"email":%q,"password":%q,"cookie":true}`, apptest.AdminEmail, apptest.AdminPassword)
	r, text := owner("POST", url+"/api/v1/auth/login", login, "Origin: "+url)
	if r.StatusCode != 200 || len(r.Cookies()) != 1 {
		t.Fatalf("login: %d %s, cookies %v", r.StatusCode, text, r.Cookies())
	}
	cookie := "Cookie: " + r.Cookies()[0].Name + "=" + r.Cookies()[0].Value
	r, text = owner("GET", url+"/api/v1/auth/sessions", "", cookie)
	var sessions struct {
		Items []struct {
			Address string `json:"address"`
			Current bool   `json:"current"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(text), &sessions); r.StatusCode != 200 || err != nil {
		t.Fatalf("sessions: %d %v %s", r.StatusCode, err, text)
	}
	current := ""
	for _, s := range sessions.Items {
		if s.Current {
			current = s.Address
		}
	}
	if current != "127.0.0.10" {
		t.Errorf("this session is from %q: %s", current, text)
	}

	const merge = "Content-Type: application/merge-patch+json"
	me := url + "/api/v1/auth/me"
	for _, c := range []struct {
		origin string
		want   int
	}{{url, 200}, {"https://evil.example", 403}, {strings.Replace(url, "https:", "http:", 1), 403}} {
		if r, text := owner("PATCH", me, `{"name":"Ada"}`, cookie, merge, "Origin: "+c.origin); r.StatusCode != c.want {
			t.Errorf("a change from a page of %s: %d %s", c.origin, r.StatusCode, text)
		}
	}
	// A page that lets its own name point here, through a proxy that answers to every name, can't say another.
	if r, text := owner("GET", me, "", "Host: evil.example", "X-Forwarded-Host: localhost"); r.StatusCode != 421 {
		t.Errorf("a name made up: %d %s", r.StatusCode, text)
	}
}

// ask makes a request with headers as lines, and reads the answer.
type ask func(method, url, body string, headers ...string) (*http.Response, string)

// from returns a client at a loopback address of its own.
func from(t *testing.T, address string, roots *x509.CertPool) ask {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext:     (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return func(method, url, body string, headers ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			if name == "Host" {
				r.Host = value
			}
			r.Header.Set(name, value)
		}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer, string(text)
	}
}

// startNginx starts nginx with the location of docs/proxy.md in front of a server.
func startNginx(t *testing.T, program, upstream string) (url string, roots *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "proxy.md"))
	if err != nil {
		t.Fatal(err)
	}
	location := regexp.MustCompile(`(?s)    location / \{.*?\n    \}\n`).FindString(string(page))
	if !strings.Contains(location, "http://127.0.0.1:8080;") {
		t.Fatalf("docs/proxy.md has no location for nginx as this test wants it: %q", location)
	}
	location = strings.ReplaceAll(location, "127.0.0.1:8080", upstream)

	// nginx inherits the listener, so nobody else can take its port meanwhile, and connections wait until it is ready.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	address := listener.Addr().String()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)

	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // its workers must get into the test's folder
	}
	config := user + `
daemon off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
    listen ` + address + ` ssl;
    ssl_certificate cert.pem;
    ssl_certificate_key key.pem;
` + location + `
    }
}
`
	for name, text := range map[string][]byte{
		"nginx.conf": []byte(config), "cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-p", dir+"/", "-c", "nginx.conf", "-e", "stderr")
	cmd.Env = append(os.Environ(), "NGINX=3;")
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // its error is that it ended before, which Wait tells
		if err := cmd.Wait(); err != nil {
			t.Errorf("nginx: %v", err)
		}
	})
	return "https://" + address, roots
}
