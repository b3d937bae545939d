// Package apptest runs whole servers for tests: a real App on a real data file, reached over a real loopback connection,
// with its first admin. It writes no keys.
package apptest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"croft/internal/app"
	"croft/internal/config"
	"croft/internal/store"
)

// The first admin of every server.
const (
	AdminEmail    = "admin@example.com"
	AdminPassword = "lantern-meadow-417"
)

// HashParams are cheap: tests are not about how long a password resists.
var HashParams = &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// A Server runs in this process until its test ends. The data file is checked then.
type Server struct {
	App        *app.App
	Config     *config.Config
	URL        string
	SetupToken string // the one that made the admin
	Log        *Log

	t       testing.TB
	stop    context.CancelFunc
	ended   chan struct{} // closed when Run has returned runErr
	runErr  error         // of Run, until Wait has returned it
	admin   string        // the token of the admin's session
	clients http.Transport
}

// An Option changes how a server is started.
type Option func(*config.Config, *app.Options)

// Config changes the config.
func Config(change func(*config.Config)) Option {
	return func(c *config.Config, _ *app.Options) { change(c) }
}

// Clock sets the clock.
func Clock(now func() time.Time) Option {
	return func(_ *config.Config, o *app.Options) { o.Now = now }
}

// Start starts a server on a new data file and sets up its admin.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := StartAt(t, filepath.Join(t.TempDir(), "croft.db"), options...)
	r := s.Client().Do("POST", "/api/v1/setup", map[string]any{
		"token": s.SetupToken, "email": AdminEmail, "password": AdminPassword,
	})
	s.admin = r.Want(t, http.StatusOK).String("token")
	return s
}

// StartAt starts a server on a data file, and leaves it as it is.
func StartAt(t testing.TB, data string, options ...Option) *Server {
	t.Helper()
	cfg := config.Default()
	cfg.Data, cfg.Listen, cfg.Log.Requests = data, "127.0.0.1:0", true
	s := &Server{Config: cfg, Log: &Log{}, t: t, ended: make(chan struct{})}
	ready := make(chan app.Serving, 1)
	o := app.Options{
		Log:        slog.New(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Ready:      func(at app.Serving) { ready <- at },
		HashParams: HashParams,
	}
	for _, option := range options {
		option(cfg, &o)
	}
	a, err := app.New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	s.App = a
	s.SetupToken = a.SetupToken()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() {
		defer close(s.ended)
		s.runErr = a.Run(ctx)
	}()
	t.Cleanup(s.end)
	select {
	case at := <-ready:
		s.URL = at.URL
	case <-s.ended:
		t.Fatalf("the server ended before it served: %v", s.runErr)
	}
	return s
}

// Stop stops the server in order, and returns what Run and Close return.
func (s *Server) Stop() error {
	s.stop()
	s.clients.CloseIdleConnections()
	<-s.ended
	return errors.Join(s.runErr, s.App.Close())
}

// Wait waits for a server that ends by itself, and returns what Run and Close return. That is then no fault of the test.
func (s *Server) Wait() error {
	<-s.ended
	err := errors.Join(s.runErr, s.App.Close())
	s.runErr = nil
	return err
}

// CloseIdle closes the connections that clients keep for their next request.
func (s *Server) CloseIdle() { s.clients.CloseIdleConnections() }

func (s *Server) end() {
	if err := s.Stop(); err != nil {
		s.t.Errorf("stop the server: %v", err)
	}
	db, err := store.Open(s.Config.Data, store.Options{})
	if err != nil {
		s.t.Errorf("open the data file after the test: %v", err)
		return
	}
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		s.t.Errorf("the data file after the test: %v", err)
	}
}

// Client returns a client that does not say who it is.
func (s *Server) Client() *Client {
	return &Client{t: s.t, base: s.URL, http: &http.Client{Transport: &s.clients, CheckRedirect: noRedirect}}
}

// As returns a client with a token, of a session or the API.
func (s *Server) As(token string) *Client { return s.Client().With("Authorization", "Bearer "+token) }

// Admin returns a client signed in as the first admin.
func (s *Server) Admin() *Client { return s.As(s.admin) }

// Local returns a client on the local socket.
func (s *Server) Local() *Client {
	c := s.Client()
	c.base = "http://croft"
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return app.DialLocal(ctx, s.Config.Data)
	}}
	s.t.Cleanup(transport.CloseIdleConnections)
	c.http = &http.Client{Transport: transport, CheckRedirect: noRedirect}
	return c
}

// An Account is a user whom NewUser made.
type Account struct {
	*Client
	ID, Email, Password, Token string
}

// NewUser makes a user and signs them in.
func (s *Server) NewUser(email string, roles ...string) *Account {
	s.t.Helper()
	a := &Account{Email: email, Password: "orchard-of-" + email}
	if roles == nil {
		roles = []string{}
	}
	a.ID = s.Admin().Do("POST", "/api/v1/users", map[string]any{"email": email, "password": a.Password, "roles": roles}).
		Want(s.t, http.StatusCreated).String("id")
	a.Token = s.Login(email, a.Password)
	a.Client = s.As(a.Token)
	return a
}

// Login signs in and returns the session's token.
func (s *Server) Login(email, password string) string {
	s.t.Helper()
	return s.Client().Do("POST", "/api/v1/auth/login", map[string]any{"email": email, "password": password}).
		Want(s.t, http.StatusOK).String("token")
}

// Define defines a collection.
func (s *Server) Define(name, definition string) {
	s.t.Helper()
	r := s.Admin().Do("PUT", "/api/v1/collections/"+name, definition)
	if r.Status != http.StatusCreated && r.Status != http.StatusOK {
		s.t.Fatalf("define %s: %d %s", name, r.Status, r.Body)
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// A Log is what the server wrote.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
