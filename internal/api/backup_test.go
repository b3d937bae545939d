package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"croft/internal/app/apptest"
	"croft/internal/store"
	"croft/internal/store/storetest"
)

// What GET /backup sends is a data file, with everything that was acknowledged before.
func TestGetBackup(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", open)
	s.Client().Do("PUT", "/api/v1/records/notes/n1", `{"text":"one"}`).Want(t, 201)
	admin := s.Admin()
	r := admin.Do("GET", "/api/v1/backup", nil).Want(t, 200)
	for name, want := range map[string]string{
		"Content-Type":   "application/octet-stream",
		"Content-Length": strconv.Itoa(len(r.Body)),
		"Cache-Control":  "no-store",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := r.Header.Get("Content-Disposition"); !strings.HasPrefix(got, `attachment; filename="croft-20`) || !strings.HasSuffix(got, `Z.db"`) {
		t.Errorf("Content-Disposition: %q", got)
	}
	if seq, err := strconv.ParseUint(r.Header.Get("Croft-Seq"), 10, 64); err != nil || seq == 0 {
		t.Errorf("Croft-Seq: %d, %v", seq, err)
	}
	if head := admin.Do("HEAD", "/api/v1/backup", nil).Want(t, 200); len(head.Body) > 0 || head.Header.Get("Content-Length") == "" {
		t.Errorf("HEAD: %d bytes, length %s", len(head.Body), head.Header.Get("Content-Length"))
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, r.Body, 0o600); err != nil {
		t.Fatal(err)
	}
	storetest.Open(t, path) // and check it at the end
	copied := apptest.StartAt(t, filepath.Join(copyOf(t, r.Body), "croft.db"))
	if got := copied.Client().Do("GET", "/api/v1/records/notes/n1", nil).Want(t, 200).String("text"); got != "one" {
		t.Errorf("text %q", got)
	}
	admin.Do("GET", "/api/v1/backup?x=1", nil).Want(t, 400)
}

func copyOf(t *testing.T, data []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "croft.db"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// big makes a data file of some MiB: more than a connection holds.
func big(t *testing.T, s *apptest.Server) {
	t.Helper()
	s.Define("notes", open)
	text := strings.Repeat("croft ", 100_000)
	for range 24 {
		s.Client().Do("POST", "/api/v1/records/notes", map[string]string{"text": text}).Want(t, 201)
	}
}

// A client that goes away gives its place to the next.
func TestBackupCutOff(t *testing.T) {
	s := apptest.Start(t)
	big(t, s)
	for range 9 {
		ctx, stop := context.WithCancel(t.Context())
		resp, err := http.DefaultTransport.RoundTrip(s.Admin().Request("GET", "/api/v1/backup", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 && resp.StatusCode != 503 {
			t.Fatal(resp.Status)
		}
		if _, err := io.CopyN(io.Discard, resp.Body, 100); err != nil {
			t.Error(err)
		}
		stop()
		resp.Body.Close()
	}
	// The server notices at its next write, which may be later than we are.
	for {
		r := s.Admin().Do("GET", "/api/v1/backup", nil)
		if r.Status == 200 {
			break
		}
		r.Want(t, 503)
	}
}

// An answer that can't be ended is no answer: the connection is cut off.
func TestBackupFailsMidway(t *testing.T) {
	s := apptest.Start(t)
	big(t, s)
	w := &failingWriter{header: http.Header{}}
	r := httptest.NewRequest("GET", "http://localhost/api/v1/backup", http.NoBody)
	r.Header.Set("Authorization", s.Admin().Request("GET", "/", nil).Header.Get("Authorization"))
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("panic: %v", p)
		}
		if size, err := strconv.Atoi(w.header.Get("Content-Length")); err != nil || w.sent == 0 || w.sent >= size {
			t.Errorf("%d of %d bytes, %v", w.sent, size, err)
		}
	}()
	s.App.Network().ServeHTTP(w, r)
	t.Error("the answer was ended")
}

// A failingWriter takes two parts.
type failingWriter struct {
	header http.Header
	writes int
	sent   int
}

func (w *failingWriter) Header() http.Header { return w.header }
func (w *failingWriter) WriteHeader(int)     {}

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.writes++; w.writes > 2 {
		return 0, errors.New("the connection is gone")
	}
	w.sent += len(b)
	return len(b), nil
}

func TestBackupsOverHTTP(t *testing.T) {
	s := apptest.Start(t)
	admin := s.Admin()
	type list struct {
		Folder string
		Items  []struct {
			Name, Time, Check string
			Error             *string
			Size              int64
			Present           bool
		}
	}
	var l list
	admin.Do("GET", "/api/v1/backups", nil).Want(t, 200).JSON(&l)
	if want := filepath.Join(filepath.Dir(s.Config.Data), "backups"); l.Folder != want || l.Items == nil || len(l.Items) != 0 {
		t.Errorf("before the first: %+v", l)
	}
	name := admin.Do("POST", "/api/v1/backups", nil).Want(t, 201).String("name")
	admin.Do("GET", "/api/v1/backups", nil).Want(t, 200).JSON(&l)
	if len(l.Items) != 1 {
		t.Fatalf("%+v", l)
	}
	if i := l.Items[0]; i.Name != name || i.Check != "ok" || !i.Present || i.Size == 0 || i.Error != nil || !strings.HasSuffix(i.Time, "Z") {
		t.Errorf("%+v", i)
	}
	db, err := store.Open(filepath.Join(l.Folder, name), store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	metrics := string(admin.Do("GET", "/metrics", nil).Want(t, 200).Body)
	for _, want := range []string{"croft_backup_failures_total 0\n", "croft_backup_age_seconds "} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics has no %q", want)
		}
	}
	// The folder is in the way of nobody: a file of that name is told.
	if err := os.RemoveAll(l.Folder); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.Folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if p := admin.Do("POST", "/api/v1/backups", nil).Want(t, 500).Problem(); !strings.Contains(p.Detail, "is not a folder") {
		t.Errorf("%+v", p)
	}
	admin.Do("PATCH", "/api/v1/settings", `{"backup":{"every":"24h","keep":3}}`).Want(t, 200)
	p := admin.Do("PATCH", "/api/v1/settings", `{"backup":{"every":"1s","keep":0}}`).Want(t, 422).Problem()
	if len(p.Errors) != 2 || p.Errors[0].Pointer != "/backup/every" || p.Errors[1].Pointer != "/backup/keep" {
		t.Errorf("%+v", p)
	}
}
