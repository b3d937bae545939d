package backup_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"croft/internal/app/apptest"
	"croft/internal/backup"
	"croft/internal/store"
)

// wreck is a stopped server's file with accounts, records, indexes.
type wreck struct {
	path  string
	notes map[string]string // titles by id
}

func newWreck(t *testing.T, records int) *wreck {
	t.Helper()
	s := apptest.Start(t)
	s.Define("notes", `{"indexes":[{"name":"by_title","fields":["title"]}],"access":{"read":"has(auth.id)"}}`)
	s.Define("lists", `{}`)
	w := &wreck{path: s.Config.Data, notes: map[string]string{}}
	for i := range records {
		w.notes[fmt.Sprintf("n%04d", i)] = fmt.Sprintf("note %d %s", i, strings.Repeat("x", i%300))
	}
	var wait sync.WaitGroup
	for c := range 16 {
		wait.Go(func() {
			for i := c; i < records; i += 16 {
				id := fmt.Sprintf("n%04d", i)
				r := s.Admin().Do("PUT", "/api/v1/records/notes/"+id, map[string]any{"title": w.notes[id]})
				if r.Status != 201 {
					t.Errorf("put: %d %s", r.Status, r.Body)
				}
			}
		})
	}
	wait.Wait()
	s.Admin().Do("POST", "/api/v1/records/lists", `{"id":"l1"}`).Want(t, 201)
	s.NewUser("alice@example.com")
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	return w
}

// copied returns a copy of the file whose bytes were changed.
func (w *wreck) copied(t *testing.T, change func(b []byte) []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "damaged.db")
	if err := os.WriteFile(path, change(content(t, w.path)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// salvage saves a file, checks what came of it, serves it, and returns how many notes are there: each as it was written.
func (w *wreck) salvage(t *testing.T, path string) (r *backup.Salvaged, found int) {
	t.Helper()
	before := content(t, path)
	out := filepath.Join(t.TempDir(), "out.db")
	r, err := backup.Salvage(t.Context(), path, out, nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(content(t, path)) != string(before) {
		t.Error("the damaged file was changed")
	}
	report, err := backup.CheckFile(t.Context(), out, nil)
	if err != nil || !report.OK {
		t.Fatalf("the check of what was saved: %+v, %v", report, err)
	}
	if raw, err := json.Marshal(r); err != nil || strings.Contains(string(raw), "u0000") || strings.Contains(string(raw), "example.com") {
		t.Errorf("the report tells what it should not: %s", raw)
	}
	s := apptest.StartAt(t, out)
	local := s.Local()
	for _, coll := range r.Collections {
		cursor := ""
		for {
			var page struct {
				Items []struct{ ID, Title string }
				Next  *string
			}
			local.Do("GET", "/api/v1/records/"+coll.Name+"?limit=500"+cursor, nil).Want(t, 200).JSON(&page)
			for _, item := range page.Items {
				if item.ID == "l1" {
					continue
				}
				found++
				if w.notes[item.ID] != item.Title {
					t.Errorf("record %s of %s has the title %q", item.ID, coll.Name, item.Title)
				}
			}
			if page.Next == nil {
				break
			}
			cursor = "&cursor=" + *page.Next
		}
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	return r, found
}

func TestSalvage(t *testing.T) {
	const records = 900
	w := newWreck(t, records)
	t.Run("sound", func(t *testing.T) {
		r, found := w.salvage(t, w.path)
		if found != records || r.LossesTotal != 0 || len(r.Notes) != 0 || r.Users != 2 || len(r.Collections) != 2 {
			t.Errorf("%d notes; %+v", found, r)
		}
	})
	t.Run("flipped", func(t *testing.T) {
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 2))
			path := w.copied(t, func(b []byte) []byte {
				for range 10 {
					b[r.IntN(len(b))] ^= 1 << r.IntN(8)
				}
				return b
			})
			told, found := w.salvage(t, path)
			if found < records/2 || found < records && told.GoneTotal == 0 {
				t.Errorf("%d notes of %d; %+v", found, records, told)
			}
		}
	})
	t.Run("a record", func(t *testing.T) {
		path := w.copied(t, func(b []byte) []byte {
			// Wherever it stands, also in pages that are out of use.
			return []byte(strings.ReplaceAll(string(b), `"title":"note 700 `, `"title":"nope 700 `))
		})
		r, found := w.salvage(t, path)
		if found != records-1 || r.LossesTotal != 1 || r.GoneTotal != 1 || r.Losses[0].Where != "record n0700 of notes" {
			t.Errorf("%d notes; %+v", found, r)
		}
		for _, c := range r.Collections {
			if c.Name == "notes" && (c.Records != records-1 || c.Damaged != 1) {
				t.Errorf("the collection: %+v", c)
			}
		}
	})
	t.Run("a third is zero", func(t *testing.T) {
		path := w.copied(t, func(b []byte) []byte {
			clear(b[len(b)/3 : 2*len(b)/3])
			return b
		})
		r, found := w.salvage(t, path)
		if found == 0 || r.GoneTotal == 0 {
			t.Errorf("%d notes; %+v", found, r)
		}
	})
	t.Run("both first pages", func(t *testing.T) {
		path := w.copied(t, func(b []byte) []byte {
			clear(b[40:100])
			clear(b[4096+40 : 4096+100])
			return b
		})
		r, found := w.salvage(t, path)
		if found != records || len(r.Notes) == 0 {
			t.Errorf("%d notes; %+v", found, r)
		}
	})
}

func TestSalvageRefuses(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.db")
	dataFile(t, good, "new")
	text := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, []byte("milk, bread"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		from, to string
		is       error
	}{
		{text, "out.db", store.ErrNotCroft},
		{dir, "out.db", store.ErrNotCroft},
		{filepath.Join(dir, "missing.db"), "out.db", fs.ErrNotExist},
		{good, "good.db", fs.ErrExist},
		{good, "text.txt", fs.ErrExist},
		{good, "nowhere/out.db", fs.ErrNotExist},
	} {
		_, err := backup.Salvage(t.Context(), test.from, filepath.Join(dir, test.to), nil)
		if !errors.Is(err, test.is) {
			t.Errorf("%s to %s: %v", test.from, test.to, err)
		}
	}
	if got := names(t, dir); got != "good.db text.txt" {
		t.Errorf("in the folder: %s", got)
	}
	db, err := store.Open(good, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Salvage(t.Context(), good, filepath.Join(dir, "out.db"), nil); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a file that is open: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
