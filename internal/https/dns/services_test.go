package dns_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"croft/internal/https/dns"
)

// A service plays the one call and the other of a provider's API: what its library sends, and no more. It holds the TXT values of
// _acme-challenge.example.org.
type service struct {
	answer func(s *service, w http.ResponseWriter, r *http.Request, body map[string]any)

	mu     sync.Mutex
	values []string // guarded by mu
}

// services has one for each provider that is asked by HTTP, with a token that it takes.
var services = map[string]struct {
	token  string
	answer func(s *service, w http.ResponseWriter, r *http.Request, body map[string]any)
}{
	"cloudflare": {"cf-8Jk2+token/with=odd%chars", cloudflare},
	"desec":      {"de-i4T8sVq1token", desec},
	"duckdns":    {"8a1b2c3d-1111-2222-3333-444455556666", duckdns},
	"hetzner":    {"he-Yt7ntoken", hetzner},
	"gandi":      {"ga-Zx9ptoken", gandi},
	"porkbun":    {"pk1_0a1b2c sk1_9z8y7x", porkbun},
}

func (s *service) add(value string) { s.values = append(s.values, value) }

func (s *service) remove(value string) bool {
	i := slices.Index(s.values, value)
	if i >= 0 {
		s.values = slices.Delete(s.values, i, i+1)
	}
	return i >= 0
}

func (s *service) held() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.values)
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var body map[string]any
	if r.ContentLength > 0 && !strings.HasPrefix(r.URL.Path, "/api/v1/domains/") { // deSEC's is an array
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	s.answer(s, w, r, body)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, r *http.Request) {
	http.Error(w, "unexpected "+r.Method+" "+r.URL.String(), http.StatusTeapot)
}

type object = map[string]any

func cloudflare(s *service, w http.ResponseWriter, r *http.Request, body map[string]any) {
	record := func(value string) object {
		return object{"id": value, "type": "TXT", "name": "_acme-challenge.example.org", "content": value, "ttl": 60}
	}
	switch p := strings.TrimPrefix(r.URL.Path, "/client/v4/zones"); {
	case r.Header.Get("Authorization") != "Bearer cf-8Jk2+token/with=odd%chars":
		reply(w, http.StatusForbidden, object{"errors": []object{{"code": 9109, "message": "Invalid access token"}}})
	case p == "":
		var zones []object
		if strings.TrimSuffix(r.FormValue("name"), ".") == "example.org" {
			zones = append(zones, object{"id": "z", "name": "example.org"})
		}
		reply(w, http.StatusOK, object{"result": zones})
	case r.Method == http.MethodPost && body["name"] == "_acme-challenge" && body["type"] == "TXT":
		s.add(body["content"].(string))
		reply(w, http.StatusOK, object{"result": record(body["content"].(string))})
	case r.Method == http.MethodGet:
		var found []object
		if slices.Contains(s.values, r.FormValue("content")) {
			found = append(found, record(r.FormValue("content")))
		}
		reply(w, http.StatusOK, object{"result": found})
	case r.Method == http.MethodDelete && s.remove(path.Base(p)):
		reply(w, http.StatusOK, object{"result": record(path.Base(p))})
	default:
		refuse(w, r)
	}
}

func desec(s *service, w http.ResponseWriter, r *http.Request, _ map[string]any) {
	type set struct {
		Subname string   `json:"subname"`
		Type    string   `json:"type"`
		Records []string `json:"records"`
		TTL     int      `json:"ttl"`
	}
	switch {
	case r.Header.Get("Authorization") != "Token de-i4T8sVq1token":
		reply(w, http.StatusUnauthorized, object{"detail": "Invalid token."})
	case !strings.HasPrefix(r.URL.Path, "/api/v1/domains/example.org/rrsets/"):
		reply(w, http.StatusNotFound, object{"detail": "Not found."})
	case r.Method == http.MethodGet && len(s.values) == 0:
		reply(w, http.StatusNotFound, object{"detail": "Not found."})
	case r.Method == http.MethodGet:
		v := set{Subname: "_acme-challenge", Type: "TXT", TTL: 3600}
		for _, value := range s.values {
			v.Records = append(v.Records, strconv.Quote(value))
		}
		reply(w, http.StatusOK, v)
	case r.Method == http.MethodPut:
		var sets []set
		if err := json.NewDecoder(r.Body).Decode(&sets); err != nil || len(sets) != 1 || sets[0].Subname != "_acme-challenge" {
			refuse(w, r)
			return
		}
		s.values = nil
		for _, quoted := range sets[0].Records {
			value, _ := strconv.Unquote(quoted)
			s.add(value)
		}
		reply(w, http.StatusOK, sets)
	default:
		refuse(w, r)
	}
}

func duckdns(s *service, w http.ResponseWriter, r *http.Request, _ map[string]any) {
	if r.FormValue("token") != "8a1b2c3d-1111-2222-3333-444455556666" {
		fmt.Fprint(w, "KO")
		return
	}
	s.values = nil
	if r.FormValue("clear") != "true" {
		s.add(r.FormValue("txt"))
	}
	fmt.Fprint(w, "OK\n\n\nUPDATED")
}

