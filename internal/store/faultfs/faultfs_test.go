//go:build linux && (amd64 || arm64)

package faultfs_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"croft/internal/store/faultfs"
)

func TestMain(m *testing.M) {
	faultfs.ServeIfChild()
	os.Exit(m.Run())
}

// open makes a file in the mounted folder. content reads it as it really is.
func open(t *testing.T, disk *faultfs.FS) (f *os.File, content func() string) {
	t.Helper()
	f, err := os.Create(filepath.Join(disk.Path, "f"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, func() string {
		b, err := os.ReadFile(filepath.Join(disk.Folder, "f"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

func write(f *os.File, text string, offset int64) error {
	_, err := f.WriteAt([]byte(text), offset)
	return err
}

func TestFaults(t *testing.T) {
	disk := faultfs.Mount(t)
	f, content := open(t, disk)
	if err := errors.Join(write(f, "one", 0), f.Sync()); err != nil || content() != "one" {
		t.Fatalf("%q, %v", content(), err)
	}
	steps := func(want ...string) {
		t.Helper()
		if steps := disk.Steps(); !slices.Equal(steps, want) {
			t.Errorf("steps %q", steps)
		}
	}
	disk.Fail(2, syscall.EIO)
	if err := write(f, "two", 3); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("the flush that fails: %v", err)
	}
	steps("write", "flush!")

	// Half a write is written on, as a system call's callers do.
	disk.Halve(1, 0)
	if err := write(f, "half", 6); err != nil || content() != "onetwohalf" {
		t.Errorf("%q, %v", content(), err)
	}
	steps("write", "write")
	disk.Halve(1, syscall.ENOSPC)
	if err := write(f, "half", 10); !errors.Is(err, syscall.ENOSPC) || content() != "onetwohalfha" {
		t.Errorf("%q, %v", content(), err)
	}
	if err := write(f, "lf", 12); err != nil {
		t.Error(err)
	}
	steps("write", "write!", "write")

	disk.Break(2, syscall.EROFS)
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"write":  write(f, "x", 0),
		"sync":   f.Sync(),
		"grow":   f.Truncate(100),
		"rename": os.Rename(f.Name(), f.Name()+"2"),
		"link":   os.Link(f.Name(), f.Name()+"2"),
		"remove": os.Remove(f.Name()),
		"open":   func() error { _, err := os.OpenFile(f.Name(), os.O_RDWR, 0); return err }(),
		"create": func() error { _, err := os.Create(f.Name() + "2"); return err }(),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if b, err := os.ReadFile(f.Name()); err != nil || string(b) != "onetwohalfhalf" {
		t.Errorf("%q, %v", b, err)
	}

	disk.Room(4)
	if err := errors.Join(write(f, "six", 14), f.Truncate(18)); err != nil {
		t.Error(err)
	}
	if err := write(f, "s", 17); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write to a full disk: %v", err)
	}
	if err := f.Truncate(19); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("growth on a full disk: %v", err)
	}
	disk.Room(-1)
	if err := write(f, "seven", 17); err != nil || content() != "onetwohalfhalfsixseven" {
		t.Errorf("%q, %v", content(), err)
	}
}

// What may be left after a power cut is what was flushed and any part of the rest.
func TestRecord(t *testing.T) {
	disk := faultfs.Mount(t)
	disk.Record()
	f, content := open(t, disk)
	old, changed := strings.Repeat("a", 1024), strings.Repeat("b", 1024)
	folder, err := os.Open(disk.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	err = errors.Join(
		write(f, old, 0), f.Sync(), folder.Sync(),
		os.Rename(f.Name(), f.Name()+"2"), os.Link(f.Name()+"2", f.Name()), os.Remove(f.Name()+"2"), folder.Sync(),
		write(f, changed, 0), f.Truncate(2000))
	if err != nil {
		t.Fatal(err)
	}
	if want := changed + strings.Repeat("\x00", 2000-1024); content() != want {
		t.Errorf("%q", content())
	}
	path := disk.Recorded()
	disk.Unmount()

	made, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	seen := map[string]bool{}
	var none []bool
	var d faultfs.Disk
	for e, err := range faultfs.Events(path) {
		if err != nil {
			t.Fatal(err)
		}
		d.Do(e)
		images, mayBeNone := d.Images("f")
		none = append(none, mayBeNone)
		for seed := range uint64(200) {
			for _, im := range images {
				r := rand.New(rand.NewPCG(seed, 0))
				arrivals := make([]faultfs.Arrival, len(im.Pending))
				for i := range arrivals {
					arrivals[i] = faultfs.Arrival(r.IntN(3))
				}
				if err := im.Write(made, arrivals, r); err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(made.Name())
				if err != nil {
					t.Fatal(err)
				}
				seen[string(bytes.TrimRight(b, "\x00"))] = true
			}
		}
	}
	a, b, zero := old[:512], changed[:512], strings.Repeat("\x00", 512)
	want := []string{"", a, a + a, zero + a, a + b, b + a, b + b}
	for _, w := range want {
		if !seen[w] {
			t.Errorf("never seen: %d bytes %.4q…", len(w), w)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d contents are seen", len(seen))
	}
	// Made, written, flushed; the folder is; renamed, linked, removed, the folder flushed; written, lengthened.
	if want := []bool{true, true, true, false, true, true, true, false, false, false}; !slices.Equal(none, want) {
		t.Errorf("there may be no file: %v", none)
	}
}
