package app_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"croft/internal/app"
	"croft/internal/app/apptest"
	"croft/internal/config"
	"croft/internal/store"
)

// verifying counts what is verified, and answers by err.
func verifying(n *int, err error) apptest.Option {
	return func(_ *config.Config, o *app.Options) {
		o.Verify = func(context.Context, string) error { *n++; return err }
	}
}

// TestCopied starts servers on a file and its copies: a copy is verified before it is opened, once, and nothing else is.
func TestCopied(t *testing.T) {
	verified := 0
	dir := t.TempDir()
	data, copied, moved := filepath.Join(dir, "croft.db"), filepath.Join(dir, "copy.db"), filepath.Join(dir, "moved.db")
	want := func(what string, n int) {
		t.Helper()
		if verified != n {
			t.Errorf("%s: %d verifications, want %d", what, verified, n)
		}
	}
	start := func(path string) *apptest.Server {
		t.Helper()
		return apptest.StartAt(t, path, verifying(&verified, nil))
	}
	stop := func(s *apptest.Server) {
		t.Helper()
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	copyTo := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}

	s := start(data)
	want("a new file", 0)
	copyTo(data, copied) // while it is served
	stop(s)
	stop(start(data))
	want("a second start", 0)
	rename(data, moved)
	stop(start(moved))
	want("moved within the disk", 0)

	s = start(copied)
	want("a copy", 1)
	if !strings.Contains(s.Log.String(), "the data file is a copy") {
		t.Errorf("the log says nothing of it: %s", s.Log.String())
	}
	stop(s)
	id := idOf(t, copied)
	stop(start(copied))
	want("the copy again", 1)
	if id == idOf(t, moved) || id != idOf(t, copied) {
		t.Error("the copy has the id of the file that it is of, or another one at each start")
	}

	// Put back, where the file is not any more.
	copyTo(copied, data)
	stop(start(data))
	want("a copy that was put back", 2)
}

func idOf(t *testing.T, path string) [16]byte {
	t.Helper()
	db, err := store.Open(path, store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return db.FileID()
}

// A copy that is not whole is not served, and stays as it is.
func TestDamagedCopy(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", `{}`)
	s.Admin().Do("PUT", "/api/v1/records/notes/n1", `{"text":"the needle in it"}`).Want(t, 201)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(s.Config.Data)
	if err != nil {
		t.Fatal(err)
	}
	torn := strings.ReplaceAll(string(b), "the needle in it", "the noodle in it")
	path := filepath.Join(t.TempDir(), "croft.db")
	if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Data = path
	a, err := app.New(cfg, app.Options{})
	if err == nil {
		t.Fatal(errors.Join(errors.New("it is served"), a.Close()))
	}
	for _, want := range []string{"is a copy that is not whole", "record n1 of notes", `"croft salvage `} {
		if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), want) {
			t.Errorf("the error %v does not say %q", err, want)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != torn {
		t.Errorf("it was changed, %v", err)
	}

	// What keeps it from being verified keeps it from being served.
	n, refused := 0, errors.New("no process can be started")
	var o app.Options
	verifying(&n, refused)(cfg, &o)
	if _, err := app.New(cfg, o); !errors.Is(err, refused) || errors.Is(err, store.ErrDamaged) {
		t.Errorf("without a verification: %v", err)
	}
}
