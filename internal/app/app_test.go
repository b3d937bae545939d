package app_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"croft/internal/app"
	"croft/internal/app/apptest"
	"croft/internal/config"
	"croft/internal/needs"
	"croft/internal/store"
)

// What was written is there after a restart: records, sessions, and that the setup is done.
func TestRestart(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", `{"access":{"read":"has(auth.id)","create":"has(auth.id)"}}`)
	user := s.NewUser("alice@example.com")
	user.Do("POST", "/api/v1/records/notes", `{"id":"n1","text":"one"}`).Want(t, 201)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}

	again := apptest.StartAt(t, s.Config.Data)
	if again.SetupToken != "" {
		t.Error("the second start offers a setup token again")
	}
	if got := again.As(user.Token).Do("GET", "/api/v1/records/notes/n1", nil).Want(t, 200).String("text"); got != "one" {
		t.Errorf("text %q", got)
	}
	if err := again.Stop(); err != nil {
		t.Fatal(err)
	}

	// A copy of the stopped file, elsewhere, is the same server.
	data, err := os.ReadFile(s.Config.Data)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "elsewhere.db")
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	apptest.StartAt(t, copied).As(user.Token).Do("GET", "/api/v1/records/notes/n1", nil).Want(t, 200)
}

// The setup token is told at each start until it is used.
func TestSetupToken(t *testing.T) {
	data := filepath.Join(t.TempDir(), "croft.db")
	s := apptest.StartAt(t, data)
	first := s.SetupToken
	if !strings.HasPrefix(first, "croft_setup_") {
		t.Fatalf("setup token %q", first)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Data, cfg.Listen = data, ":0"
	var at app.Serving
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	a, err := app.New(cfg, app.Options{HashParams: apptest.HashParams, Ready: func(s app.Serving) { at = s; stop() }})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Run(ctx), a.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(at.URL, "http://localhost:") || at.Setup != at.URL+"/#setup="+first {
		t.Errorf("the second start tells %+v", at)
	}
}

func TestLocalSocket(t *testing.T) {
	needSocket(t)
	for name, dir := range map[string]string{
		"short path": shortDir(t),
		"long path":  filepath.Join(t.TempDir(), strings.Repeat("long-", 30), strings.Repeat("path-", 30)),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			data := filepath.Join(dir, "croft.db")
			path := app.SocketPath(data)
			// What a server left behind that was killed is replaced.
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			s := apptest.StartAt(t, data)
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != os.ModeSocket|0o600 {
				t.Errorf("the socket's mode is %v", info.Mode())
			}
			s.Local().Do("GET", "/api/v1/users", nil).Want(t, 200)
			s.Client().Do("GET", "/api/v1/users", nil).Want(t, 401)
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			left, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(left) != 1 || left[0].Name() != "croft.db" {
				t.Errorf("left behind: %v", left)
			}
			if c, err := app.DialLocal(context.Background(), data); err == nil {
				_ = c.Close()
				t.Error("the socket answers after the stop")
			}
		})
	}
}

// needSocket skips where a long path can't have a socket.
func needSocket(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("sockets with long paths need Linux")
	}
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		needs.Skip(t, "sockets with long paths need /proc/self/fd: "+err.Error())
	}
}

// shortDir is a folder whose sockets need no detour, wherever the temporary folder is.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "croft")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A handler in the process answers as to the local operator.
func TestHandler(t *testing.T) {
	cfg := config.Default()
	cfg.Data = filepath.Join(t.TempDir(), "croft.db")
	a, err := app.New(cfg, app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/users", http.NoBody))
	if w.Code != 200 {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func TestTwoServers(t *testing.T) {
	s := apptest.Start(t)
	cfg := config.Default()
	cfg.Data = s.Config.Data
	if _, err := app.New(cfg, app.Options{}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second server on the file: %v", err)
	}
	// The first one goes on, with its socket.
	s.Admin().Do("GET", "/api/v1/users", nil).Want(t, 200)

	cfg.Data = filepath.Join(t.TempDir(), "other.db")
	cfg.Listen = strings.TrimPrefix(s.URL, "http://")
	a, err := app.New(cfg, app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = a.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), cfg.Listen) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("a second server on the address: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// An App that can't be made leaves nothing open.
func TestNewFails(t *testing.T) {
	cfg := config.Default()
	dir := t.TempDir()
	cfg.Data = filepath.Join(dir, "missing", "croft.db")
	if a, err := app.New(cfg, app.Options{}); err == nil {
		t.Error("a data file in a folder that is not there: no error")
		_ = a.Close()
	}
	cfg.Data = filepath.Join(dir, "other.db")
	if err := os.WriteFile(cfg.Data, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := app.New(cfg, app.Options{}); err == nil {
		t.Error("a file of another program: no error")
		_ = a.Close()
	}
}

// More connections than allowed wait, and come to be served when others close.
func TestConnectionLimit(t *testing.T) {
	s := apptest.Start(t, apptest.Config(func(c *config.Config) { c.Limits.Connections = 1 }))
	s.Client().Do("GET", "/healthz", nil).Want(t, 200)
	address := strings.TrimPrefix(s.URL, "http://")
	const ask = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	// The client's idle connection has the only place.
	waiting, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if _, err := io.WriteString(waiting, ask); err != nil {
		t.Fatal(err)
	}
	s.Client().Do("GET", "/healthz", nil).Want(t, 200) // still by the first connection
	s.CloseIdle()
	if text, err := io.ReadAll(waiting); err != nil || !strings.Contains(string(text), " 200 ") {
		t.Errorf("answered %q, %v", text, err)
	}
}
