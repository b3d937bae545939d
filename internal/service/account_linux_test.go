package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"croft/internal/needs"
)

// listing is who owns what in a folder, and who may read it.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			is := info.Sys().(*syscall.Stat_t)
			fmt.Fprintf(&b, "%v %d:%d %s\n", info.Mode(), is.Uid, is.Gid, strings.TrimPrefix(path, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A folder of the service's own is no way to somebody else's files.
func TestOwn(t *testing.T) {
	needs.Root(t)
	s := New(Options{User: "daemon"})
	dir := t.TempDir()
	file, link, other := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "other")
	if err := errors.Join(os.WriteFile(file, nil, 0o644), os.Symlink(file, link), os.Link(file, other)); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	var did steps
	if err := s.own(link, &did); err == nil {
		t.Error("a link was followed")
	}
	if err := s.own(file, &did); err == nil {
		t.Error("a file with two names was given away")
	}
	if d := cmp.Diff(before, listing(t, dir)); d != "" {
		t.Error(d)
	}
}

// All that is to be the service's is so, and only its own to read; when the install fails it is as it was.
func TestPrepareFolders(t *testing.T) {
	needs.Root(t)
	root := t.TempDir()
	folder, disk := filepath.Join(root, "var"), filepath.Join(root, "disk")
	outside := filepath.Join(root, "outside")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(folder, "backups/old"), 0o755), os.Mkdir(disk, 0o755),
		os.WriteFile(outside, nil, 0o644),
		os.WriteFile(filepath.Join(folder, "backups/old/a.db"), nil, 0o644),
		os.Symlink(outside, filepath.Join(folder, "backups/link")),
		os.Link(outside, filepath.Join(folder, "backups/outside")),
		os.WriteFile(filepath.Join(disk, "croft.db"), nil, 0o644),
		os.Chown(filepath.Join(disk, "croft.db"), 4711, 4712), // it is somebody else's
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s := New(Options{User: "daemon", Layout: Layout{Folder: folder}, DataFile: filepath.Join(disk, "croft.db")})
	before := listing(t, root)
	var did steps
	if err := s.prepareFolders(&did); err != nil {
		t.Fatal(err)
	}
	uid, gid, err := ids("daemon")
	if err != nil {
		t.Fatal(err)
	}
	after := listing(t, root)
	for _, line := range []string{
		"drwx------ %d:%d /var", "drwx------ %d:%d /var/backups", "drwx------ %d:%d /var/backups/old", "-rw------- %d:%d /var/backups/old/a.db",
		"drwx------ %d:%d /disk", "-rw------- %d:%d /disk/croft.db",
	} {
		if line := fmt.Sprintf(line, uid, gid); !strings.Contains(after, line+"\n") {
			t.Errorf("no %q in\n%s", line, after)
		}
	}
	if !strings.Contains(after, "-rw-r--r-- 0:0 /outside\n") {
		t.Errorf("a file outside was given away:\n%s", after)
	}
	var again steps
	if err := s.prepareFolders(&again); err != nil || len(again.undo) > 0 {
		t.Errorf("a second time something was changed: %v", err)
	}
	if err := did.back(); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(before, listing(t, root)); d != "" {
		t.Error(d)
	}

	// A first start that fails leaves its data file.
	if err := os.Remove(s.DataFile); err != nil {
		t.Fatal(err)
	}
	before = listing(t, root)
	if err := s.prepareFolders(&did); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.DataFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := did.back(); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(before, listing(t, root)); d != "" {
		t.Error(d)
	}
}

// A disk is nobody's own folder.
func TestMountPoint(t *testing.T) {
	needs.Root(t)
	dir := t.TempDir()
	if mountPoint(dir) {
		t.Error("a folder is taken for a mount point")
	}
	if err := syscall.Mount("croft-test", dir, "tmpfs", 0, "size=1m"); err != nil {
		needs.Skip(t, "a tmpfs can't be mounted: "+err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }) // nothing else can be done about it
	s := New(Options{User: "daemon", Supervisor: newRegistered("unix-systemv"), DataFile: filepath.Join(dir, "croft.db")})
	if err := s.checkPlaces(); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "croft/croft.db")) {
		t.Errorf("a disk was taken: %v", err)
	}
}

// One install at a time.
func TestLock(t *testing.T) {
	l := Layout{Lock: filepath.Join(t.TempDir(), "lock")}
	unlock, err := Lock(l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(l); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	if unlock, err = Lock(l); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

// A plain su leaves root without the folders where useradd is.
func TestPathOfRoot(t *testing.T) {
	t.Setenv("PATH", "/nowhere")
	_, _ = Here() // what runs this machine is not the question
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if info, err := os.Stat(filepath.Join(dir, "start-stop-daemon")); err == nil && info.Mode().IsRegular() {
			if _, err := exec.LookPath("start-stop-daemon"); err != nil {
				t.Error(err)
			}
		}
	}
}
