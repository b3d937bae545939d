package settings_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/settings"
	"croft/internal/store"
)

var (
	local = &identity.Caller{Kind: identity.Local}
	admin = &identity.Caller{Kind: identity.User, ID: "1", Roles: []string{identity.Admin}}
	user  = &identity.Caller{Kind: identity.User, ID: "2"}
	token = &identity.Caller{Kind: identity.User, ID: "1", Roles: []string{identity.Admin}, Token: &identity.Token{}}
)

func open(t *testing.T, path string) (*settings.Settings, *store.DB) {
	t.Helper()
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := settings.New(db)
	if err != nil {
		t.Fatal(err)
	}
	return s, db
}

func TestPatch(t *testing.T) {
	off := settings.Backup{Keep: 7}
	path := filepath.Join(t.TempDir(), "croft.db")
	s, db := open(t, path)
	if diff := cmp.Diff(&settings.Values{Signup: "invite", CORSOrigins: []string{}, HostNames: []string{}, Backup: off}, s.Get()); diff != "" {
		t.Fatalf("a new file's settings: %s", diff)
	}
	steps := []struct {
		body string
		want settings.Values
	}{
		{`{}`, settings.Values{Signup: "invite", CORSOrigins: []string{}, HostNames: []string{}, Backup: off}},
		{`{"signup":"open"}`, settings.Values{Signup: "open", CORSOrigins: []string{}, HostNames: []string{}, Backup: off}},
		{`{"cors_origins":["HTTPS://App.Example.org:443","http://localhost:5173","https://app.example.org","http://[::1]:80","tauri://localhost"]}`,
			settings.Values{Signup: "open", CORSOrigins: []string{"https://app.example.org", "http://localhost:5173", "http://[::1]", "tauri://localhost"}, HostNames: []string{}, Backup: off}},
		{`{"host_names":["Croft.Example.org"],"signup":null}`,
			settings.Values{Signup: "invite", CORSOrigins: []string{"https://app.example.org", "http://localhost:5173", "http://[::1]", "tauri://localhost"}, HostNames: []string{"croft.example.org"}, Backup: off}},
		{`{"cors_origins":null}`, settings.Values{Signup: "invite", CORSOrigins: []string{}, HostNames: []string{"croft.example.org"}, Backup: off}},
	}
	for _, step := range steps {
		before := s.Get()
		copied := *before
		v, err := s.Patch(t.Context(), admin, []byte(step.body))
		if err != nil {
			t.Fatalf("%s: %v", step.body, err)
		}
		if diff := cmp.Diff(&step.want, v); diff != "" {
			t.Errorf("%s: %s", step.body, diff)
		}
		if s.Get() != v {
			t.Errorf("%s: Get doesn't return what Patch did", step.body)
		}
		if diff := cmp.Diff(&copied, before); diff != "" {
			t.Errorf("%s changed values that others hold: %s", step.body, diff)
		}
	}
	want := s.Get()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, path)
	if diff := cmp.Diff(want, s.Get()); diff != "" {
		t.Errorf("after opening again: %s", diff)
	}
}

func TestPatchRefuses(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "croft.db"))
	for _, test := range []struct {
		body string
		code errs.Code
		want []string // pointer and code of each fault
	}{
		{``, errs.InvalidJSON, nil},
		{`{"signup":"open"`, errs.InvalidJSON, nil},
		{`{} {}`, errs.InvalidJSON, []string{" invalid_json"}},
		{`{"signup":"open","signup":"open"}`, errs.InvalidJSON, []string{"/signup invalid_json"}},
		{"{\"signup\":\"\xff\"}", errs.InvalidJSON, []string{"/signup invalid_json"}},
		{`[]`, errs.Invalid, []string{" wrong_type"}},
		{`"open"`, errs.Invalid, []string{" wrong_type"}},
		{`{"sign_up":"open"}`, errs.Invalid, []string{"/sign_up unknown_field"}},
		{`{"Signup":"open"}`, errs.Invalid, []string{"/Signup unknown_field"}},
		{`{"signup":"closed"}`, errs.Invalid, []string{"/signup invalid"}},
		{`{"signup":1}`, errs.Invalid, []string{"/signup invalid"}},
		{`{"cors_origins":"https://a.example"}`, errs.Invalid, []string{"/cors_origins wrong_type"}},
		{`{"cors_origins":[1]}`, errs.Invalid, []string{"/cors_origins wrong_type"}},
		{`{"cors_origins":["*"]}`, errs.Invalid, []string{"/cors_origins/0 invalid"}},
		{`{"cors_origins":["null","https://*.example.org"]}`, errs.Invalid, []string{"/cors_origins/0 invalid", "/cors_origins/1 invalid"}},
		{`{"cors_origins":["https://a.example","https://a.example/","a.example","https://","https://u@a","https://a:0","https://a:65536","https://a:080","http://[::1","1x://a"],"signup":""}`,
			errs.Invalid, []string{"/signup invalid", "/cors_origins/1 invalid", "/cors_origins/2 invalid", "/cors_origins/3 invalid",
				"/cors_origins/4 invalid", "/cors_origins/5 invalid", "/cors_origins/6 invalid", "/cors_origins/7 invalid", "/cors_origins/8 invalid", "/cors_origins/9 invalid"}},
		{`{"host_names":["a.example:80","http://a","10.0.0.1","[::1]","-a","a..b","","bücher.example","*.a","a b","` + strings.Repeat("a", 64) + `"]}`,
			errs.Invalid, []string{"/host_names/0 invalid", "/host_names/1 invalid", "/host_names/2 invalid", "/host_names/3 invalid", "/host_names/4 invalid",
				"/host_names/5 invalid", "/host_names/6 invalid", "/host_names/7 invalid", "/host_names/8 invalid", "/host_names/9 invalid", "/host_names/10 invalid"}},
		{`{"backup":[]}`, errs.Invalid, []string{"/backup wrong_type"}},
		{`{"backup":"24h"}`, errs.Invalid, []string{"/backup wrong_type"}},
		{`{"backup":{"each":"24h"}}`, errs.Invalid, []string{"/backup/each unknown_field"}},
		{`{"backup":{"every":"24h","every":"24h"}}`, errs.InvalidJSON, []string{"/backup/every invalid_json"}},
		{`{"backup":{"every":"59s","keep":0}}`, errs.Invalid, []string{"/backup/every invalid", "/backup/keep invalid"}},
		{`{"backup":{"every":"8785h","keep":1001}}`, errs.Invalid, []string{"/backup/every invalid", "/backup/keep invalid"}},
		{`{"backup":{"every":86400,"keep":"7"}}`, errs.Invalid, []string{"/backup/every invalid", "/backup/keep invalid"}},
		{`{"backup":{"every":"1 day","keep":1.5}}`, errs.Invalid, []string{"/backup/every invalid", "/backup/keep invalid"}},
		{`{"backup":{"every":"","keep":true},"signup":"x"}`, errs.Invalid, []string{"/signup invalid", "/backup/every invalid", "/backup/keep invalid"}},
		{`{"backup":{"every":"-24h"}}`, errs.Invalid, []string{"/backup/every invalid"}},
		{`{"host_names":[` + strings.Repeat(`"a",`, 100) + `"b"]}`, errs.Invalid, []string{"/host_names too_many"}},
	} {
		before := s.Get()
		_, err := s.Patch(t.Context(), local, []byte(test.body))
		var e *errs.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", test.body, err)
			continue
		}
		var got []string
		for _, f := range e.Fields {
			got = append(got, f.Pointer+" "+f.Code)
		}
		if e.Code != test.code || test.want != nil && !slices.Equal(got, test.want) {
			t.Errorf("%s: %s %q, want %s %q", test.body, e.Code, got, test.code, test.want)
		}
		if s.Get() != before {
			t.Errorf("%s was refused and changed the settings", test.body)
		}
	}
}

