package https_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"croft/internal/https"
	"croft/internal/store/storetest"
)

// What certmagic's documentation of Storage demands.
func TestStorage(t *testing.T) {
	db := storetest.New(t)
	s := https.NewStorage(db)
	ctx := t.Context()
	put := func(key, value string) {
		t.Helper()
		if err := s.Store(ctx, key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	list := func(prefix string, recursive bool, want ...string) {
		t.Helper()
		got, err := s.List(ctx, prefix, recursive)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("List(%q, %t) = %q, %v, want %q", prefix, recursive, got, err, want)
		}
	}
	absent := func(key string) {
		t.Helper()
		_, loadErr := s.Load(ctx, key)
		_, statErr := s.Stat(ctx, key)
		_, listErr := s.List(ctx, key, true)
		if s.Exists(ctx, key) || !errors.Is(loadErr, fs.ErrNotExist) || !errors.Is(statErr, fs.ErrNotExist) || !errors.Is(listErr, fs.ErrNotExist) {
			t.Errorf("%q: %v, %v, %v", key, loadErr, statErr, listErr)
		}
	}
	absent("a")
	absent("")
	if err := s.Delete(ctx, "a"); err != nil {
		t.Errorf("delete what is not there: %v", err)
	}
	before := time.Now().Truncate(time.Millisecond)
	put("a/b/c", "1")
	put("a/b/d", "22")
	put("a/e", "")
	put("ab/c", "3")
	put("a-b", "4")
	put("a/b/c", "111")

	if v, err := s.Load(ctx, "a/b/c"); err != nil || string(v) != "111" {
		t.Errorf("Load = %q, %v", v, err)
	}
	if v, err := s.Load(ctx, "a/e"); err != nil || len(v) != 0 {
		t.Errorf("Load of an empty value = %q, %v", v, err)
	}
	if _, err := s.Load(ctx, "a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a folder: %v", err)
	}
	list("", false, "a", "a-b", "ab")
	list("a", false, "a/b", "a/e")
	list("a", true, "a/b", "a/b/c", "a/b/d", "a/e")
	list("", true, "a", "a-b", "a/b", "a/b/c", "a/b/d", "a/e", "ab", "ab/c")
	list("a/b/c", true)
	if !s.Exists(ctx, "a/b") || !s.Exists(ctx, "a/b/c") || s.Exists(ctx, "a/") != s.Exists(ctx, "a") {
		t.Error("Exists is wrong of a folder or a file")
	}
	info, err := s.Stat(ctx, "a/b/c")
	if err != nil || info.Key != "a/b/c" || info.Size != 3 || !info.IsTerminal || info.Modified.Before(before) || info.Modified.After(time.Now()) {
		t.Errorf("Stat of a file: %+v, %v", info, err)
	}
	if info, err := s.Stat(ctx, "a/b"); err != nil || info.Key != "a/b" || info.IsTerminal {
		t.Errorf("Stat of a folder: %+v, %v", info, err)
	}

	db = storetest.Reopen(t, db)
	s = https.NewStorage(db)
	list("", true, "a", "a-b", "a/b", "a/b/c", "a/b/d", "a/e", "ab", "ab/c")
	if err := s.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	absent("a")
	absent("a/b/c")
	list("", true, "a-b", "ab", "ab/c")

	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, loadErr := s.Load(ended, "a-b")
	_, listErr := s.List(ended, "", true)
	_, statErr := s.Stat(ended, "a-b")
	for _, err := range []error{s.Store(ended, "x", nil), s.Delete(ended, "ab"), loadErr, listErr, statErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
	}
}

func TestLocks(t *testing.T) {
	s := https.NewStorage(storetest.New(t))
	ctx := t.Context()
	if err := s.Lock(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.TryLock(ctx, "a"); ok || err != nil {
		t.Errorf("a second TryLock: %t, %v", ok, err)
	}
	if ok, err := s.TryLock(ctx, "b"); !ok || err != nil {
		t.Errorf("another lock: %t, %v", ok, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Lock(ended, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("wait with a context that has ended: %v", err)
	}
	const many = 20
	inside, done := 0, make(chan error, many)
	for range many {
		go func() {
			err := s.Lock(ctx, "a")
			inside++
			if inside != 1 {
				err = errors.New("two have the lock")
			}
			inside--
			done <- errors.Join(err, s.Unlock(ctx, "a"))
		}()
	}
	if err := s.Unlock(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	for range many {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if s.Unlock(ctx, "a") == nil {
		t.Error("what isn't locked can be unlocked")
	}
}
