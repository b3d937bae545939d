//go:build amd64 || arm64

package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"croft/internal/app/apptest"
	"croft/internal/store"
	"croft/internal/store/faultfs"
)

func TestMain(m *testing.M) {
	faultfs.ServeIfChild()
	os.Exit(m.Run())
}

// A disk that fails a write ends the server with an error that says so. Who waited is told, and what was acknowledged
// before is there at the next start.
func TestBrokenDisk(t *testing.T) {
	disk := faultfs.Mount(t)
	data := filepath.Join(disk.Path, "croft.db")
	s := apptest.StartAt(t, data)
	client := s.As(s.Client().Do("POST", "/api/v1/setup", map[string]any{
		"token": s.SetupToken, "email": apptest.AdminEmail, "password": apptest.AdminPassword,
	}).Want(t, 200).String("token"))
	client.Do("PUT", "/api/v1/collections/notes", `{"access":{"read":"true"}}`).Want(t, 201)
	client.Do("PUT", "/api/v1/records/notes/n1", `{"text":"safe"}`).Want(t, 201)

	disk.Fail(1, syscall.EIO)
	p := client.Do("PUT", "/api/v1/records/notes/n2", `{"text":"lost"}`).Want(t, 500).Problem()
	if p.Code != "internal" || !strings.Contains(p.Detail, "data file") {
		t.Errorf("the problem: %+v", p)
	}
	if err := s.Wait(); !errors.Is(err, store.ErrFatal) {
		t.Errorf("the server ended with %v", err)
	}
	if !strings.Contains(s.Log.String(), "request="+p.RequestID) {
		t.Error("the log does not say what failed")
	}

	again := apptest.StartAt(t, data)
	again.Client().Do("GET", "/api/v1/records/notes/n1", nil).Want(t, 200)
	again.Client().Do("GET", "/api/v1/records/notes/n2", nil).Want(t, 404)
}
