package https_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"croft/internal/app/apptest"
	"croft/internal/https"
	"croft/internal/https/pebbletest"
	"croft/internal/store"
	"croft/internal/store/storetest"
)

// Authorities give only so many certificates in a week: who asks again and again, and doesn't wait, gets one.
func TestImpatientRenew(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := pebbletest.Start(t, s.ports())
	var log apptest.Log
	o := options(p, "impatient.example.org")
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	h := s.start(storetest.New(t), o)
	s.await("impatient.example.org", p.CA())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	const times = 20
	var asked sync.WaitGroup
	for range times {
		asked.Go(func() {
			if h.Renew(gone, operator) == nil {
				t.Error("nobody waited, and it was done")
			}
		})
	}
	asked.Wait()
	if err := h.Renew(t.Context(), operator); err != nil { // behind all of them
		t.Fatal(err)
	}
	if n := bytes.Count([]byte(log.String()), []byte("a new certificate")); n >= times {
		t.Errorf("%d certificates for one name", n)
	}
}

// An entry of a certificate that is damaged is told of, and had again: it stops nothing.
func TestDamagedEntry(t *testing.T) {
	for name, o := range map[string]https.Options{
		"local": {Mode: https.Local, Names: []string{"croft.local"}},
		"acme":  {Mode: https.ACME, Names: []string{"a.example.org"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "croft.db")
			db := storetest.Open(t, path)
			h, err := https.New(db, o)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			value := bytes.Repeat([]byte("some certificate "), 40)
			if name == "acme" {
				err = https.NewStorage(db).Store(t.Context(), "certificates/other/b.example.org.pem", value)
			} else {
				err = db.View(func(tx *store.Tx) error {
					found, err := tx.Get(store.HTTPS.Key([]byte("l")))
					value = bytes.Clone(found)
					return err
				})
			}
			if err != nil || len(value) == 0 {
				t.Fatalf("%d bytes, %v", len(value), err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for at := bytes.Index(file, value); at >= 0; at = bytes.Index(file, value) {
				file[at+30] ^= 1
			}
			damaged := filepath.Join(t.TempDir(), "damaged.db")
			if err := os.WriteFile(damaged, file, 0o600); err != nil {
				t.Fatal(err)
			}
			if db, err = store.Open(damaged, store.Options{}); err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var log apptest.Log
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			if h, err = https.New(db, o); err != nil {
				t.Fatal(err)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
			if !bytes.Contains([]byte(log.String()), []byte("level=ERROR")) {
				t.Errorf("the log says nothing of it: %s", &log)
			}
		})
	}
}
