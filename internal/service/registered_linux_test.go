package service

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"croft/internal/needs"
)

// SysV's script starts the server as its user, with the right to low ports and no other, and ends it.
func TestSysvScript(t *testing.T) {
	needs.Root(t)
	needs.Program(t, "start-stop-daemon")
	needs.Program(t, "setpriv")
	d := layoutFor(t, "daemon")
	pid := filepath.Join(t.TempDir(), "pid")
	script := filepath.Join(t.TempDir(), "croft")
	text := strings.Replace(sysvScript(d), "pid=/var/run/croft.pid", "pid="+shellWord(pid), 1)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(arg string) (string, error) {
		cmd := exec.Command(script, arg)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := run("start"); err != nil {
		t.Fatalf("start: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := run("stop"); err != nil {
			t.Errorf("stop: %v: %s", err, out)
		}
	})
	socket := filepath.Join(d.Folder, "croft.db.sock")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close() // it has shown what it was for
			break
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(logFile(d.Layout))
			t.Fatalf("it does not serve: %v\n%s", err, log)
		}
	}
	if out, err := run("status"); err != nil || out != "Running" {
		t.Errorf("status: %v: %s", err, out)
	}
	number, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%s/status", strings.TrimSpace(string(number))))
	if err != nil {
		t.Fatal(err)
	}
	uid, _, err := ids("daemon")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{fmt.Sprintf("Uid:\t%d\t%[1]d\t%[1]d\t%[1]d", uid), "CapEff:\t0000000000000400", "CapBnd:\t0000000000000400", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(status), line+"\n") {
			t.Errorf("no %q in the process's status:\n%s", line, status)
		}
	}
	if out, err := run("stop"); err != nil {
		t.Errorf("stop: %v: %s", err, out)
	}
	if out, err := run("status"); err == nil || out != "Stopped" {
		t.Errorf("status after stop: %v: %s", err, out)
	}
}

// layoutFor makes the places of an installed server for a user.
func layoutFor(t *testing.T, user string) Definition {
	t.Helper()
	// Where users may enter, and sockets have short names, whatever TMPDIR is.
	root, err := os.MkdirTemp("/tmp", "croft-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	d := Definition{User: user, Layout: Layout{
		Binary: filepath.Join(root, "croft"), Config: filepath.Join(root, "it's.toml"), Folder: filepath.Join(root, "data"),
	}}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	uid, gid, err := ids(user)
	if err != nil {
		t.Fatal(err)
	}
	settings := fmt.Sprintf("data = %q\nlisten = \"127.0.0.1:0\"\nmdns.enabled = false\n", d.Data())
	for _, err := range []error{
		os.Chmod(root, 0o755),
		os.WriteFile(d.Binary, text, 0o755),
		os.WriteFile(d.Config, []byte(settings), 0o644),
		os.Mkdir(d.Folder, 0o700),
		os.Chown(d.Folder, uid, gid),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// The scripts are ones for their shells, and known as ours again.
func TestScripts(t *testing.T) {
	d := Definition{User: "croft", Layout: System()}
	for _, script := range []string{openRCScript(d), sysvScript(d)} {
		cmd := exec.Command("/bin/sh", "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("sh -n: %v: %s\n%s", err, out, script)
		}
	}
	for _, text := range []string{openRCScript(d), sysvScript(d), launchdPlist(d), Unit(d)} {
		if !strings.Contains(text, marker) {
			t.Errorf("no mark in\n%s", text)
		}
	}
}

// Whose a unit is stands in it.
func TestSystemdOwner(t *testing.T) {
	dir := t.TempDir()
	s := &systemd{unit: filepath.Join(dir, "etc.service"), packaged: []string{filepath.Join(dir, "usr.service")}}
	want := func(owner Owner, place string) {
		t.Helper()
		got, err := s.Installed()
		if err != nil || got != owner || s.Place() != place {
			t.Errorf("owner %v, %v, of %s; want %v of %s", got, err, s.Place(), owner, place)
		}
	}
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want(Nobody, s.unit)
	put(s.packaged[0], PackageUnit("/usr/bin/croft"))
	want(Package, s.packaged[0])
	put(s.packaged[0], "[Service]\n")
	want(Foreign, s.packaged[0])
	put(s.unit, Unit(Definition{}))
	want(Ours, s.unit)
	put(s.unit, "[Service]\n")
	want(Foreign, s.unit)
}

// A folder of the service's own is no way to somebody else's files.
func TestOwn(t *testing.T) {
	needs.Root(t)
	s := New(Options{User: "daemon"})
	dir := t.TempDir()
	file, link, other := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "other")
	for _, err := range []error{os.WriteFile(file, nil, 0o600), os.Symlink(file, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.own(link); err == nil {
		t.Error("a link was followed")
	}
	if err := os.Link(file, other); err != nil {
		t.Fatal(err)
	}
	if err := s.own(file); err == nil {
		t.Error("a file with two names was given away")
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if err := s.own(file); err != nil {
		t.Error(err)
	}
	if !s.owns(file) {
		t.Error("the file was not given away")
	}
}

// A data file that systemd hides from the service is refused before anything is done.
func TestHiddenPlaces(t *testing.T) {
	for path, refused := range map[string]bool{
		"/home/ada/croft.db": true, "/root/croft.db": true, "/tmp/croft.db": true, "croft.db": true,
		"/no such folder/either/croft.db": true, "/var/lib/croft/croft.db": false, "/croft.db": false,
	} {
		err := New(Options{Layout: System(), Supervisor: newSystemd(), DataFile: path}).checkPlaces()
		if (err != nil) != refused {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A last log is short.
func TestLastLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("one\ntwo\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := lastLines(path, 2); err != nil || got != "two\nthree\n" {
		t.Errorf("%q, %v", got, err)
	}
	r := newRegistered("unix-systemv")
	if err := r.Logs(context.Background(), nil, 1, true); err == nil {
		t.Error("a log that can't be followed was followed")
	}
}
