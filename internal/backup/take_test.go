package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"croft/internal/backup"
	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/settings"
	"croft/internal/store"
	"croft/internal/store/storetest"
)

var local = &identity.Caller{Kind: identity.Local}

// A clock is set by the test.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)} }

// open returns the backups of a data file, into the folder "backups" beside it.
func open(t *testing.T, db *store.DB, change func(*backup.Options)) (*backup.Backups, *settings.Settings, string) {
	t.Helper()
	set, err := settings.New(db)
	if err != nil {
		t.Fatal(err)
	}
	o := backup.Options{Settings: set, Folder: filepath.Join(filepath.Dir(db.Path()), "backups"), Now: newClock().now}
	if change != nil {
		change(&o)
	}
	b, err := backup.New(db, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, set, o.Folder
}

func patch(t *testing.T, set *settings.Settings, body string) {
	t.Helper()
	if _, err := set.Patch(t.Context(), local, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, b *backup.Backups) []backup.Result {
	t.Helper()
	l, err := b.List(t.Context(), local)
	if err != nil {
		t.Fatal(err)
	}
	return l.Items
}

func TestTake(t *testing.T) {
	db := storetest.New(t)
	c := newClock()
	b, set, folder := open(t, db, func(o *backup.Options) { o.Now = c.now })
	patch(t, set, `{"backup":{"keep":3}}`)
	if got := list(t, b); len(got) != 0 || !b.Stats().LastGood.IsZero() {
		t.Errorf("before the first: %+v, %+v", got, b.Stats())
	}
	// Whatever else lies in the folder stays there.
	foreign := []string{"croft-20200101T000000Z.db.old", "croft-20200101T000000Z-0.db", "croft-20201301T000000Z.db", "other-20200101T000000Z.db", "croft.db", "croft-20200101T000000Z-02.db"}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range foreign {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(folder, "croft-20190101T000000Z.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	var taken []string
	for _, wait := range []time.Duration{0, 0, 0, time.Hour, time.Hour} {
		c.add(wait)
		r, err := b.Take(t.Context(), local)
		if err != nil {
			t.Fatal(err)
		}
		if r.Check != backup.CheckOK || !r.Present || r.Size == 0 || r.Error != "" || !r.Time.Equal(c.now()) {
			t.Errorf("%+v", r)
		}
		taken = append(taken, r.Name)
	}
	const want = "croft-20261121T093000Z.db croft-20261121T093000Z-2.db croft-20261121T093000Z-3.db croft-20261121T103000Z.db croft-20261121T113000Z.db"
	if got := strings.Join(taken, " "); got != want {
		t.Errorf("taken: %s", got)
	}
	var there []string
	for _, name := range append(taken, foreign...) {
		if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
			there = append(there, name)
		}
	}
	if got, want := strings.Join(there, " "), strings.Join(append(taken[2:], foreign...), " "); got != want {
		t.Errorf("in the folder: %s\nwant %s", got, want)
	}
	if n := len(strings.Fields(names(t, folder))); n != 3+len(foreign)+1 {
		t.Errorf("in the folder: %s", names(t, folder))
	}
	check := func(b *backup.Backups) {
		t.Helper()
		var got []string
		for _, r := range list(t, b) {
			got = append(got, fmt.Sprint(r.Name, " ", r.Present))
		}
		want := []string{"croft-20261121T113000Z.db true", "croft-20261121T103000Z.db true", "croft-20261121T093000Z-3.db true", "croft-20261121T093000Z-2.db false", "croft-20261121T093000Z.db false"}
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("listed: %q", got)
		}
		if s := b.Stats(); !s.LastGood.Equal(c.now()) || s.Failures != 0 {
			t.Errorf("%+v", s)
		}
	}
	check(b)
	// What is listed is in the data file, and so in the backups too, but for the newest.
	again, _, _ := open(t, db, func(o *backup.Options) { o.Now = c.now })
	check(again)
	inBackup := storetest.Open(t, filepath.Join(folder, taken[4]))
	old, _, _ := open(t, inBackup, func(o *backup.Options) { o.Folder = folder })
	if got := list(t, old); len(got) != 4 {
		t.Errorf("the newest backup knows of %d", len(got))
	}

	// The clock was wrong once: the newest one is kept, though its name is the oldest.
	c.add(-10 * 365 * 24 * time.Hour)
	r, err := b.Take(t.Context(), local)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder, r.Name)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(folder, taken[3])); err != nil {
		t.Error(err)
	}
}