func hetzner(s *service, w http.ResponseWriter, r *http.Request, body map[string]any) {
	missing := object{"error": object{"code": "not_found", "message": "resource not found"}}
	action := func(status string) object {
		return object{"id": 7, "status": status, "command": "rrset", "resources": []object{}}
	}
	records := func() (values []string) {
		for _, record := range body["records"].([]any) {
			values = append(values, strings.Trim(record.(object)["value"].(string), `"`))
		}
		return values
	}
	const set = "/v1/zones/example.org/rrsets/_acme-challenge/TXT/actions/"
	switch {
	case r.Host != "api.hetzner.cloud" || r.Header.Get("Authorization") != "Bearer he-Yt7ntoken":
		reply(w, http.StatusUnauthorized, object{"error": object{"code": "unauthorized", "message": "unable to authenticate"}})
	case r.URL.Path == "/v1/actions" && r.FormValue("id") == "7":
		reply(w, http.StatusOK, object{"actions": []object{action("success")}})
	case !strings.HasPrefix(r.URL.Path, set):
		reply(w, http.StatusNotFound, missing)
	case r.URL.Path == set+"add_records" && body["ttl"] == 60.0:
		for _, value := range records() {
			s.add(value)
		}
		reply(w, http.StatusCreated, object{"action": action("running")})
	case r.URL.Path == set+"remove_records" && len(s.values) > 0: // the set goes with its last record
		for _, value := range records() {
			s.remove(value)
		}
		reply(w, http.StatusCreated, object{"action": action("success")})
	case r.URL.Path == set+"remove_records":
		reply(w, http.StatusNotFound, missing)
	default:
		refuse(w, r)
	}
}

func gandi(s *service, w http.ResponseWriter, r *http.Request, body map[string]any) {
	const href = "/v5/livedns/domains/example.org/records"
	switch {
	case r.Header.Get("Authorization") != "Bearer ga-Zx9ptoken":
		reply(w, http.StatusForbidden, object{"code": 403, "message": "Access was denied to this resource."})
	case r.URL.Path == "/v5/livedns/domains/example.org":
		reply(w, http.StatusOK, object{"fqdn": "example.org", "domain_records_href": "https://api.gandi.net" + href})
	case r.URL.Path != href+"/_acme-challenge/TXT" || r.Method == http.MethodGet && len(s.values) == 0:
		reply(w, http.StatusNotFound, object{"code": 404, "message": "Can't find the resource"})
	case r.Method == http.MethodGet:
		var quoted []string
		for _, value := range s.values {
			quoted = append(quoted, strconv.Quote(value))
		}
		reply(w, http.StatusOK, object{"rrset_name": "_acme-challenge", "rrset_type": "TXT", "rrset_values": quoted})
	case r.Method == http.MethodPut:
		s.values = nil
		for _, value := range body["rrset_values"].([]any) {
			s.add(strings.Trim(value.(string), `"`))
		}
		reply(w, http.StatusCreated, object{})
	case r.Method == http.MethodDelete:
		s.values = nil
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, r)
	}
}

func porkbun(s *service, w http.ResponseWriter, r *http.Request, body map[string]any) {
	switch p := strings.TrimPrefix(r.URL.Path, "/api/json/v3/dns/"); {
	case body["apikey"] != "pk1_0a1b2c" || body["secretapikey"] != "sk1_9z8y7x":
		reply(w, http.StatusBadRequest, object{"status": "ERROR", "message": "Invalid API key. (002)"})
	case p == "create/example.org" && body["name"] == "_acme-challenge":
		s.add(body["content"].(string))
		reply(w, http.StatusOK, object{"status": "SUCCESS", "id": "1"})
	case p == "deleteByNameType/example.org/TXT/_acme-challenge":
		s.values = nil
		reply(w, http.StatusOK, object{"status": "SUCCESS"})
	case strings.HasPrefix(p, "create/"):
		reply(w, http.StatusBadRequest, object{"status": "ERROR", "message": "Invalid domain."})
	default:
		refuse(w, r)
	}
}

