package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"

	"croft/internal/api"
	"croft/internal/app/apptest"
	"croft/internal/https"
	"croft/internal/store"
)

func networks(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// A front asks an API as if over the network, from any address.
type front struct {
	*api.API
	log   apptest.Log
	setup string // the set-up token
}

func newFront(t testing.TB, change func(*api.Options)) *front {
	t.Helper()
	f := &front{}
	o := parts(t, &f.log)
	if change != nil {
		change(&o)
	}
	f.API, f.setup = api.New(o), o.Auth.SetupToken()
	return f
}

func trusting(texts ...string) func(*api.Options) {
	return func(o *api.Options) { o.TrustedProxies = networks(texts...) }
}

// do makes a request. Headers are lines; one without a value takes the header away.
func (f *front) do(peer, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://localhost:8080"+path, strings.NewReader(body))
	r.RemoteAddr = peer
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Add(name, value)
		}
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

var lastFrom = regexp.MustCompile(`msg=request .* from=(\S+)`)

// from is whom the log names as the client of the last request.
func (f *front) from() string {
	all := lastFrom.FindAllStringSubmatch(f.log.String(), -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][1]
}

func TestForwardedAddress(t *testing.T) {
	const proxy = "10.0.0.1:40000"
	const many = "10.0.0.0/24 fd00:1::/64 192.0.2.7/32"
	for _, c := range []struct {
		trusted, peer string
		headers       []string
		want          string
	}{
		// Nobody is believed.
		{"", proxy, []string{"X-Forwarded-For: 203.0.113.9"}, "10.0.0.1"},
		{"", "203.0.113.5:1", []string{"X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1"}, "203.0.113.5"},
		{many, "203.0.113.5:1", []string{"X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1"}, "203.0.113.5"},
		{many, "10.0.1.1:1", []string{"X-Forwarded-For: 203.0.113.9"}, "10.0.1.1"},

		// One proxy, which appends.
		{many, proxy, nil, "10.0.0.1"},
		{many, proxy, []string{"X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
		{many, proxy, []string{"X-Forwarded-For: 6.6.6.6, 203.0.113.9"}, "203.0.113.9"},
		{many, proxy, []string{"X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"}, // in a line of its own
		{many, proxy, []string{"X-Forwarded-For: 10.0.0.9, 203.0.113.9"}, "203.0.113.9"},                   // a proxy's address made up
		{many, proxy, []string{"X-Forwarded-For: nonsense, ,,203.0.113.9"}, "203.0.113.9"},
		{many, "[::ffff:10.0.0.1]:4", []string{"X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},

		// Several.
		{many, proxy, []string{"X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.3, 192.0.2.7"}, "203.0.113.9"},
		{many, proxy, []string{"X-Forwarded-For: 203.0.113.9, 10.0.1.3, 10.0.0.2"}, "10.0.1.3"}, // one is not listed
		{many, proxy, []string{"X-Forwarded-For: 10.0.0.8, 10.0.0.9"}, "10.0.0.8"},              // it is a proxy that asks

		// Garbage ends the walk at who told it.
		{many, proxy, []string{"X-Forwarded-For: "}, "10.0.0.1"},
		{many, proxy, []string{"X-Forwarded-For: unknown"}, "10.0.0.1"},
		{many, proxy, []string{"X-Forwarded-For: 203.0.113.9,"}, "10.0.0.1"},
		{many, proxy, []string{"X-Forwarded-For: 6.6.6.6, croft.example.org, 10.0.0.2"}, "10.0.0.2"},
		{many, proxy, []string{"X-Forwarded-For: fe80::1%eth0"}, "10.0.0.1"},
		{many, proxy, []string{"X-Forwarded-For: 203.0.113.9:http"}, "10.0.0.1"},
		{many, proxy, []string{"X-Forwarded-For: [203.0.113.9]"}, "10.0.0.1"},
		{many, proxy, []string{"X-Forwarded-For: [2001:db8::9"}, "10.0.0.1"},
		{many, proxy, []string{"X-Forwarded-For: [2001:db8::9]x"}, "10.0.0.1"},
		{many, proxy, []string{"X-Forwarded-For: 203.0.113.09"}, "10.0.0.1"},

		// Spellings.
		{many, proxy, []string{"X-Forwarded-For: 203.0.113.9:51234"}, "203.0.113.9"},
		{many, proxy, []string{"X-Forwarded-For: \t2001:DB8::9 "}, "2001:db8::9"},
		{many, proxy, []string{"X-Forwarded-For: [2001:db8::9]"}, "2001:db8::9"},
		{many, proxy, []string{"X-Forwarded-For: [2001:db8::9]:51234"}, "2001:db8::9"},
		{many, proxy, []string{"X-Forwarded-For: ::ffff:203.0.113.9"}, "203.0.113.9"},
		{many, proxy, []string{"X-Forwarded-For: 203.0.113.9, ::ffff:10.0.0.2"}, "203.0.113.9"},
		{many, "[fd00:1::1]:4", []string{"X-Forwarded-For: 2001:db8::9, [fd00:1::2]:80"}, "2001:db8::9"},
		{"fe80::/64", "[fe80::1%lo]:4", []string{"X-Forwarded-For: 2001:db8::9"}, "2001:db8::9"},

		// Forwarded.
		{many, proxy, []string{"Forwarded: for=203.0.113.9"}, "203.0.113.9"},
		{many, proxy, []string{`Forwarded: For="[2001:db8::9]:4711";proto=https;by=10.0.0.1`}, "2001:db8::9"},
		{many, proxy, []string{`Forwarded: proto=http;for="203.0.113.9:_hidden"`}, "203.0.113.9"},
		{many, proxy, []string{"Forwarded: for=203.0.113.9:80"}, "203.0.113.9"}, // not as the RFC has it
		{many, proxy, []string{"Forwarded: for=6.6.6.6, for=203.0.113.9;proto=https, for=10.0.0.2"}, "203.0.113.9"},
		{many, proxy, []string{"Forwarded: for=6.6.6.6", "Forwarded: for=203.0.113.9"}, "203.0.113.9"},
		{many, proxy, []string{"Forwarded: for=6.6.6.6, , for=203.0.113.9,"}, "203.0.113.9"},
		{many, proxy, []string{`Forwarded: for="203.0.\113.9" ; host="a\"b,;c"`}, "203.0.113.9"},
		{many, proxy, []string{"Forwarded: for=6.6.6.6, for=unknown"}, "10.0.0.1"},
		{many, proxy, []string{"Forwarded: for=6.6.6.6, for=_hidden, for=10.0.0.2"}, "10.0.0.2"},
		{many, proxy, []string{"Forwarded: for=6.6.6.6, proto=https"}, "10.0.0.1"},
		{many, proxy, []string{"Forwarded: for=6.6.6.6;for=203.0.113.9"}, "10.0.0.1"},
		{many, proxy, []string{"Forwarded: "}, "10.0.0.1"},
		{many, proxy, []string{"Forwarded: for"}, "10.0.0.1"},
		{many, proxy, []string{"Forwarded: for=,for=6.6.6.6"}, "10.0.0.1"},
		{many, proxy, []string{"Forwarded: for = 6.6.6.6"}, "10.0.0.1"},
		{many, proxy, []string{"Forwarded: for=6.6.6.6 x"}, "10.0.0.1"},
		// An open quote of the client's can't swallow what its proxy wrote.
		{many, proxy, []string{`Forwarded: for=6.6.6.6, x="`, "Forwarded: for=203.0.113.9"}, "10.0.0.1"},
		{many, proxy, []string{`Forwarded: for=6.6.6.6, x="`, `Forwarded: for="[2001:db8::9]"`}, "10.0.0.1"},
		{many, proxy, []string{`Forwarded: for=6.6.6.6, x="\`, `Forwarded: for="[2001:db8::9]:1"`}, "10.0.0.1"},

		// Both: a proxy that sets one of them passes the other on as the client made it up.
		{many, proxy, []string{"X-Forwarded-For: 6.6.6.6, 203.0.113.9", "Forwarded: for=7.7.7.7"}, "10.0.0.1"},
		{many, proxy, []string{"X-Forwarded-For: 7.7.7.7", "Forwarded: for=6.6.6.6, for=203.0.113.9"}, "10.0.0.1"},
		{many, proxy, []string{"X-Forwarded-For: 203.0.113.9", "Forwarded: broken"}, "10.0.0.1"},
		{many, proxy, []string{"X-Forwarded-For: 203.0.113.9, 10.0.0.2", "Forwarded: for=203.0.113.9"}, "203.0.113.9"},

		// Everybody: whoever connects is a proxy, but not whoever it names.
		{"0.0.0.0/0 ::/0", "198.51.100.1:1", []string{"X-Forwarded-For: 6.6.6.6, 203.0.113.9"}, "203.0.113.9"},
		{"0.0.0.0/0", "198.51.100.1:1", []string{"Forwarded: for=6.6.6.6, for=203.0.113.9"}, "203.0.113.9"},
		{"0.0.0.0/0 10.0.0.2/32", "198.51.100.1:1", []string{"X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		{"0.0.0.0/0", "[2001:db8::1]:1", []string{"X-Forwarded-For: 6.6.6.6"}, "2001:db8::1"},
	} {
		f := newFront(t, trusting(strings.Fields(c.trusted)...))
		if w := f.do(c.peer, "GET", "/healthz", "", c.headers...); w.Code != 200 {
			t.Errorf("trusting %q, %s %q: status %d", c.trusted, c.peer, c.headers, w.Code)
		}
		if got := f.from(); got != c.want {
			t.Errorf("trusting %q, %s %q: from %s, want %s", c.trusted, c.peer, c.headers, got, c.want)
		}
	}
}

// guesses makes failed logins until one is refused for being one too many, and returns how many there were.
func (f *front) guesses(t *testing.T, peer string, headers func(i int) []string) int {
	t.Helper()
	for i := range 60 {
		body := fmt.Sprintf(`{"email":"nobody%d-%s@example.com","password":"guess-again-88"}`, i, strings.Map(alnum, peer))
		switch w := f.do(peer, "POST", "/api/v1/auth/login", body, headers(i)...); w.Code {
		case 401:
		case 429:
			return i
		default:
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	}
	return 60
}

func alnum(r rune) rune {
	if r >= '0' && r <= '9' {
		return r
	}
	return -1
}

// A client is throttled whatever it sends, and does not get another throttled.
func TestForwardedThrottle(t *testing.T) {
	const never = 60
	for name, c := range map[string]struct {
		trusted string
		peer    string
		headers func(i int) []string
		caught  bool
		others  []string // headers of a client whom all this does not concern
	}{
		"spoofed, and appended to": {"10.0.0.1/32", "10.0.0.1:1", func(i int) []string {
			return []string{fmt.Sprintf("X-Forwarded-For: 6.6.6.%d, 203.0.113.9", i)}
		}, true, []string{"X-Forwarded-For: 203.0.113.10"}},
		"spoofed as proxies": {"10.0.0.0/24", "10.0.0.1:1", func(i int) []string {
			return []string{fmt.Sprintf("X-Forwarded-For: 6.6.6.%d, 10.0.0.%d", i, i), "X-Forwarded-For: 203.0.113.9"}
		}, true, []string{"X-Forwarded-For: 203.0.113.10"}},
		"the other header, before a proxy of X-Forwarded-For": {"10.0.0.1/32", "10.0.0.1:1", func(i int) []string {
			return []string{"X-Forwarded-For: 203.0.113.9", fmt.Sprintf("Forwarded: for=6.6.6.%d", i)}
		}, true, []string{"X-Forwarded-For: 203.0.113.10"}},
		"the other header, before a proxy of Forwarded": {"10.0.0.1/32", "10.0.0.1:1", func(i int) []string {
			return []string{"Forwarded: for=203.0.113.9", fmt.Sprintf("X-Forwarded-For: 6.6.6.%d", i)}
		}, true, []string{"Forwarded: for=203.0.113.10"}},
		"many addresses of one IPv6 network": {"10.0.0.1/32", "10.0.0.1:1", func(i int) []string {
			return []string{fmt.Sprintf("X-Forwarded-For: 2001:db8::1:%x", i)}
		}, true, []string{"X-Forwarded-For: 2001:db8:0:1::1"}},
		"no proxies, forged":  {"", "203.0.113.9:1", func(i int) []string { return []string{fmt.Sprintf("X-Forwarded-For: 6.6.6.%d", i)} }, true, nil},
		"not a proxy, forged": {"10.0.0.1/32", "203.0.113.9:1", func(i int) []string { return []string{fmt.Sprintf("Forwarded: for=6.6.6.%d", i)} }, true, nil},
		"different clients":   {"10.0.0.1/32", "10.0.0.1:1", func(i int) []string { return []string{fmt.Sprintf("X-Forwarded-For: 203.0.113.%d", i)} }, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, trusting(strings.Fields(c.trusted)...))
			if got := f.guesses(t, c.peer, c.headers); (got < never) != c.caught {
				t.Errorf("throttled after %d guesses", got)
			}
			if c.others == nil {
				return
			}
			w := f.do(c.peer, "POST", "/api/v1/auth/login", `{"email":"somebody@example.com","password":"guess-again-88"}`, c.others...)
			if w.Code != 401 {
				t.Errorf("another client of this proxy got %d: %s", w.Code, w.Body)
			}
		})
	}
}

// Cookies are for HTTPS, and for pages of this server: with a proxy it is the proxy's address that counts.
func TestForwardedCookies(t *testing.T) {
	f := newFront(t, func(o *api.Options) {
		o.TrustedProxies, o.HTTPS = networks("10.0.0.1/32"), named(t, o.Store, "croft.example.org", "*.home.example.org")
	})
	const proxy, other = "10.0.0.1:1", "10.0.0.2:1"
	setup := fmt.Sprintf(`{"token":%q,"email":%q,"password":%q}`, f.setup, apptest.AdminEmail, apptest.AdminPassword)
	if w := f.do(proxy, "POST", "/api/v1/setup", setup, "X-Forwarded-For: 203.0.113.9"); w.Code != 200 {
		t.Fatalf("setup: %d %s", w.Code, w.Body)
	}
	login := fmt.Sprintf(`{"email":%q,"password":%q,"cookie":true}`, apptest.AdminEmail, apptest.AdminPassword)
	const client, own = "X-Forwarded-For: 203.0.113.9", "Origin: https://croft.example.org"
	for _, c := range []struct {
		peer    string
		headers []string
		want    int
	}{
		{proxy, []string{client, own, "Host: croft.example.org", "X-Forwarded-Proto: https"}, 200},
		{proxy, []string{client, own, "X-Forwarded-Host: croft.example.org", "X-Forwarded-Proto: HTTPS"}, 200},
		{proxy, []string{client, own, "X-Forwarded-Host: evil.example, croft.example.org", "X-Forwarded-Proto: http, https"}, 200},
		{proxy, []string{`Forwarded: for=203.0.113.9;host=croft.example.org;proto=https`, own}, 200},
		{proxy, []string{`Forwarded: for=6.6.6.6;host=evil.example;proto=http, for=203.0.113.9;host="croft.example.org:443";proto=https`, "Origin: https://croft.example.org:443"}, 200},
		{proxy, []string{client, "Origin: https://pi.home.example.org", "Host: pi.home.example.org", "X-Forwarded-Proto: https"}, 200},
		{proxy, []string{client, own, "Host: croft.example.org"}, 422},                              // by HTTP, as far as one knows
		{proxy, []string{client, own, "Host: croft.example.org", "X-Forwarded-Proto: http"}, 422},   // by HTTP
		{proxy, []string{client, own, "Host: croft.example.org", "X-Forwarded-Proto: gopher"}, 422}, // whatever that is
		{other, []string{client, own, "Host: croft.example.org", "X-Forwarded-Proto: https"}, 422},  // not believed
		{other, []string{own, "Forwarded: for=203.0.113.9;proto=https", "Host: raspberry"}, 422},    // likewise
		{proxy, []string{client, "Host: croft.example.org", "X-Forwarded-Proto: https"}, 403},       // from nowhere
		{proxy, []string{client, "Origin: http://croft.example.org", "Host: croft.example.org", "X-Forwarded-Proto: https"}, 403},
		{proxy, []string{client, "Origin: https://evil.example", "Host: croft.example.org", "X-Forwarded-Proto: https"}, 403},
		{proxy, []string{client, own, "Host: croft", "X-Forwarded-Proto: https"}, 403}, // the proxy doesn't pass the host on
		// A name that is not this server's, by whichever header.
		{proxy, []string{client, own, "Host: evil.example", "X-Forwarded-Proto: https"}, 421},
		{proxy, []string{client, own, "Host: evil.example", "X-Forwarded-Host: croft.example.org", "X-Forwarded-Proto: https"}, 421},
		{proxy, []string{client, own, "Host: croft.example.org", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https"}, 421},
		{proxy, []string{"Forwarded: for=203.0.113.9;host=evil.example;proto=https", own}, 421},
		{proxy, []string{client, "Host: a.b.home.example.org"}, 421},
		{proxy, []string{client, "Host: home.example.org"}, 421},
		{proxy, []string{client, "Host: .home.example.org"}, 421},
		{other, []string{"X-Forwarded-Host: croft.example.org", "Host: evil.example"}, 421},
	} {
		w := f.do(c.peer, "POST", "/api/v1/auth/login", login, c.headers...)
		if w.Code != c.want {
			t.Errorf("%s %q: status %d, want %d: %s", c.peer, c.headers, w.Code, c.want, w.Body)
		}
		if got := len(w.Header()["Set-Cookie"]); (got > 0) != (c.want == 200) {
			t.Errorf("%s %q: %d cookies", c.peer, c.headers, got)
		}
	}
}

// The local socket is nobody's proxy, even when all are trusted.
func TestForwardedLocal(t *testing.T) {
	f := newFront(t, trusting("0.0.0.0/0", "::/0"))
	r := httptest.NewRequest("GET", "http://croft/api/v1/settings", nil)
	r.RemoteAddr = "@"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	r.Header.Set("X-Forwarded-Host", "evil.example")
	w := httptest.NewRecorder()
	f.Local().ServeHTTP(w, r)
	if got := f.from(); w.Code != 200 || got != "-" {
		t.Errorf("status %d, from %s", w.Code, got)
	}
}

// The log tells once of a proxy that is not listed, and how to list it.
func TestForwardedWarning(t *testing.T) {
	for _, trusted := range []string{"", "10.9.9.9/32"} {
		f := newFront(t, trusting(strings.Fields(trusted)...))
		const forwarded = "X-Forwarded-For: 203.0.113.9"
		warnings := func() int { return strings.Count(f.log.String(), "is not listed") }
		f.do("192.168.1.2:1", "GET", "/healthz", "")
		f.do("203.0.113.5:1", "GET", "/healthz", "", forwarded)
		if warnings() != 0 {
			t.Errorf("a warning without a proxy:\n%s", f.log.String())
		}
		f.do("172.17.0.2:1", "GET", "/healthz", "", forwarded)
		f.do("172.17.0.3:1", "GET", "/healthz", "", forwarded)
		if log := f.log.String(); warnings() != 1 || !strings.Contains(log, "level=WARN") || !strings.Contains(log, `trusted = [\"172.17.0.2\"]`) {
			t.Errorf("%d warnings:\n%s", warnings(), log)
		}
	}
}

func TestHSTS(t *testing.T) {
	const want = "max-age=31536000"
	f := newFront(t, func(o *api.Options) {
		o.TrustedProxies, o.HTTPS = networks("127.0.0.1/32"), named(t, o.Store, "croft.example.org")
	})
	secure := httptest.NewTLSServer(f)
	defer secure.Close()
	r, err := secure.Client().Get(secure.URL + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if got := r.Header.Get("Strict-Transport-Security"); got != want {
		t.Errorf("over TLS: %q", got)
	}
	// A proxy sets its own.
	w := f.do("127.0.0.1:1", "GET", "/healthz", "", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")
	if got := w.Header().Get("Strict-Transport-Security"); got != "" {
		t.Errorf("without TLS: %q", got)
	}
}

// TestForwardedAllocations holds what is paid for the headers where there are no proxies: nothing.
func TestForwardedAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates too")
	}
	o := parts(t, nil)
	o.LogRequests = false
	a := api.New(o)
	allocations := func(headers map[string]string) float64 {
		r := benchRequest("GET", "/healthz", "", nil)
		for name, value := range headers {
			r.Header.Set(name, value)
		}
		r.RemoteAddr = "203.0.113.5:1"
		w := &sink{}
		return testing.AllocsPerRun(100, func() {
			w.reset()
			a.ServeHTTP(w, r)
		})
	}
	plain := allocations(nil)
	if got := allocations(map[string]string{"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6", "X-Forwarded-Host": "x"}); got != plain {
		t.Errorf("%v allocations with the headers, %v without", got, plain)
	}
}

// named is the HTTPS of a server that answers to some names.
func named(t *testing.T, db *store.DB, names ...string) *https.HTTPS {
	t.Helper()
	h, err := https.New(db, https.Options{Mode: https.ACME, Names: names, Challenge: https.ChallengeDNS, DNS: &certmagic.DNS01Solver{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, h) })
	return h
}
