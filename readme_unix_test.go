//go:build unix

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// buildCroft builds the binary.
func buildCroft(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "croft")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// server is a Croft in a process of its own.
type server struct {
	base  string // http://127.0.0.1:port
	setup string // the set-up token, "" when it is used
	cmd   *exec.Cmd
	log   bytes.Buffer
}

// serve starts the binary on a data file and waits until it has printed its address.
func serve(t *testing.T, binary, data string) *server {
	t.Helper()
	s := &server{cmd: exec.Command(binary, "serve", "--data", data, "--listen", "127.0.0.1:0")}
	s.cmd.Dir = filepath.Dir(data)
	s.cmd.Stderr = &s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop(t, syscall.SIGKILL)
		if t.Failed() {
			t.Logf("the server's log:\n%s", &s.log)
		}
	})
	watchdog := time.AfterFunc(time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer watchdog.Stop()
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	token := regexp.MustCompile(`croft_setup_[A-Za-z0-9_-]+`)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if s.base == "" {
			s.base = address.FindString(lines.Text())
		}
		if m := token.FindString(lines.Text()); m != "" {
			s.setup = m
		}
		if strings.Contains(lines.Text(), ready) {
			go io.Copy(io.Discard, out)
			return s
		}
	}
	t.Fatal("croft serve ended before it was ready")
	return nil
}

// ready is in the last line that serve prints when it has started.
const ready = "Stop it with Ctrl-C"

func (s *server) stop(t *testing.T, signal syscall.Signal) {
	if s.cmd.ProcessState != nil {
		return
	}
	_ = s.cmd.Process.Signal(signal)
	err := s.cmd.Wait()
	if signal != syscall.SIGKILL && err != nil {
		t.Errorf("croft serve did not stop well: %v", err)
	}
}

// TestTour pastes the README's tour into a shell.
func TestTour(t *testing.T) {
	if help, err := exec.Command("curl", "--help", "all").Output(); err != nil || !strings.Contains(string(help), "--json") {
		t.Skip("the tour needs curl 7.82 or newer, which is not there")
	}
	binary := buildCroft(t)
	data := filepath.Join(t.TempDir(), "croft.db")
	s := serve(t, binary, data)

	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(read(t, "README.md"))
	if block == nil {
		t.Fatal("the README has no tour")
	}
	script := strings.Replace(block[1], "http://localhost:8080", s.base, 1)
	script = strings.Replace(script, "croft_setup_paste_yours_here", s.setup, 1)
	if strings.Contains(script, "paste_yours") || !strings.Contains(script, s.base) {
		t.Fatal("the tour does not begin as this test expects")
	}
	shell := exec.Command("sh")
	shell.Env = noProxy()
	shell.Stdin = strings.NewReader(script + "\necho session $admin\n")
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	answers := string(out)
	for _, want := range []string{
		`"title":"Buy milk"`, `"title":"Write a letter"`, `"done":true`, `"title":"Buy oat milk"`,
		`"pointer":"/titel"`, `"items":[]`, `"items":[{"id":`,
	} {
		if !strings.Contains(answers, want) {
			t.Errorf("no answer has %s", want)
		}
	}
	if n := strings.Count(answers, `"code":`); n != strings.Count(answers, `"pointer":`)+1 {
		t.Errorf("there should be one problem document in the answers, the one that is meant")
	}
	if t.Failed() {
		t.Logf("the answers:\n%s", answers)
	}
	s.stop(t, syscall.SIGKILL)

	session := regexp.MustCompile(`session (croft_s_\S+)`).FindStringSubmatch(answers)
	if session == nil {
		t.Fatal("no session")
	}

	// All of it is there after a kill, also in a copy elsewhere, and who was signed in still is.
	copied := filepath.Join(t.TempDir(), "copy.db")
	b, err := os.ReadFile(data)
	if err == nil {
		err = os.WriteFile(copied, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{data, copied} {
		s := serve(t, binary, file)
		if s.setup != "" {
			t.Error("the set-up link is printed again though it is used")
		}
		list := exec.Command("curl", "-s", s.base+"/api/v1/records/notes", "-H", "Authorization: Bearer "+session[1])
		list.Env = noProxy()
		out, err := list.CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"title":"Write a letter"`) {
			t.Errorf("after the restart: %v %s", err, out)
		}
		s.stop(t, syscall.SIGTERM)
	}
}

// noProxy is the environment, but that a proxy is not asked for this machine.
func noProxy() []string {
	return append(os.Environ(), "no_proxy=127.0.0.1", "NO_PROXY=127.0.0.1")
}

// TestReadmeCommands holds the README to its two commands.
func TestReadmeCommands(t *testing.T) {
	text := read(t, "README.md")
	for _, command := range []string{"go run . serve", "go test ./..."} {
		if !strings.Contains(text, "    "+command) {
			t.Errorf("the README has no %q", command)
		}
	}
}