// Data files of the same name can share a folder: none removes what the other took.
func TestSharedFolder(t *testing.T) {
	folder, c := t.TempDir(), newClock()
	var all []*backup.Backups
	for range 2 {
		b, set, _ := open(t, storetest.New(t), func(o *backup.Options) { o.Folder, o.Now = folder, c.now })
		patch(t, set, `{"backup":{"keep":1}}`)
		all = append(all, b)
	}
	for range 2 {
		c.add(time.Hour)
		for _, b := range all {
			if _, err := b.Take(t.Context(), local); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, b := range all {
		l, err := b.List(t.Context(), local)
		if err != nil || len(l.Items) != 2 || !l.Items[0].Present || l.Items[1].Present {
			t.Errorf("data file %d: %+v, %v", i, l, err)
		}
	}
}

// The folder is made when the first backup needs it, for its owner alone.
func TestFolder(t *testing.T) {
	db := storetest.New(t)
	deep := filepath.Join(t.TempDir(), "a", "b")
	b, _, folder := open(t, db, func(o *backup.Options) { o.Folder = deep })
	if _, err := os.Stat(folder); err == nil {
		t.Error("it is there before it is needed")
	}
	if _, err := b.Take(t.Context(), local); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(folder); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// The data file has another name, and so have its backups.
	other, _, _ := open(t, storetest.Open(t, filepath.Join(t.TempDir(), "my.notes.db")), func(o *backup.Options) { o.Folder = deep })
	if r, err := other.Take(t.Context(), local); err != nil || r.Name != "my.notes-20261121T093000Z.db" {
		t.Errorf("%+v, %v", r, err)
	}
}

// A backup that fails is deleted and recorded, and costs none of the older ones.
func TestTakeFails(t *testing.T) {
	db := storetest.New(t)
	c := newClock()
	var fault error
	good, set, folder := open(t, db, func(o *backup.Options) {
		o.Now = c.now
		o.Verify = func(context.Context, string) error { return fault }
	})
	patch(t, set, `{"backup":{"keep":1}}`)
	if _, err := good.Take(t.Context(), local); err != nil {
		t.Fatal(err)
	}
	before := names(t, folder)
	lastGood := good.Stats().LastGood
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	noRoom, _, _ := open(t, db, func(o *backup.Options) { o.Reserve, o.Now = 1<<62, c.now })
	noFolder, _, _ := open(t, db, func(o *backup.Options) { o.Folder, o.Now = file, c.now })
	for i, test := range []struct {
		name string
		b    *backup.Backups
		code errs.Code
		want string
	}{
		{"the check", good, errs.Internal, "the check says no"},
		{"no room", noRoom, errs.DiskFull, "are to be kept free: make room"},
		{"a file for a folder", noFolder, errs.Internal, "is not a folder: name another one"},
	} {
		fault = fmt.Errorf("%w: the check says no", store.ErrDamaged)
		c.add(time.Hour)
		_, err := test.b.Take(t.Context(), local)
		var e *errs.Error
		if !errors.As(err, &e) || e.Code != test.code || !strings.Contains(e.Text, test.want) || errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := names(t, folder); got != before {
			t.Errorf("%s: in the folder: %s", test.name, got)
		}
		got := list(t, good)
		if len(got) != i+2 || got[0].Check != backup.CheckFailed || got[0].Present || !strings.Contains(got[0].Error, test.want) {
			t.Errorf("%s: listed: %+v", test.name, got)
		}
		if s := test.b.Stats(); s.Failures != 1 || !s.LastGood.Equal(lastGood) {
			t.Errorf("%s: %+v", test.name, s)
		}
	}
	// One that is called off is no failure.
	ctx, stop := context.WithCancel(t.Context())
	calledOff, _, _ := open(t, db, func(o *backup.Options) {
		o.Verify = func(context.Context, string) error { stop(); return ctx.Err() }
	})
	if _, err := calledOff.Take(ctx, local); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
	if got := names(t, folder); got != before || len(list(t, good)) != 4 || calledOff.Stats().Failures != 0 {
		t.Errorf("called off: in the folder: %s, listed %d", got, len(list(t, good)))
	}
}

// Only so many results are kept; those of good ones longer than those of failures.
func TestResultsKept(t *testing.T) {
	db := storetest.New(t)
	c := newClock()
	var fault error
	b, set, _ := open(t, db, func(o *backup.Options) {
		o.Now = c.now
		o.Verify = func(context.Context, string) error { return fault }
	})
	patch(t, set, `{"backup":{"keep":1}}`)
	for i := range 210 {
		c.add(time.Minute)
		fault = nil
		if i%10 != 0 {
			fault = errors.New("it fails")
		}
		if r, err := b.Take(t.Context(), local); (err != nil) != (fault != nil) {
			t.Fatal(r, err)
		}
	}
	good := 0
	all := list(t, b)
	for i, r := range all {
		if r.Check == backup.CheckOK {
			good++
		}
		if i > 0 && !r.Time.Before(all[i-1].Time) {
			t.Errorf("%v stands after %v", r.Time, all[i-1].Time)
		}
	}
	if len(all) != 200 || good != 21 || !all[0].Time.Equal(c.now()) {
		t.Errorf("%d are kept, %d of them good, the newest of %v", len(all), good, all[0].Time)
	}
}

// A result that can't be read is told by the check alone: it keeps nobody from taking backups.
func TestDamagedResult(t *testing.T) {
	db := storetest.Open(t, filepath.Join(t.TempDir(), "croft.db"))
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		return tx.Put(store.Backups.Key([]byte("\x00\x00\x00\x00\x00\x00\x00\x01")), []byte("{"))
	})
	if err != nil {
		t.Fatal(err)
	}
	b, _, _ := open(t, db, nil)
	r, err := b.Take(t.Context(), local)
	if err != nil {
		t.Fatal(err)
	}
	l, err := b.List(t.Context(), local)
	if err != nil || len(l.Items) != 1 || l.Items[0].Name != r.Name {
		t.Errorf("%+v, %v", l, err)
	}
	report, err := backup.NewChecker(db).Check(t.Context(), local)
	if err != nil || report.FaultsTotal != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestOneAtATime(t *testing.T) {
	db := storetest.New(t)
	checking, goOn := make(chan struct{}), make(chan struct{})
	b, _, _ := open(t, db, func(o *backup.Options) {
		o.Verify = func(context.Context, string) error {
			checking <- struct{}{}
			<-goOn
			return nil
		}
	})
	first := make(chan error)
	go func() {
		_, err := b.Take(context.Background(), local)
		first <- err
	}()
	<-checking
	_, err := b.Take(t.Context(), local)
	var e *errs.Error
	if !errors.As(err, &e) || e.Code != errs.Conflict {
		t.Errorf("a second one: %v", err)
	}
	close(goOn)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if got := list(t, b); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

// The schedule of the settings takes backups by itself, and Close ends one that it is taking.
func TestStart(t *testing.T) {
	db := storetest.New(t)
	taken := make(chan struct{})
	b, set, folder := open(t, db, func(o *backup.Options) {
		o.Verify = func(ctx context.Context, _ string) error {
			taken <- struct{}{}
			<-ctx.Done() // Close
			return ctx.Err()
		}
	})
	patch(t, set, `{"backup":{"every":"24h"}}`)
	b.Start()
	<-taken
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if got := names(t, folder); got != "" || len(list(t, b)) != 0 {
		t.Errorf("in the folder: %s; listed: %+v", got, list(t, b))
	}
	// What was called off is due at the next start; what was taken is not.
	for range 2 {
		again, _, _ := open(t, db, nil)
		again.Start()
		for len(list(t, b)) == 0 {
			runtime.Gosched()
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := list(t, b); len(got) != 1 || got[0].Check != backup.CheckOK {
		t.Errorf("%+v", got)
	}
}

func TestWhoMay(t *testing.T) {
	db := storetest.New(t)
	b, _, folder := open(t, db, nil)
	admin := &identity.Caller{Kind: identity.User, ID: "1", Roles: []string{identity.Admin}}
	for _, test := range []struct {
		name string
		c    *identity.Caller
		want errs.Code
	}{
		{"anonymous", &identity.Caller{}, errs.Unauthenticated},
		{"user", &identity.Caller{Kind: identity.User, ID: "2"}, errs.Forbidden},
		{"admin's token", &identity.Caller{Kind: identity.User, ID: "1", Roles: admin.Roles, Token: &identity.Token{}}, errs.Forbidden},
		{"admin", admin, ""},
		{"local operator", local, ""},
	} {
		_, listErr := b.List(t.Context(), test.c)
		_, takeErr := b.Take(t.Context(), test.c)
		im, imageErr := b.Image(t.Context(), test.c)
		if imageErr == nil {
			im.Close()
		}
		for _, err := range []error{listErr, takeErr, imageErr} {
			var e *errs.Error
			if errors.As(err, &e); test.want == "" && err != nil || test.want != "" && (e == nil || e.Code != test.want) {
				t.Errorf("%s: %v, want %q", test.name, err, test.want)
			}
		}
		if _, err := os.Stat(folder); test.want != "" && err == nil {
			t.Errorf("%s: a folder was made", test.name)
		}
	}
}

// So many images can be read at once, and no more.
func TestImages(t *testing.T) {
	db := storetest.New(t)
	b, _, _ := open(t, db, nil)
	for range 3 {
		var open []*backup.Image
		for len(open) < 4 {
			im, err := b.Image(t.Context(), local)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, im)
		}
		_, err := b.Image(t.Context(), local)
		var e *errs.Error
		if !errors.As(err, &e) || e.Code != errs.Busy {
			t.Errorf("a fifth: %v", err)
		}
		for _, im := range open {
			if _, err := io.Copy(io.Discard, io.NewSectionReader(im, 0, im.Size())); err != nil {
				t.Error(err)
			}
			im.Close()
		}
	}
}
