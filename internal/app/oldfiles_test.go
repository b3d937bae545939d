package app_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"croft/internal/app/apptest"
	"croft/internal/store"
)

var makeOldFile = flag.Bool("make-old-file", false, "write the file of the newest format into the store's testdata: once, when it is released")

const oldFiles = "../store/testdata"

// What each released format version wrote is served by this one. The store's test of this name compares every entry.
func TestOldFiles(t *testing.T) {
	if *makeOldFile {
		newOldFile(t)
	}
	files, err := filepath.Glob(filepath.Join(oldFiles, "format-*.db"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no old files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "croft.db")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			s := apptest.StartAt(t, path)
			admin := s.As(s.Login(apptest.AdminEmail, apptest.AdminPassword))
			user := s.As(s.Login("alice@example.com", "orchard-of-alice@example.com"))
			for i := range 40 {
				r := user.Do("GET", fmt.Sprintf("/api/v1/records/notes/n%d", i), nil)
				if i%10 == 3 {
					r.Want(t, 404)
					continue
				}
				if got := r.Want(t, 200).String("title"); got != title(i) {
					t.Errorf("note %d is %q", i, got)
				}
			}
			for what, query := range map[string]string{
				"the index":        "count=true&limit=1&explain=true&sort=-rank&filter=record.rank%20%3E=%2030",
				"the unique index": "count=true&limit=1&explain=true&filter=record.title%20==%20%22note%2012%22",
			} {
				text := string(admin.Do("GET", "/api/v1/records/notes?"+query, nil).Want(t, 200).Body)
				if strings.Contains(text, `"index":null`) {
					t.Errorf("%s is not used: %s", what, text)
				}
			}
			user.Do("POST", "/api/v1/records/notes", `{"title":"note 12","rank":1}`).Want(t, 409)
			user.Do("POST", "/api/v1/records/notes", `{"title":"new","rank":1}`).Want(t, 201)
			admin.Do("GET", "/api/v1/users", nil).Want(t, 200)
			if set := string(admin.Do("GET", "/api/v1/settings", nil).Want(t, 200).Body); !strings.Contains(set, "notes.example.com") {
				t.Errorf("the settings are gone: %s", set)
			}
		})
	}
}

func title(i int) string { return fmt.Sprintf("note %d", i) }

// newOldFile writes a small file with something of everything. The next parts of Croft add theirs, each in a file of a later format.
func newOldFile(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", `{
		"schema":{"type":"object","properties":{"title":{"type":"string"},"rank":{"type":"integer"}}},
		"indexes":[{"name":"by_rank","fields":["-rank"]},{"name":"by_title","fields":["title"],"unique":true}],
		"access":{"read":"has(auth.id)","create":"has(auth.id)","update":"record.owner == auth.id"},
		"hidden":["pin"]}`)
	s.Define("shop.orders", `{}`)
	user := s.NewUser("alice@example.com")
	for i := range 40 {
		user.Do("POST", "/api/v1/records/notes", map[string]any{
			"id": fmt.Sprintf("n%d", i), "title": title(i), "rank": i, "pin": "1234", "tags": []string{"a", "ü"},
		}).Want(t, 201)
	}
	for i := 3; i < 40; i += 10 {
		s.Admin().Do("DELETE", fmt.Sprintf("/api/v1/records/notes/n%d", i), nil).Want(t, 204)
	}
	s.Admin().Do("POST", "/api/v1/invites", `{"roles":["editor"]}`).Want(t, 201)
	s.Admin().Do("POST", "/api/v1/auth/tokens", `{"name":"t","scopes":[{"collection":"notes","actions":["read"]}]}`).Want(t, 201)
	s.Admin().Do("PATCH", "/api/v1/settings", `{"host_names":["notes.example.com"]}`).Want(t, 200)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(s.Config.Data)
	if err != nil {
		t.Fatal(err)
	}
	// What is behind the last page that is used is all zeros.
	for len(content) > 4096 && allZero(content[len(content)-4096:]) {
		content = content[:len(content)-4096]
	}
	path := filepath.Join(oldFiles, fmt.Sprintf("format-%d.db", store.Format))
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(path, store.Options{ReadOnly: true})
	if err != nil {
		t.Fatalf("the file that was made: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
