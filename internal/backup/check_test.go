package backup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/alexedwards/argon2id"

	"croft/internal/auth"
	"croft/internal/backup"
	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records"
	"croft/internal/settings"
	"croft/internal/store"
)

var operator = &identity.Caller{Kind: identity.Local}

// checkedRecords is how many records are in checkedFile.
const checkedRecords = 200

// checkedFile makes a file with some of everything: its records have texts that occur nowhere else.
func checkedFile(t *testing.T) (path string) {
	t.Helper()
	ctx := context.Background()
	path = filepath.Join(t.TempDir(), "croft.db")
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := settings.New(db)
	if err != nil {
		t.Fatal(err)
	}
	a, err := auth.New(db, set, auth.Options{Params: &argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Setup(ctx, auth.SetupIn{Token: a.SetupToken(), Email: "ada@example.org", Password: "lantern-meadow-417"}, auth.Client{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := records.New(db, records.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Define(ctx, operator, "notes", []byte(`{"indexes":[{"name":"by_t","fields":["t"]}]}`), records.DefineOptions{}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range checkedRecords {
		wg.Go(func() {
			body := fmt.Sprintf(`{"id":"n%03d","t":"t%d","text":"needle-%03d %s"}`, i, i%7, i, strings.Repeat("x", 200))
			if _, err := r.Create(ctx, operator, "notes", []byte(body)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(r.Close(), a.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// spoil changes each page in which a text stands.
func spoil(t *testing.T, path, text string, change func(page []byte, at int)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, size := 0, os.Getpagesize()
	for page := range slices.Chunk(b, size) {
		if at := bytes.Index(page, []byte(text)); at >= 0 {
			change(page, at)
			n++
		}
	}
	if n == 0 {
		t.Fatalf("%q is not in the file", text)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(page []byte, at int) { page[at] ^= 1 }
func zero(page []byte, _ int)  { clear(page) }

func checkFile(t *testing.T, path string) *backup.Report {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	was, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	r, err := backup.CheckFile(t.Context(), path, func(what string, done, total int64) {
		told[what] = true
		if done > total {
			t.Errorf("%s: %d of %d", what, done, total)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !told["pages"] {
		t.Error("no progress was told")
	}
	now, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) || !was.ModTime().Equal(now.ModTime()) {
		t.Errorf("the check changed the file, %v", err)
	}
	return r
}

func TestCheckFile(t *testing.T) {
	path := checkedFile(t)
	r := checkFile(t, path)
	if !r.OK || r.Err() != nil || r.FaultsTotal != 0 || len(r.Faults) != 0 || r.Notes != nil {
		t.Errorf("a good file: %+v", r)
	}
	if !slices.Equal(r.Collections, []backup.Collection{{Name: "notes", Records: checkedRecords}}) || r.Users != 1 || r.Sessions != 1 {
		t.Errorf("found %+v", r)
	}
	if info, err := os.Stat(path); err != nil || r.Bytes == 0 || r.Bytes > info.Size() || r.Entries < 2*checkedRecords {
		t.Errorf("%d bytes, %d entries, %v", r.Bytes, r.Entries, err)
	}
}

// A record that is damaged is told once and by its name, and the others are counted.
func TestCheckDamagedRecord(t *testing.T) {
	path := checkedFile(t)
	spoil(t, path, "needle-123", flip)
	r := checkFile(t, path)
	want := []backup.Fault{{Part: "file", Where: "record n123 of notes", What: "it fails its checksum"}}
	if r.OK || !slices.Equal(r.Faults, want) || r.FaultsTotal != 1 {
		t.Errorf("faults %+v", r)
	}
	if !slices.Equal(r.Collections, []backup.Collection{{Name: "notes", Records: checkedRecords - 1, Damaged: 1}}) {
		t.Errorf("collections %+v", r.Collections)
	}
	if err := r.Err(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "record n123 of notes") {
		t.Errorf("its error is %v", err)
	}
}

// A tree that is damaged is not opened; what can still be reached is counted.
func TestCheckDamagedTree(t *testing.T) {
	path := checkedFile(t)
	spoil(t, path, "needle-123", zero)
	r := checkFile(t, path)
	if r.OK || len(r.Notes) == 0 || len(r.Collections) != 1 || r.Collections[0].Name != "notes" {
		t.Fatalf("%+v", r)
	}
	if n := r.Collections[0].Records; n == 0 || n >= checkedRecords {
		t.Errorf("%d records can be read", n)
	}
}

// What the parts hold against one another is told too: here an entry without its record.
func TestCheckParts(t *testing.T) {
	path := checkedFile(t)
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(context.Background(), func(tx *store.Tx) error {
		c := tx.Scan(store.Prefix(store.Indexes.Key()))
		c.Next()
		return errors.Join(
			tx.Put(append(bytes.Clone(c.Key()), 'x'), nil),
			tx.Put(store.Settings.Key([]byte("values")), []byte(`{"signup":"all"}`)),
			tx.Put(store.Auth.Key([]byte("z")), nil),
			tx.Put(store.Backups.Key([]byte("z")), nil))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	r := checkFile(t, path)
	var got []string
	for _, f := range r.Faults {
		got = append(got, f.Part)
	}
	if !slices.Equal(got, []string{"settings", "accounts", "backups", "records"}) || r.FaultsTotal != 4 {
		t.Errorf("faults %q", r.Faults)
	}
}

// Many faults are all counted, and some told.
func TestCheckManyFaults(t *testing.T) {
	path := checkedFile(t)
	for i := range 150 {
		spoil(t, path, fmt.Sprintf("needle-%03d", i), flip)
	}
	r := checkFile(t, path)
	if r.FaultsTotal != 150 || len(r.Faults) != 100 {
		t.Errorf("%d faults, %d told", r.FaultsTotal, len(r.Faults))
	}
	if !slices.Equal(r.Collections, []backup.Collection{{Name: "notes", Records: checkedRecords - 150, Damaged: 150}}) {
		t.Errorf("collections %+v", r.Collections)
	}
	if text := r.Err().Error(); !strings.HasSuffix(text, "; and 147 more") {
		t.Errorf("its error is %s", text)
	}
}

func TestCheckFileRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("Milk, bread, and more than a page\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "there is no file",
		dir:                        "folder",
		text:                       "not a Croft data file",
	} {
		if r, err := backup.CheckFile(t.Context(), path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", path, r, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("a check made a file")
	}
	db, err := store.Open(filepath.Join(dir, "open.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := backup.CheckFile(t.Context(), db.Path(), nil); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a file that is open: %v", err)
	}
	path := checkedFile(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backup.CheckFile(ctx, path, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a check that was cancelled: %v", err)
	}
}

// What a child does with the file it is to check, by the word in front of it.
func init() {
	roles["check"] = func(args []string) error {
		if len(args) != 4 || args[0] != "check" || args[1] != "--json" || args[2] != "--" {
			return fmt.Errorf("arguments %q", args)
		}
		r, err := backup.CheckFile(context.Background(), args[3], nil)
		if err != nil {
			return fmt.Errorf("croft: %w", err)
		}
		raw, err := json.Marshal(r)
		if err != nil {
			return err
		}
		fmt.Println(string(raw))
		if !r.OK {
			os.Exit(1)
		}
		return nil
	}
	roles["check-panics"] = func([]string) error { panic("over a page") }
	roles["check-killed"] = func([]string) error {
		p, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			return err
		}
		select {}
	}
	roles["check-hangs"] = func([]string) error { select {} }
	roles["check-starts"] = func(args []string) error {
		return fmt.Errorf("croft: %w", backup.VerifyInChild()(context.Background(), args[len(args)-1]))
	}
}

func TestVerifyInChild(t *testing.T) {
	good, bad := checkedFile(t), checkedFile(t)
	spoil(t, bad, "needle-123", flip)
	verify := backup.VerifyInChild()
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	for _, test := range []struct {
		role, path string
		damaged    bool
		want       string
	}{
		{"check", good, false, ""},
		{"check", bad, true, "record n123 of notes: it fails its checksum"},
		{"check", filepath.Join(t.TempDir(), "none"), false, "there is no file"},
		{"check-panics", good, true, "came to its end"},
		{"check-killed", good, true, "came to its end"},
		{"check-starts", good, false, "can't start another one"},
	} {
		t.Setenv(roleVariable, test.role)
		err := verify(t.Context(), test.path)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s %s: %v, want %q", test.role, test.path, err, test.want)
		}
		if errors.Is(err, store.ErrDamaged) != test.damaged {
			t.Errorf("%s: damaged %v: %v", test.role, !test.damaged, err)
		}
	}
	t.Setenv(roleVariable, "check-hangs")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- verify(ctx, good) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("one that hangs, and is cancelled: %v", err)
	}
	if err := backup.VerifyInChild(filepath.Join(t.TempDir(), "none"))(t.Context(), good); err == nil || errors.Is(err, store.ErrDamaged) {
		t.Errorf("without a program: %v", err)
	}
}

// A Checker checks a file that others write to.
func TestChecker(t *testing.T) {
	db, err := store.Open(checkedFile(t), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c := backup.NewChecker(db)
	r, err := records.New(db, records.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := r.Create(context.Background(), operator, "notes", fmt.Appendf(nil, `{"t":"%d-%d"}`, i, n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 10 {
		report, err := c.Check(t.Context(), operator)
		if err != nil || !report.OK {
			t.Errorf("%+v, %v", report, err)
		}
	}
	close(stop)
	wg.Wait()

	code := func(err error) errs.Code {
		var e *errs.Error
		errors.As(err, &e)
		if e == nil {
			return ""
		}
		return e.Code
	}
	release := c.Hold()
	if _, err := c.Check(t.Context(), operator); code(err) != errs.Busy {
		t.Errorf("a second check: %v", err)
	}
	release()
	for name, test := range map[string]struct {
		c    *identity.Caller
		want errs.Code
	}{
		"anonymous":     {&identity.Caller{}, errs.Unauthenticated},
		"user":          {&identity.Caller{Kind: identity.User, ID: "1"}, errs.Forbidden},
		"admin's token": {&identity.Caller{Kind: identity.User, ID: "1", Roles: []string{identity.Admin}, Token: &identity.Token{}}, errs.Forbidden},
		"admin":         {&identity.Caller{Kind: identity.User, ID: "1", Roles: []string{identity.Admin}}, ""},
	} {
		if _, err := c.Check(t.Context(), test.c); code(err) != test.want || test.want == "" && err != nil {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
