//go:build linux && (amd64 || arm64)

// Package faultfs is a file system for tests of what is done about disks that fail: a folder, mounted elsewhere by
// FUSE (go-fuse builds on 64 bits only), of which a chosen write or flush fails, which is full, or whose power is cut.
//
// A process of its own serves it: a program that maps a file which it serves itself waits for itself for ever. It is
// the test's binary, run again, so the test's TestMain calls ServeIfChild first.
package faultfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// FS is a mounted folder.
type FS struct {
	Path   string // where it is mounted
	Folder string // what is mounted there; to look at it without faults

	in  io.Writer     // requests to the serving process
	out *json.Decoder // its answers
	t   testing.TB
}

// request tells the serving process what to do. There is one answer to each.
type request struct {
	Step  int           // the step from now on that fails, 1 the next; 0 is none
	Errno syscall.Errno // as which error
	Room  *int64        // when set, how many bytes can be written from now on; less than 0: no limit
	Cut   *uint64       // when set, cut the power; the number chooses what survives
}

type answer struct {
	Error string
	Steps []string // since the last request
}

// Mount mounts a new folder. The test is skipped where that is impossible. When the test ends, it is unmounted; whoever has
// files open in it closes them before.
func Mount(t testing.TB) *FS {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("to mount a file system with faults needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("a file system with faults needs FUSE: %v", err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A mount point with a short and plain name: mount's options are separated by commas.
	dir, err := os.MkdirTemp("", "faultfs")
	if err != nil {
		t.Fatal(err)
	}
	f := &FS{Path: filepath.Join(dir, "mounted"), Folder: filepath.Join(dir, "folder"), t: t}
	if err := errors.Join(os.Mkdir(f.Path, 0o700), os.Mkdir(f.Folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), mountVariable+"="+f.Path, folderVariable+"="+f.Folder, "GORACE=atexit_sleep_ms=0")
	stderr := &strings.Builder{}
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.in, f.out = in, json.NewDecoder(out)
	// It ends when its input does. Should it hang, killing it aborts the connection, and whoever waits for it gets an error.
	watchdog := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		in.Close()
		stuck := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		stuck.Stop()
		if !watchdog.Stop() || err != nil && !t.Skipped() {
			t.Errorf("the file system's process: %v: %s", err, stderr)
		}
		syscall.Unmount(f.Path, syscall.MNT_DETACH) // fails when it is unmounted already, as it should be
		os.RemoveAll(dir)
	})
	var ready answer
	if err := f.out.Decode(&ready); err != nil {
		t.Fatalf("mount: %v: %s", err, stderr)
	}
	if ready.Error != "" {
		t.Skipf("a file system with faults can't be mounted here: %s", ready.Error)
	}
	return f
}

// Fail has the step-th write, growth or flush from now on fail, once; 1 is the next.
func (f *FS) Fail(step int, errno syscall.Errno) { f.ask(request{Step: step, Errno: errno}) }

// Room sets how many bytes can be written from now on; less than 0 lifts the limit. To lengthen a file counts too.
func (f *FS) Room(bytes int64) { f.ask(request{Room: &bytes}) }

// Steps returns the steps since it, Fail or Room was last called: "write", "grow" or "flush", with an exclamation mark if
// it failed.
func (f *FS) Steps() []string { return f.ask(request{}).Steps }

// Cut cuts the power: of what was written after the last flush of a file, some sectors are on disk and others are not,
// as the number says.
func (f *FS) Cut(which uint64) { f.ask(request{Cut: &which}) }

func (f *FS) ask(r request) answer {
	f.t.Helper()
	line, err := json.Marshal(r)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f.in, "%s\n", line); err != nil {
		f.t.Fatalf("the file system's process: %v", err)
	}
	var a answer
	if err := f.out.Decode(&a); err != nil {
		f.t.Fatalf("the file system's process: %v", err)
	}
	if a.Error != "" {
		f.t.Fatalf("the file system's process: %s", a.Error)
	}
	return a
}
