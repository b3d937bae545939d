package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"croft/internal/api"
	"croft/internal/app/apptest"
	"croft/internal/https/authority"
)

// trustServer serves one of the three answers for a root.
func trustServer(t *testing.T, what string, root []byte, port int, secure bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(api.NewWith(parts(t, nil), "/page", func(w http.ResponseWriter, _ *http.Request) error {
		return api.Trust(w, what, root, port)
	}))
	s.EnableHTTP2 = false
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func getTrust(t *testing.T, s *httptest.Server, host, agent string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest("GET", s.URL+"/page", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	r.Header.Set("User-Agent", agent)
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func newAuthority(t *testing.T) *authority.Root {
	t.Helper()
	root, err := authority.New(time.Now(), "pi.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestTrustPage(t *testing.T) {
	root := newAuthority(t)
	r, page := getTrust(t, trustServer(t, "page", root.PEM(), 443, false), "croft.local:8080", "")
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("status %d, %s: %s", r.StatusCode, r.Header.Get("Content-Type"), page)
	}
	for _, want := range []string{
		root.Name(), `href="https://croft.local/"`, `data-origin="https://croft.local"`, "plain HTTP", "croft https status",
		"croft-root-" + root.Name()[len(root.Name())-4:] + ".crt", `href="/trust/root.pem"`, `href="/trust/root.mobileconfig"`, ">pi.example.org<",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	print := regexp.MustCompile(`(?s)class="fingerprint">(.*?)</dd>`).FindStringSubmatch(page)
	if print == nil || regexp.MustCompile(`<[^>]+>`).ReplaceAllString(print[1], "") != root.Fingerprint() {
		t.Errorf("the fingerprint is %q, not %s", print, root.Fingerprint())
	}
	if strings.Contains(page, " open>") {
		t.Error("the steps for one system are open, and nobody knows the reader's")
	}
	// Nothing is loaded from anywhere, and the policy permits exactly the style and the script that are in the page.
	if found := regexp.MustCompile(`\b(src=|url\(|@import|on[a-z]+=|style=)`).FindString(page); found != "" {
		t.Errorf("the page has %s", found)
	}
	policy := r.Header.Get("Content-Security-Policy")
	for _, element := range []string{"style", "script"} {
		text := regexp.MustCompile("(?s)<" + element + ">(.*?)</" + element + ">").FindStringSubmatch(page)[1]
		digest := sha256.Sum256([]byte(text))
		if want := element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "';"; !strings.Contains(policy, want) {
			t.Errorf("the policy has no %s: %s", want, policy)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy: %s", policy)
	}
}

// The page leads to the name that its reader used.
func TestTrustAddress(t *testing.T) {
	root := newAuthority(t)
	for _, c := range []struct {
		host   string // PORT is the server's own
		port   int    // of HTTPS
		secure bool
		want   string
	}{
		{"pi:PORT", 443, false, "https://pi"},
		{"192.168.1.20:PORT", 8443, false, "https://192.168.1.20:8443"},
		{"[fd00::20]:PORT", 443, false, "https://[fd00::20]"},
		{"[fd00::20]:PORT", 8443, false, "https://[fd00::20]:8443"},
		{"croft.local:8443", 443, true, "https://croft.local:8443"},
		{"a&b;c", 443, false, "https://a&b;c"},
		// A router's ports are in front.
		{"pi", 8443, false, "https://pi"},
		{"[fd00::20]:81", 8443, false, "https://[fd00::20]"},
	} {
		server := trustServer(t, "page", root.PEM(), c.port, c.secure)
		_, own, err := net.SplitHostPort(server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, page := getTrust(t, server, strings.Replace(c.host, "PORT", own, 1), "")
		found := regexp.MustCompile(`data-origin="([^"]*)"`).FindStringSubmatch(page)
		if found == nil || html.UnescapeString(found[1]) != c.want {
			t.Errorf("%s leads to %q, not %s", c.host, found, c.want)
		}
		if strings.Contains(page, "plain HTTP") == c.secure {
			t.Errorf("%s: the page says how it came", c.host)
		}
	}
}

// The reader's own system stands first and is open; all others follow, closed.
func TestTrustSystems(t *testing.T) {
	server := trustServer(t, "page", newAuthority(t).PEM(), 443, false)
	for agent, want := range map[string]string{
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1": "ios android macos windows linux",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Mobile Safari/537.36":                         "android ios macos windows linux",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15":                   "macos ios android windows linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36 Edg/148.0.0.0":           "windows ios android macos linux",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "linux ios android macos windows",
	} {
		_, page := getTrust(t, server, "croft.local", agent)
		var order []string
		for i, m := range regexp.MustCompile(`<details id="(\w+)"( open)?>`).FindAllStringSubmatch(page, -1) {
			order = append(order, m[1])
			if (m[2] != "") != (i == 0) {
				t.Errorf("%s is open: %t", m[1], m[2] != "")
			}
		}
		if got := strings.Join(order, " "); got != want {
			t.Errorf("%s: %s", agent, got)
		}
	}
}

func TestTrustRoot(t *testing.T) {
	root := newAuthority(t)
	r, body := getTrust(t, trustServer(t, "root", root.PEM(), 443, false), "croft.local", "")
	if r.StatusCode != 200 || body != string(root.PEM()) || r.Header.Get("Content-Type") != "application/x-x509-ca-cert" {
		t.Errorf("status %d, %s: %s", r.StatusCode, r.Header.Get("Content-Type"), body)
	}
	if d := r.Header.Get("Content-Disposition"); !regexp.MustCompile(`^attachment; filename="croft-root-[0-9a-f]{4}\.crt"$`).MatchString(d) {
		t.Errorf("the disposition is %s", d)
	}
}

func TestTrustProfile(t *testing.T) {
	root := newAuthority(t)
	server := trustServer(t, "profile", root.PEM(), 443, false)
	r, body := getTrust(t, server, "croft.local", "")
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/x-apple-aspen-config" {
		t.Fatalf("status %d, %s: %s", r.StatusCode, r.Header.Get("Content-Type"), body)
	}
	var plist struct {
		Strings []string `xml:"dict>string"`
		Inner   struct {
			Strings []string `xml:"string"`
			Data    string   `xml:"data"`
		} `xml:"dict>array>dict"`
	}
	if err := xml.Unmarshal([]byte(body), &plist); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(root.PEM())
	if got, err := base64.StdEncoding.DecodeString(plist.Inner.Data); err != nil || !bytes.Equal(got, block.Bytes) {
		t.Errorf("the certificate is another: %v", err)
	}
	if !strings.Contains(strings.Join(plist.Strings, "\n"), root.Name()) || plist.Inner.Strings[0] != "com.apple.security.root" {
		t.Errorf("the profile says %q, %q", plist.Strings, plist.Inner.Strings)
	}
	if _, again := getTrust(t, server, "croft.local", ""); again != body {
		t.Error("the same root has two profiles: a second install would stand beside the first")
	}
}

func TestTrustElsewhere(t *testing.T) {
	s := apptest.Start(t)
	for _, path := range []string{"/trust", "/trust/root.pem", "/trust/root.mobileconfig"} {
		if r := s.Client().Do("GET", path, nil).Want(t, 404); !strings.Contains(string(r.Body), `"code":"not_found"`) || !strings.Contains(string(r.Body), "https.mode") {
			t.Errorf("%s: %s", path, r.Body)
		}
	}
}
