package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"croft/internal/app"
	"croft/internal/app/apptest"
	"croft/internal/backup"
	"croft/internal/config"
	"croft/internal/store"

	"github.com/go-json-experiment/json"
)

// A served is a server that starts again after a restore.
type served struct {
	t     *testing.T
	data  string
	ready chan app.Serving // holds one for each time that it has started
	ended chan error
	stop  context.CancelFunc
	log   *apptest.Log
}

func serve(t *testing.T, verify backup.Verifier, changes ...func(*config.Config)) *served {
	t.Helper()
	needSocket(t)
	s := &served{t: t, data: filepath.Join(t.TempDir(), "croft.db"), ready: make(chan app.Serving, 10), ended: make(chan error, 1), log: &apptest.Log{}}
	cfg := config.Default()
	cfg.Data, cfg.Listen = s.data, "127.0.0.1:0"
	for _, change := range changes {
		change(cfg)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() {
		s.ended <- app.Serve(ctx, cfg, app.Options{
			HashParams: apptest.HashParams, Verify: verify,
			Log:   slog.New(slog.NewTextHandler(s.log, nil)),
			Ready: func(at app.Serving) { s.ready <- at },
		})
	}()
	t.Cleanup(stop)
	return s
}

// started waits until it answers.
func (s *served) started() app.Serving {
	s.t.Helper()
	select {
	case at := <-s.ready:
		return at
	case err := <-s.ended:
		s.t.Fatalf("the server ended: %v\n%s", err, s.log)
	}
	panic("not reached")
}

// end stops it in order, and checks what it leaves.
func (s *served) end() {
	s.t.Helper()
	s.stop()
	if err := <-s.ended; err != nil {
		s.t.Error(err)
	}
	db, err := store.Open(s.data, store.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		s.t.Error(err)
	}
	entries, err := os.ReadDir(filepath.Dir(s.data))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), "partial") || strings.HasSuffix(e.Name(), ".sock") {
			s.t.Errorf("left behind: %s", e.Name())
		}
	}
}

// ask makes a request as the local operator.
func (s *served) ask(method, path string, body []byte, into any) (status int) {
	s.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return app.DialLocal(ctx, s.data) }}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequest(method, "http://localhost/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	if body == nil {
		req.Header.Del("Content-Type")
	}
	if bytes.HasPrefix(body, []byte("{")) {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			s.t.Fatalf("%s: %v", raw, err)
		}
	}
	return resp.StatusCode
}

// backup returns the data file as it is now.
func (s *served) backup() []byte {
	s.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return app.DialLocal(ctx, s.data) }}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://localhost/api/v1/backup")
	if err != nil {
		s.t.Fatal(err)
	}
	file, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// A server takes a file, and starts again on it at the address that it had.
func TestRestoreRunning(t *testing.T) {
	s := serve(t, nil)
	at := s.started()
	define := []byte(`{"access":{"read":"true","create":"true"}}`)
	s.ask("PUT", "/collections/notes", define, nil)
	if got := s.ask("PUT", "/records/notes/old", []byte(`{}`), nil); got != 201 {
		t.Fatal(got)
	}
	file := s.backup()
	if got := s.ask("PUT", "/records/notes/new", []byte(`{}`), nil); got != 201 {
		t.Fatal(got)
	}
	var state backup.RestoreState
	if got := s.ask("POST", "/restore", file, &state); got != 202 || state.State != backup.RestoreRestarting {
		t.Fatalf("%d %+v", got, state)
	}
	if again := s.started(); again.URL != at.URL {
		t.Errorf("it answered at %s, and now at %s", at.URL, again.URL)
	}
	if s.ask("GET", "/restore", nil, &state); state.State != backup.RestoreDone || state.Kept == "" || state.Bytes != int64(len(file)) {
		t.Errorf("what became of it: %+v", state)
	}
	if old, new := s.ask("GET", "/records/notes/old", nil, nil), s.ask("GET", "/records/notes/new", nil, nil); old != 200 || new != 404 {
		t.Errorf("the records answer %d and %d", old, new)
	}
	// And once more: back to what was kept.
	before, err := os.ReadFile(state.Kept)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.ask("POST", "/restore", before, nil); got != 202 {
		t.Fatal(got)
	}
	s.started()
	if got := s.ask("GET", "/records/notes/new", nil, nil); got != 200 {
		t.Errorf("the newer record answers %d", got)
	}
	s.end()
}

// What is refused leaves the server as it is.
func TestRestoreRunningRefuses(t *testing.T) {
	s := serve(t, nil)
	at := s.started()
	var p struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}
	if got := s.ask("POST", "/restore", []byte("milk, bread"), &p); got != 422 || !strings.Contains(p.Detail, "not a Croft data file") {
		t.Errorf("a text: %d %+v", got, p)
	}
	if got := s.ask("POST", "/restore", []byte(`{"file":"x"}`), &p); got != 415 {
		t.Errorf("JSON: %d %+v", got, p)
	}
	resp, err := http.Post(at.URL+"/api/v1/restore", "application/octet-stream", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("over the network: %d", resp.StatusCode)
	}
	// A client that goes away halfway.
	conn, err := app.DialLocal(t.Context(), s.data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "POST /api/v1/restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\nhalf"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	var state backup.RestoreState
	if s.ask("GET", "/restore", nil, &state); state.State != backup.RestoreNone {
		t.Errorf("what became of it: %+v", state)
	}
	s.end()
}

// A file that verifies and can't be served, which is a bug of somebody's, is taken out again.
func TestRestoreRunningPutBack(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.db")
	db, err := store.Open(bad, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(tx *store.Tx) error { return tx.Put(store.Settings.Key([]byte("values")), []byte("no JSON")) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(bad)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(context.Context, string) error { return nil })
	s.started()
	s.ask("PUT", "/collections/notes", []byte(`{"access":{"read":"true"}}`), nil)
	if got := s.ask("POST", "/restore", file, nil); got != 202 {
		t.Fatal(got)
	}
	s.started()
	var state backup.RestoreState
	if s.ask("GET", "/restore", nil, &state); state.State != backup.RestoreFailed || state.Error == "" {
		t.Errorf("what became of it: %+v", state)
	}
	if got := s.ask("GET", "/collections/notes", nil, nil); got != 200 {
		t.Errorf("what was there answers %d", got)
	}
	s.end()
}
