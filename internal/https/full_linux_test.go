//go:build amd64 || arm64

package https_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"croft/internal/app/apptest"
	"croft/internal/https/pebbletest"
	"croft/internal/store"
	"croft/internal/store/faultfs"
)

func TestMain(m *testing.M) {
	faultfs.ServeIfChild()
	os.Exit(m.Run())
}

// While the disk is full no authority is asked for what could not be kept; when there is room again, it is.
func TestFullDisk(t *testing.T) {
	disk := faultfs.Mount(t)
	s := newSite(t)
	p := pebbletest.Start(t, s.ports())
	db, err := store.Open(filepath.Join(disk.Path, "croft.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	var log apptest.Log
	o := options(p, "full.example.org")
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	h := s.start(db, o)
	s.await("full.example.org", p.CA())
	certificates := func() int { return bytes.Count([]byte(log.String()), []byte("a new certificate\"")) }
	s.until("all is written", func() error {
		if certificates() == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	disk.Room(0)
	before := certificates()
	for range 3 {
		if err := h.Renew(t.Context(), operator); err == nil || !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("on a full disk: %v", err)
		}
	}
	if after := certificates(); after != before {
		t.Errorf("%d certificates that could not be kept", after-before)
	}
	disk.Room(-1)
	if err := h.Renew(t.Context(), operator); err != nil {
		t.Error(err)
	}
	s.close()
}
