package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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

// A log that is too large is put aside, whole, and what is written from then on is in a new one.
func TestTurnLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "croft.log")
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	own := os.Stdout
	os.Stdout = f
	t.Cleanup(func() { os.Stdout = own })
	for _, line := range []string{"one\n", "two\n", "three\n"} {
		if _, err := f.WriteString(line); err != nil {
			t.Fatal(err)
		}
		if err := turnLog(log, 6); err != nil { // two is over it
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{log + ".old": "one\ntwo\n", log: "three\n"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", filepath.Base(path), got, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(log)); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	os.Stdout = own
	if err := turnLog(log, 1); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(log); err != nil || string(got) != "three\n" {
		t.Errorf("a log of others was put aside: %q, %v", got, err)
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
	// The folder is the service's user's, who could put anything there for root to read.
	link, fifo := path+".link", path+".fifo"
	if err := errors.Join(os.Symlink("/etc/passwd", link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{link, fifo} {
		if got, err := lastLines(other, 2); err == nil {
			t.Errorf("%s was read: %q", other, got)
		}
	}
	if err := os.Link(path, path+".again"); err != nil {
		t.Fatal(err)
	}
	if got, err := lastLines(path, 2); err == nil {
		t.Errorf("a file with two names was read: %q", got)
	}
	r := newRegistered("unix-systemv")
	if err := r.Logs(context.Background(), nil, 1, true); err == nil {
		t.Error("a log that can't be followed was followed")
	}
}
