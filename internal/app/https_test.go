package app_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"croft/internal/app"
	"croft/internal/app/apptest"
	"croft/internal/config"
)

// get makes a request without following where the answer leads.
func get(t *testing.T, c *http.Client, url string) (status int, body, location string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw), resp.Header.Get("Location")
}

// browser trusts a root certificate, and no other.
func browser(t *testing.T, root string) *http.Client {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(root)) {
		t.Fatalf("no root certificate: %q", root)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// A server in mode local answers at both ports, and after a restore at the same ones, with the restored file's own certificates.
func TestLocalHTTPS(t *testing.T) {
	s := serve(t, nil, func(c *config.Config) { c.HTTPS.Mode, c.HTTPS.Listen = config.HTTPSLocal, "127.0.0.1:0" })
	at := s.started()
	plain := "http://" + at.Addr.String()
	if at.URL != "https://"+at.Secure.String() || at.Trust != plain+"/trust" || !strings.HasPrefix(at.Setup, at.URL+"/#setup=croft_setup_") {
		t.Errorf("it says that it answers at %q, with %q and %q", at.URL, at.Trust, at.Setup)
	}
	nobody := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	_, root, _ := get(t, nobody, plain+"/trust/root.pem")
	c := browser(t, root)
	if status, body, _ := get(t, c, at.URL+"/healthz"); status != 200 || body != `{"status":"ok"}` {
		t.Errorf("healthz: %d %s", status, body)
	}
	if status, _, location := get(t, nobody, plain+"/api/v1/records/notes?limit=1"); status != 308 || location != at.URL+"/api/v1/records/notes?limit=1" {
		t.Errorf("plain HTTP: %d, to %q", status, location)
	}
	if status, _, location := get(t, nobody, plain+"/"); status != 302 || location != "/trust" {
		t.Errorf("plain HTTP's first page: %d, to %q", status, location)
	}

	var kept struct {
		Names []struct {
			Serial string `json:"serial"`
		} `json:"names"`
	}
	if status := s.ask("GET", "/https", nil, &kept); status != 200 || len(kept.Names) == 0 {
		t.Fatalf("status %d of /https, %+v", status, kept)
	}
	if status := s.ask("POST", "/restore", s.backup(), nil); status != 202 {
		t.Fatalf("restore: %d", status)
	}
	c.CloseIdleConnections()
	again := s.started()
	if again.Addr.String() != at.Addr.String() || again.Secure.String() != at.Secure.String() {
		t.Errorf("after a restore it answers at %v and %v, before at %v and %v", again.Addr, again.Secure, at.Addr, at.Secure)
	}
	resp, err := c.Get(at.URL + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.TLS.PeerCertificates[0].SerialNumber.Text(16); got != kept.Names[0].Serial {
		t.Errorf("the restored file has certificate %s, the copied one had %s", got, kept.Names[0].Serial)
	}
	s.end()
}

// What is wrong with a certificate is told where it is looked for, and stops nothing.
func TestNoCertificate(t *testing.T) {
	s := apptest.StartAt(t, filepath.Join(t.TempDir(), "croft.db"), apptest.Config(func(c *config.Config) {
		c.HTTPS.Mode, c.HTTPS.Listen = config.HTTPSFiles, "127.0.0.1:0"
		c.HTTPS.Certificate, c.HTTPS.Key = filepath.Join(t.TempDir(), "none.pem"), "none.key"
	}))
	r := s.Local().Do("GET", "/healthz", nil).Want(t, 200)
	if text := r.String("https"); !strings.Contains(text, "a certificate is missing") || strings.Contains(text, "none.pem") {
		t.Errorf("healthz says %s", r.Body)
	}
	var status struct {
		Problem string `json:"problem"`
	}
	s.Local().Do("GET", "/api/v1/https", nil).Want(t, 200).JSON(&status)
	if !strings.Contains(status.Problem, "none.pem") {
		t.Errorf("the status is %+v", status)
	}
	s.Local().Do("POST", "/api/v1/https/renew", nil).Want(t, 409)
	s.Local().Do("GET", "/api/v1/records/none", nil).Want(t, 404)
}

// A command works on a file whose config of HTTPS can't be used, which a server refuses.
func TestCommandWithoutToken(t *testing.T) {
	cfg := config.Default()
	cfg.Data, cfg.HTTPS.Mode = filepath.Join(t.TempDir(), "croft.db"), config.HTTPSACME
	cfg.HTTPS.Names, cfg.HTTPS.Challenge = []string{"example.org"}, "dns"
	cfg.HTTPS.DNS.Provider, cfg.HTTPS.DNS.TokenFile = "desec", filepath.Join(t.TempDir(), "token")
	if a, err := app.New(cfg, app.Options{HashParams: apptest.HashParams}); err == nil || !strings.Contains(err.Error(), cfg.HTTPS.DNS.TokenFile) {
		t.Errorf("a server without its token: %v, %v", a, err)
	}
	a, err := app.New(cfg, app.Options{HashParams: apptest.HashParams, Command: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(cfg.Data); err != nil {
		t.Error(err)
	}
}
