//go:build linux && (amd64 || arm64)

package faultfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"croft/internal/store/faultfs"
)

func TestMain(m *testing.M) {
	faultfs.ServeIfChild()
	os.Exit(m.Run())
}

func TestFaults(t *testing.T) {
	disk := faultfs.Mount(t)
	f, err := os.Create(filepath.Join(disk.Path, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(text string, offset int64) error {
		_, err := f.WriteAt([]byte(text), offset)
		return err
	}
	content := func() string {
		b, err := os.ReadFile(filepath.Join(disk.Folder, "f"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if err := errors.Join(write("one", 0), f.Sync()); err != nil || content() != "one" {
		t.Fatalf("%q, %v", content(), err)
	}
	disk.Fail(2, syscall.EIO)
	if err := write("two", 3); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("the flush that fails: %v", err)
	}
	if steps := disk.Steps(); !slices.Equal(steps, []string{"write", "flush!"}) {
		t.Errorf("steps %q", steps)
	}
	if content() != "onetwo" {
		t.Errorf("%q", content())
	}
	// Of what is not flushed, a cut loses some.
	seen := map[string]int{}
	for which := range uint64(30) {
		if err := write("two", 3); err != nil {
			t.Fatal(err)
		}
		disk.Cut(which)
		seen[content()]++
		if err := f.Truncate(3); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 2 || seen["one"] == 0 || seen["onetwo"] == 0 {
		t.Errorf("after cuts: %v", seen)
	}
	f.Close()
	f, err = os.OpenFile(f.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	disk.Room(4)
	if err := errors.Join(write("six", 3), f.Truncate(7)); err != nil {
		t.Error(err)
	}
	if err := write("s", 6); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write to a full disk: %v", err)
	}
	if err := f.Truncate(9); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("growth on a full disk: %v", err)
	}
	disk.Room(-1)
	if err := write("seven", 6); err != nil || content() != "onesixseven" {
		t.Errorf("%q, %v", content(), err)
	}
}