// toward has every HTTP request of the test go to a handler. The libraries have their addresses as constants, and use Go's own transport.
func toward(t *testing.T, h http.Handler) {
	t.Helper()
	s := httptest.NewServer(h)
	to, _ := url.Parse(s.URL)
	own := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = own; s.Close() })
	http.DefaultTransport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Scheme != "https" {
			return nil, errors.New("a token is sent in the clear")
		}
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host = to.Scheme, to.Host
		return own.RoundTrip(r)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestServices(t *testing.T) {
	for name, c := range services {
		t.Run(name, func(t *testing.T) {
			s := &service{answer: c.answer}
			toward(t, s)
			p, err := dns.New(dns.Options{Provider: name, Token: c.token})
			if err != nil {
				t.Fatal(err)
			}
			added, err := p.AppendRecords(t.Context(), "example.org.", txt("_acme-challenge", "one"))
			if err != nil || len(added) != 1 || added[0].RR().Data != "one" {
				t.Fatalf("added %v: %v", added, err)
			}
			if got := s.held(); !slices.Equal(got, []string{"one"}) {
				t.Errorf("after one was added: %q", got)
			}

			// A second value stands beside the first, or waits for its turn.
			second := make(chan error, 1)
			go func() {
				_, err := p.AppendRecords(t.Context(), "example.org.", txt("_acme-challenge", "two"))
				second <- err
			}()
			if slices.Contains([]string{"cloudflare", "desec", "hetzner"}, name) {
				if err := <-second; err != nil {
					t.Fatal(err)
				}
				if got := s.held(); !slices.Equal(got, []string{"one", "two"}) {
					t.Errorf("after two were added: %q", got)
				}
				second <- nil
			} else {
				gone, cancel := context.WithCancel(t.Context())
				cancel()
				if _, err := p.AppendRecords(gone, "example.org.", txt("_acme-challenge", "three")); !errors.Is(err, context.Canceled) {
					t.Errorf("another value did not wait: %v", err)
				}
			}
			if _, err := p.DeleteRecords(t.Context(), "example.org.", added); err != nil {
				t.Fatal(err)
			}
			if err := <-second; err != nil {
				t.Fatal(err)
			}
			if got := s.held(); !slices.Equal(got, []string{"two"}) {
				t.Errorf("after one was deleted: %q", got)
			}
			if _, err := p.DeleteRecords(t.Context(), "example.org.", txt("_acme-challenge", "two")); err != nil {
				t.Fatal(err)
			}
			if got := s.held(); len(got) != 0 {
				t.Errorf("left: %q", got)
			}
			if name != "duckdns" && name != "porkbun" { // which answer as if it had been there
				if _, err := p.DeleteRecords(t.Context(), "example.org.", txt("_acme-challenge", "two")); err == nil {
					t.Error("what isn't there was deleted")
				}
			}

			if name != "duckdns" { // whose zones are its own
				_, err = p.AppendRecords(t.Context(), "elsewhere.org.", txt("_acme-challenge", "one"))
				if err == nil || !strings.Contains(err.Error(), "_acme-challenge.elsewhere.org") {
					t.Errorf("another's zone: %v", err)
				}
			}
		})
	}
}

// TestServicesRefuse wants the advice that belongs to a provider, and no token, though the provider sends it back in every way.
func TestServicesRefuse(t *testing.T) {
	for name, c := range services {
		t.Run(name, func(t *testing.T) {
			toward(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				// With control characters, which a terminal would obey.
				said := fmt.Sprintf("no\x1b[2J token %s, %s, %q, in %s", c.token, url.QueryEscape(c.token), strings.Fields(c.token), r.URL)
				quoted, _ := json.Marshal(said)
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprintf(w, `{"code":403,"message":%s,"status":"ERROR","errors":[{"code":1,"message":%[1]s}]}`, quoted)
			}))
			o := dns.Options{Provider: name, Token: c.token}
			p, err := dns.New(o)
			if err != nil {
				t.Fatal(err)
			}
			s, err := dns.Solver(o)
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.AppendRecords(t.Context(), "example.org.", txt("_acme-challenge", "one"))
			if err == nil {
				t.Fatal("added, though it was refused")
			}
			t.Log(err)
			texts := []string{err.Error(), fmt.Sprintf("%+v %#v", errors.Unwrap(err), err)}
			texts = append(texts, fmt.Sprintf("%v %+v %#v %s %d", p, p, p, p, p), fmt.Sprintf("%v %+v %#v", s, s, s.DNSProvider), fmt.Sprintf("%v %+v %#v %s %d %x", o, o, o, o, o, o))
			for _, v := range []any{o, p, s.DNSProvider} {
				b, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				texts = append(texts, string(b))
			}
			for _, text := range texts {
				for _, secret := range append(strings.Fields(c.token), c.token, url.QueryEscape(c.token)) {
					if strings.Contains(text, secret) {
						t.Errorf("the token is in %s", text)
					}
				}
				if strings.ContainsRune(text, '\x1b') {
					t.Errorf("a control character is in %q", text)
				}
			}
			if !strings.Contains(err.Error(), "token") || !strings.Contains(err.Error(), "_acme-challenge.example.org: ") {
				t.Errorf("no advice in: %v", err)
			}
		})
	}
}

// TestServiceHangs leaves each call when its context ends, also Porkbun's, whose library doesn't know contexts.
func TestServiceHangs(t *testing.T) {
	for name, c := range services {
		t.Run(name, func(t *testing.T) {
			release, asked := make(chan struct{}), make(chan struct{}, 10)
			toward(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-release }))
			t.Cleanup(func() { close(release) })
			p, err := dns.New(dns.Options{Provider: name, Token: c.token})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-asked; cancel() }()
			if _, err := p.AppendRecords(ctx, "example.org.", txt("_acme-challenge", "one")); !errors.Is(err, context.Canceled) {
				t.Errorf("want it cancelled: %v", err)
			}
		})
	}
}