func TestWhoMay(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "croft.db"))
	for _, test := range []struct {
		name string
		c    *identity.Caller
		want errs.Code
	}{
		{"anonymous", &identity.Caller{}, errs.Unauthenticated},
		{"user", user, errs.Forbidden},
		{"admin's token", token, errs.Forbidden},
		{"admin", admin, ""},
		{"local operator", local, ""},
	} {
		_, readErr := s.Read(t.Context(), test.c)
		_, patchErr := s.Patch(t.Context(), test.c, []byte(`{}`))
		for _, err := range []error{readErr, patchErr} {
			var e *errs.Error
			if errors.As(err, &e); test.want == "" && err != nil || test.want != "" && (e == nil || e.Code != test.want) {
				t.Errorf("%s: %v, want %q", test.name, err, test.want)
			}
		}
	}
}

// Backups are off until somebody asks for them, and each member of the setting changes by itself.
func TestPatchBackup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	s, db := open(t, path)
	day := settings.Interval(24 * time.Hour)
	for _, step := range []struct {
		body string
		want settings.Backup
		json string
	}{
		{`{}`, settings.Backup{Keep: 7}, `{"every":null,"keep":7}`},
		{`{"backup":{"every":"24h"}}`, settings.Backup{Every: day, Keep: 7}, `{"every":"24h","keep":7}`},
		{`{"backup":{"keep":1}}`, settings.Backup{Every: day, Keep: 1}, `{"every":"24h","keep":1}`},
		{`{"backup":{}}`, settings.Backup{Every: day, Keep: 1}, `{"every":"24h","keep":1}`},
		{`{"backup":{"every":null,"keep":1000}}`, settings.Backup{Keep: 1000}, `{"every":null,"keep":1000}`},
		{`{"backup":{"every":"1m","keep":null}}`, settings.Backup{Every: settings.Interval(time.Minute), Keep: 7}, `{"every":"1m","keep":7}`},
		{`{"backup":{"every":"8784h"}}`, settings.Backup{Every: 366 * day, Keep: 7}, `{"every":"8784h","keep":7}`},
		{`{"backup":null}`, settings.Backup{Keep: 7}, `{"every":null,"keep":7}`},
		{`{"backup":{"every":"90m0s"}}`, settings.Backup{Every: settings.Interval(90 * time.Minute), Keep: 7}, `{"every":"1h30m","keep":7}`},
	} {
		v, err := s.Patch(t.Context(), admin, []byte(step.body))
		if err != nil {
			t.Fatalf("%s: %v", step.body, err)
		}
		text, err := json.Marshal(v.Backup)
		if v.Backup != step.want || err != nil || string(text) != step.json {
			t.Errorf("%s: %+v, %s, %v", step.body, v.Backup, text, err)
		}
	}
	want := s.Get()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, path)
	if diff := cmp.Diff(want, s.Get()); diff != "" {
		t.Errorf("after opening again: %s", diff)
	}
}

// What Get returns is what the newest commit holds, however many change it.
func TestPatchAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	s, db := open(t, path)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for _, body := range []string{`{"signup":"open"}`, `{"host_names":["a"]}`, `{"signup":null,"host_names":["b"]}`} {
				if _, err := s.Patch(context.Background(), local, []byte(body)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	want := s.Get()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, path)
	if diff := cmp.Diff(want, s.Get()); diff != "" {
		t.Error(diff)
	}
}
