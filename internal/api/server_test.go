package api_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"croft/internal/api"
	"croft/internal/app/apptest"
	"croft/internal/auth"
	"croft/internal/config"
	"croft/internal/https"
	"croft/internal/records"
	"croft/internal/settings"
	"croft/internal/store"
)

// parts opens what an API needs, for tests that need one that is not an app's.
func parts(t testing.TB, log io.Writer) api.Options {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "croft.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, db) })
	set, err := settings.New(db)
	if err != nil {
		t.Fatal(err)
	}
	o := api.Options{Store: db, Settings: set, LogRequests: true}
	if log != nil {
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	if o.Auth, err = auth.New(db, set, auth.Options{Params: apptest.HashParams, Log: o.Log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, o.Auth) })
	if o.Records, err = records.New(db, records.Options{Log: o.Log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, o.Records) })
	if o.HTTPS, err = https.New(db, https.Options{}); err != nil {
		t.Fatal(err)
	}
	return o
}

func closeIt(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestPanics(t *testing.T) {
	for name, f := range map[string]func(o api.Options) func(http.ResponseWriter, *http.Request) error{
		"before the answer": func(api.Options) func(http.ResponseWriter, *http.Request) error {
			return func(http.ResponseWriter, *http.Request) error { panic("a bug") }
		},
		"in an update": func(o api.Options) func(http.ResponseWriter, *http.Request) error {
			return func(_ http.ResponseWriter, r *http.Request) error {
				return o.Store.Update(r.Context(), func(*store.Tx) error { panic("a bug") })
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log apptest.Log
			o := parts(t, &log)
			server := httptest.NewServer(api.NewWith(o, "/panic", f(o)))
			defer server.Close()
			r, err := http.Get(server.URL + "/panic")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			id := r.Header.Get("X-Request-Id")
			if r.StatusCode != 500 || !bytes.Contains(body, []byte(`"code":"internal"`)) || bytes.Contains(body, []byte("a bug")) {
				t.Errorf("status %d: %s", r.StatusCode, body)
			}
			for _, want := range []string{"request=" + id, `panic="a bug"`, "server_test.go", "status=500"} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log has no %s:\n%s", want, log.String())
				}
			}
		})
	}
}

// A panic after the answer has begun, and a wanted abort, cut the connection: the client must not take the answer for whole.
func TestPanicsWithinTheAnswer(t *testing.T) {
	for name, p := range map[string]any{"a bug": "a bug", "abort": http.ErrAbortHandler} {
		t.Run(name, func(t *testing.T) {
			var log apptest.Log
			server := httptest.NewServer(api.NewWith(parts(t, &log), "/panic", func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("Content-Length", "100")
				_, _ = w.Write([]byte("half"))
				_ = http.NewResponseController(w).Flush()
				panic(p)
			}))
			defer server.Close()
			r, err := http.Get(server.URL + "/panic")
			if err == nil {
				_, err = io.ReadAll(r.Body)
				r.Body.Close()
			}
			if err == nil {
				t.Error("the client took half an answer for a whole one")
			}
			server.Close() // waits for the handler, which logs
			if got := strings.Contains(log.String(), "panic while"); got != (name == "a bug") {
				t.Errorf("the log: %s", log.String())
			}
		})
	}
}

// A request that takes too long is given up with a problem that says so.
func TestDeadline(t *testing.T) {
	o := parts(t, nil)
	o.RequestTime = time.Millisecond
	server := httptest.NewServer(api.NewWith(o, "/slow", func(_ http.ResponseWriter, r *http.Request) error {
		<-r.Context().Done()
		return fmt.Errorf("scan: %w", r.Context().Err())
	}))
	defer server.Close()
	r, err := http.Get(server.URL + "/slow")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 503 || r.Header.Get("Retry-After") != "1" || !bytes.Contains(body, []byte(`"code":"timeout"`)) {
		t.Errorf("status %d, Retry-After %q: %s, %v", r.StatusCode, r.Header.Get("Retry-After"), body, err)
	}
}

func TestUnhealthy(t *testing.T) {
	o := parts(t, nil)
	server := httptest.NewServer(api.New(o))
	defer server.Close()
	closeIt(t, o.Auth)
	closeIt(t, o.Records)
	closeIt(t, o.Store)
	r, err := http.Get(server.URL + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
	}
}

// dial connects to a server and sends text.
func dial(t *testing.T, s *apptest.Server, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// A client that does not end its headers is cut off.
func TestSlowHeaders(t *testing.T) {
	s := apptest.Start(t, apptest.Config(func(c *config.Config) {
		c.Limits.HeaderTime, c.Limits.RequestTime = 50*time.Millisecond, 50*time.Millisecond
	}))
	_, r := dial(t, s, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
	if text, err := io.ReadAll(r); err != nil || strings.Contains(string(text), "200 OK") {
		t.Errorf("answered %q, %v", text, err)
	}
}

// A client that does not send the body it announced gets a problem, and is cut off.
func TestSlowBody(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", open)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	s = apptest.StartAt(t, s.Config.Data, apptest.Config(func(c *config.Config) {
		c.Limits.HeaderTime, c.Limits.RequestTime = 2*time.Second, 300*time.Millisecond
	}))
	_, r := dial(t, s, "POST /api/v1/records/notes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	text, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(text), " 503 ") || !strings.Contains(string(text), `"code":"timeout"`) {
		t.Errorf("answered %q, %v", text, err)
	}
}

// A client that goes away in the middle of its body leaves nothing behind.
func TestHalfABody(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", open)
	c, r := dial(t, s, "POST /api/v1/records/notes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"a\":1}")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(text), " 400 ") || !strings.Contains(string(text), `"code":"bad_request"`) {
		t.Errorf("answered %q, %v", text, err)
	}
	var all struct{ Items []any }
	s.Client().Do("GET", "/api/v1/records/notes", nil).Want(t, 200).JSON(&all)
	if len(all.Items) != 0 {
		t.Errorf("stored: %v", all.Items)
	}
}

func TestHeadersTooLarge(t *testing.T) {
	s := apptest.Start(t)
	_, r := dial(t, s, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: "+strings.Repeat("x", 40<<10)+"\r\n\r\n")
	line, err := r.ReadString('\n')
	if err != nil || !strings.Contains(line, " 431 ") {
		t.Errorf("answered %q, %v", line, err)
	}
}

// A request that runs when the server is told to stop is finished, and what it wrote is there at the next start.
func TestGracefulStop(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", open)
	const body = `{"id":"last","text":"in flight"}`
	c, r := dial(t, s, "POST /api/v1/records/notes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 32\r\nExpect: 100-continue\r\n\r\n")
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
		t.Fatalf("answered %q, %v", line, err)
	}
	// The handler now waits for the body.
	stopped := make(chan error)
	go func() { stopped <- s.Stop() }()
	for { // until nothing new is accepted
		other, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err != nil {
			break
		}
		_ = other.Close()
	}
	if _, err := io.WriteString(c, body); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadString('\n'); err != nil { // the empty line of the 100
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(r, nil)
	if err != nil || answer.StatusCode != 201 {
		t.Fatalf("%v, %v", answer, err)
	}
	answer.Body.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	again := apptest.StartAt(t, s.Config.Data)
	again.Client().Do("GET", "/api/v1/records/notes/last", nil).Want(t, 200)
}
