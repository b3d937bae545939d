package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"croft/internal/app"
	"croft/internal/service"
)

// processes is a supervisor that starts and ends real processes, and keeps its definition in a file.
type processes struct {
	unit string

	failAt   int // the call that fails, 0 for none
	calls    int
	starting bool // a server that runs is said to be starting

	cmd   *exec.Cmd
	ended chan struct{}
	log   syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var errInjected = errors.New("the supervisor fails as the test wants it")

func (p *processes) call() error {
	p.calls++
	if p.calls == p.failAt {
		return errInjected
	}
	return nil
}

func (p *processes) String() string { return "a test" }
func (p *processes) Place() string  { return p.unit }

func (p *processes) Installed() (service.Owner, error) {
	if err := p.call(); err != nil {
		return service.Nobody, err
	}
	text, err := os.ReadFile(p.unit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return service.Nobody, nil
	case bytes.HasPrefix(text, []byte("foreign")):
		return service.Foreign, nil
	case bytes.HasPrefix(text, []byte("package")):
		return service.Package, nil
	}
	return service.Ours, err
}

func (p *processes) Define(d service.Definition) (func() error, error) {
	text := service.Unit(d)
	before, err := os.ReadFile(p.unit)
	if string(before) == text {
		return nil, p.call()
	}
	undo := func() error { return os.WriteFile(p.unit, before, 0o644) }
	if err != nil {
		undo = p.Remove
	}
	if err := os.WriteFile(p.unit, []byte(text), 0o644); err != nil {
		return undo, err
	}
	return undo, p.call()
}

func (p *processes) Remove() error { return os.Remove(p.unit) }

func (p *processes) Start(context.Context) error {
	if err := p.call(); err != nil {
		return err
	}
	if p.running() {
		return nil
	}
	text, err := os.ReadFile(p.unit)
	if err != nil {
		return err
	}
	_, line, _ := strings.Cut(string(text), "\nExecStart=")
	line, _, _ = strings.Cut(line, "\n")
	args := strings.Fields(line)
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.WaitDelay = time.Minute
	if err := p.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	p.ended = ended
	go func(cmd *exec.Cmd) {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
	}(p.cmd)
	return nil
}

func (p *processes) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *processes) Stop(context.Context) error {
	if err := p.call(); err != nil {
		return err
	}
	p.starting = false
	if p.running() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-p.ended
	}
	return nil
}

func (p *processes) State(context.Context) (service.State, error) {
	if err := p.call(); err != nil {
		return service.State{}, err
	}
	if p.running() && p.starting {
		return service.State{Starting: true, Word: "activating"}, nil
	}
	if p.running() {
		return service.State{Running: true, PID: p.cmd.Process.Pid, Word: "running"}, nil
	}
	return service.State{Word: "stopped"}, nil
}

func (p *processes) Logs(_ context.Context, w io.Writer, _ int, _ bool) error {
	_, err := io.WriteString(w, p.log.String())
	return err
}

// A machine is a file system of its own with a supervisor.
type machine struct {
	t    *testing.T
	root string
	service.Options
	sup  *processes
	said syncBuffer
}

func newMachine(t *testing.T) *machine { return newMachineAt(t, t.TempDir()) }

func newMachineAt(t *testing.T, root string) *machine {
	t.Helper()
	m := &machine{t: t, root: root}
	for _, dir := range []string{"etc", "var", "units"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.sup = &processes{unit: filepath.Join(root, "units/croft.service")}
	l := service.Layout{
		Binary:      filepath.Join(root, "bin/croft"),
		Previous:    filepath.Join(root, "bin/croft.old"),
		Config:      filepath.Join(root, "etc/croft/croft.toml"),
		Environment: filepath.Join(root, "etc/croft/environment"),
		Folder:      filepath.Join(root, "var/croft"),
	}
	m.Options = service.Options{
		Layout: l, Supervisor: m.sup, DataFile: l.Data(),
		Settings: fmt.Sprintf("data = %q\nlisten = \"127.0.0.1:0\"\nmdns.enabled = false\nlimits.disk_reserve = 0\n", l.Data()),
		Answers:  m.answers, Patience: 2 * time.Minute,
		Say: func(format string, args ...any) { fmt.Fprintf(&m.said, format+"\n", args...) },
	}
	t.Cleanup(func() {
		m.sup.failAt = 0
		_ = m.sup.Stop(context.Background()) // it never fails
		if t.Failed() {
			t.Logf("said:\n%s\nlog:\n%s", m.said.String(), m.sup.log.String())
		}
	})
	return m
}

// get makes a request as the local operator.
func (m *machine) get(ctx context.Context, path string) ([]byte, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return app.DialLocal(ctx, m.DataFile)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, err
}

func (m *machine) answers(ctx context.Context) error {
	_, err := m.get(ctx, "/healthz")
	return err
}

// data is something that is in the data file: the token that makes the first admin.
func (m *machine) data() string {
	m.t.Helper()
	body, err := m.get(m.t.Context(), "/api/v1/setup")
	if err != nil {
		m.t.Fatalf("the server does not answer: %v", err)
	}
	var answer struct {
		Token string `json:"setup_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Token == "" {
		m.t.Fatalf("GET /setup: %s, %v", body, err)
	}
	return answer.Token
}

// install installs a program.
func (m *machine) install(program string) (*service.Done, error) {
	m.Program = program
	return service.New(m.Options).Install(m.t.Context())
}

func (m *machine) mustInstall(program, did string) *service.Done {
	m.t.Helper()
	done, err := m.install(program)
	if err != nil {
		m.t.Fatal(err)
	}
	if done.Did != did {
		m.t.Fatalf("install %s did %q, not %q", filepath.Base(program), done.Did, did)
	}
	return done
}

// tree is what is in the machine's file system, but for the data file, whose content changes as it is served.
func (m *machine) tree() string {
	m.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(m.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil || strings.HasSuffix(path, ".sock") || strings.HasSuffix(path, "/full") {
			return err
		}
		name, _ := strings.CutPrefix(path, m.root)
		fmt.Fprint(&b, info.Mode(), " ", name)
		if info.Mode().IsRegular() && path != m.DataFile {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d bytes", len(text))
			if len(text) < 4<<10 {
				fmt.Fprintf(&b, " %q", text)
			}
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return b.String()
}

// programs makes two crofts that differ, and returns their paths.
func programs(t *testing.T) (one, two string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	one, two = filepath.Join(dir, "croft-1"), filepath.Join(dir, "croft-2")
	write(t, one, text)
	write(t, two, append(text, "another"...)) // which loaders don't mind
	return one, two
}

// script makes a program that says it is Croft 9 and serves so.
func script(t *testing.T, serve string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "croft-9")
	write(t, path, []byte("#!/bin/sh\ncase $1 in\nversion) echo 'croft v9.0.0, go, linux' ;;\nserve) "+serve+" ;;\n*) exit 3 ;;\nesac\n"))
	return path
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
}
