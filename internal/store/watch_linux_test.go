package store

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The file is held from the first open to the last close, though the kernel makes one event of opens that are alike.
func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	now := time.Now()
	w, err := newWatch(file, now, new(atomic.Int64))
	if err != nil {
		t.Skip(err)
	}
	defer w.close()
	if !w.leases {
		t.Skip("this file system has no leases")
	}
	held := func(want bool) {
		t.Helper()
		now = now.Add(2 * askTime)
		if h := w.read(now); len(h.heads) > 0 != want {
			t.Errorf("held: %v", !want)
		}
	}
	open := func() *os.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	held(false)
	a, b := open(), open()
	held(true)
	a.Close()
	held(true)
	c := open()
	b.Close()
	held(true)
	if n := len(w.hold.heads); n != 1 {
		t.Errorf("%d heads", n)
	}
	now = now.Add(time.Minute)
	held(true)
	d := open()
	held(true)
	if n := len(w.hold.heads); n != 2 || w.hold.heads[1].from.Before(now.Add(-5*askTime)) {
		t.Errorf("%d heads: %v", n, w.hold.heads)
	}
	c.Close()
	d.Close()
	held(false)
	open().Close()
	w.read(now)
	held(false)
	if w.opens.Load() == 0 {
		t.Error("no opens are counted")
	}

	// One that is open when the watch begins is known too.
	e := open()
	w2, err := newWatch(file, now, new(atomic.Int64))
	if err != nil {
		t.Fatal(err)
	}
	defer w2.close()
	if len(w2.read(now).heads) == 0 {
		t.Error("a copy that was begun before is not held")
	}
	e.Close()
	if len(w2.read(now.Add(2*askTime)).heads) > 0 {
		t.Error("it is held after it was closed")
	}
}

// Without leases, those who read go on being waited for.
func TestWatchWithoutLeases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	w, err := newWatch(file, now, new(atomic.Int64))
	if err != nil {
		t.Skip(err)
	}
	defer w.close()
	w.leases = false
	if _, err := unix.InotifyAddWatch(w.fd, path, unix.IN_OPEN|unix.IN_ACCESS); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(w.read(now).heads) == 0 {
		t.Error("it is not held")
	}
	for range 5 {
		now = now.Add(longWindow * 2 / 3)
		if _, err := f.ReadAt(make([]byte, 10), 0); err != nil {
			t.Fatal(err)
		}
		if len(w.read(now).heads) == 0 {
			t.Error("it is not held while it is read")
		}
	}
	if len(w.read(now.Add(longWindow+1)).heads) > 0 {
		t.Error("it is held for ever")
	}
}
