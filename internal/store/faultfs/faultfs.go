//go:build linux && (amd64 || arm64)

// Package faultfs is a file system for tests of what is done about disks that fail: a folder, mounted elsewhere by
// FUSE (go-fuse builds on 64 bits only), of which a chosen write or flush fails, or which is full. What is
// done to it can be recorded, and what a disk may hold after a power cut be made of the record: see Disk.
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
	"sync"
	"syscall"
	"testing"
	"time"

	"croft/internal/needs"
)

// FS is a mounted folder.
type FS struct {
	Path   string // where it is mounted
	Folder string // what is mounted there; to look at it without faults, and not to write to it

	in       io.WriteCloser // requests to the serving process
	out      *json.Decoder  // its answers
	t        testing.TB
	watchdog *time.Timer
	unmount  func()
}

// patience is how long the serving process goes on without a request: a test that is stuck in a file of this file system
// can't be ended otherwise.
const patience = 5 * time.Minute

// how is the way in which a step fails.
type how int

const (
	once    how = iota
	forGood     // and all that follow
	half        // a write does its first half and says so; then the next step fails, if there is an errno
)

// request tells the serving process what to do. There is one answer to each.
type request struct {
	Step  int           // the step from now on that fails, 1 the next; 0 is none
	Errno syscall.Errno // as which error; 0 is none
	How   how
	Room  *int64  // when set, how many bytes can be written from now on; less than 0: no limit
	Cut   *uint64 // when set, cut the power; the number chooses what survives

	Record bool // anew, from now on
}

type answer struct {
	Error string
	Steps []string // since the last request
}

// Mount mounts a new folder. The test is skipped where that is impossible. When the test ends, it is unmounted; whoever has
// files open in it closes them before.
func Mount(t testing.TB) *FS {
	t.Helper()
	needs.Root(t)
	if _, err := os.Stat("/dev/fuse"); err != nil {
		needs.Skip(t, "a file system with faults needs FUSE: "+err.Error())
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
	// In memory if there is such a place: what is tested is not the machine's disk.
	folder, err := os.MkdirTemp("/dev/shm", "faultfs")
	if err != nil {
		folder = filepath.Join(dir, "folder")
		err = os.Mkdir(folder, 0o700)
	}
	f := &FS{Path: filepath.Join(dir, "mounted"), Folder: folder, t: t}
	if err := errors.Join(err, os.Mkdir(f.Path, 0o700)); err != nil {
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
	f.watchdog = time.AfterFunc(patience, func() { cmd.Process.Kill() })
	f.unmount = sync.OnceFunc(func() {
		in.Close()
		stuck := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		stuck.Stop()
		if !f.watchdog.Stop() || err != nil && !t.Skipped() {
			t.Errorf("the file system's process: %v: %s", err, stderr)
		}
		syscall.Unmount(f.Path, syscall.MNT_DETACH) // fails when it is unmounted already, as it should be
	})
	t.Cleanup(func() {
		f.unmount()
		os.RemoveAll(folder)
		os.RemoveAll(dir)
	})
	var ready answer
	if err := f.out.Decode(&ready); err != nil {
		t.Fatalf("mount: %v: %s", err, stderr)
	}
	if ready.Error != "" {
		needs.Skip(t, "a file system with faults can't be mounted here: "+ready.Error)
	}
	return f
}

// Unmount ends the file system before the test does. Folder and the record stay until then.
func (f *FS) Unmount() { f.unmount() }

// Fail has the step-th write, growth or flush from now on fail, once; 1 is the next. Each call of Fail, Break, Halve, Room or
// Steps ends what an earlier one of the first three asked for.
func (f *FS) Fail(step int, errno syscall.Errno) { f.ask(request{Step: step, Errno: errno}) }

// Break has the step-th and all later ones fail, and all else that would change anything.
func (f *FS) Break(step int, errno syscall.Errno) {
	f.ask(request{Step: step, Errno: errno, How: forGood})
}

// Halve has the step-th, if it is a write, do its first half and say so; the step after that fails, unless errno is 0.
func (f *FS) Halve(step int, errno syscall.Errno) {
	f.ask(request{Step: step, Errno: errno, How: half})
}

// Record begins a new record of what is done to files that are made from now on.
func (f *FS) Record() { f.ask(request{Record: true}) }

// Recorded returns the path of the record as it is now, for Events. It stays until the test ends.
func (f *FS) Recorded() string {
	f.ask(request{})
	return recordPath(f.Path)
}

// Room sets how many bytes can be written from now on; less than 0 lifts the limit. To lengthen a file counts too.
func (f *FS) Room(bytes int64) { f.ask(request{Room: &bytes}) }

// Steps returns the steps since it, Fail or Room was last called: "write", "grow" or "flush", with an exclamation mark if
// it failed.
func (f *FS) Steps() []string { return f.ask(request{}).Steps }

func (f *FS) ask(r request) answer {
	f.t.Helper()
	f.watchdog.Reset(patience)
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
