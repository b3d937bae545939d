package proof

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that should take a moment: a machine can be slow, and a hang must end.
const patience = 2 * time.Minute

// A server is a croft serve in a process of its own.
type server struct {
	data  string
	url   string
	setup string // the set-up token, "" when it was used
	log   tail

	cmd   *exec.Cmd
	first chan []byte   // gets the line that says where it answers; closed when the process ended or said it
	ended chan struct{} // closed when the process has ended
	err   error         // how it ended; valid once ended is closed
	http  http.Client
}

// launch starts a server and doesn't wait until it serves. It is killed when the test ends. wrap is a command that ends in
// running its arguments, if there must be one.
func launch(t *testing.T, binary, data string, wrap ...string) (*server, error) {
	args := append(wrap, binary, "serve", "--data", data, "--listen", "127.0.0.1:0", "--json")
	s := &server{data: data, first: make(chan []byte, 1), ended: make(chan struct{})}
	s.cmd = exec.Command(args[0], args[1:]...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "CROFT_") {
			s.cmd.Env = append(s.cmd.Env, variable)
		}
	}
	s.cmd.Stderr = &s.log
	s.cmd.WaitDelay = 10 * time.Second // a child of the server's may outlive it and hold its output
	s.http.Transport = &http.Transport{MaxIdleConnsPerHost: 64}
	s.http.Timeout = patience
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(s.ended)
		lines := bufio.NewReader(out)
		if line, err := lines.ReadBytes('\n'); err == nil {
			s.first <- line
		}
		close(s.first)
		_, _ = io.Copy(io.Discard, lines) // it ends with the process
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(s.kill)
	return s, nil
}

var setupToken = regexp.MustCompile(`croft_setup_[A-Za-z0-9_-]+`)

// ready waits until the server serves. It is an error if it ends instead.
func (s *server) ready() error {
	select {
	case line, ok := <-s.first:
		if !ok {
			<-s.ended
			return fmt.Errorf("croft serve ended before it served: %w\n%s", s.err, s.log.String())
		}
		var at struct{ URL, Setup string }
		if err := json.Unmarshal(line, &at); err != nil {
			return fmt.Errorf("croft serve said %q: %w", line, err)
		}
		s.url, s.setup = at.URL, setupToken.FindString(at.Setup)
		return nil
	case <-time.After(patience):
		s.kill()
		return fmt.Errorf("croft serve was not ready after %s\n%s", patience, s.log.String())
	}
}

// start starts a server and waits until it serves.
func start(t *testing.T, binary, data string, wrap ...string) *server {
	t.Helper()
	s, err := launch(t, binary, data, wrap...)
	if err == nil {
		err = s.ready()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kill ends the process as a power cut ends it, and waits for it.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // its error is that it ended before
	<-s.ended
	s.http.CloseIdleConnections()
}

// stop ends the process in order.
func (s *server) stop() error {
	s.http.CloseIdleConnections()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the server: %w\n%s", err, s.log.String())
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.kill()
		return fmt.Errorf("the server did not stop in %s\n%s", patience, s.log.String())
	}
	if s.err != nil {
		return fmt.Errorf("the server ended with %w\n%s", s.err, s.log.String())
	}
	return nil
}

// An answer is what a request got.
type answer struct {
	status int
	body   []byte
}

// wants is an error unless the status is this one.
func (a answer) wants(status int) error {
	if a.status != status {
		return fmt.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
	return nil
}

// code is that of a problem document.
func (a answer) code() string {
	var problem struct{ Code string }
	if json.Unmarshal(a.body, &problem) != nil {
		return "no problem document"
	}
	return problem.Code
}

// errNoAnswer says that a request got no whole answer: what it asked for may be done or not.
var errNoAnswer = errors.New("no answer")

// do makes a request under /api/v1. Its error is errNoAnswer, unless the request can't be made at all.
func (s *server) do(method, path, token string, body any) (answer, error) {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequest(method, s.url+"/api/v1"+path, sent)
	if err != nil {
		return answer{}, err
	}
	r.GetBody = nil // the transport is not to send anything twice
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	got, err := s.http.Do(r)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return answer{got.StatusCode, text}, nil
}

// get reads an answer that must be 200 into v.
func (s *server) get(path, token string, v any) error {
	a, err := s.do("GET", path, token, nil)
	if err == nil {
		err = a.wants(http.StatusOK)
	}
	if err == nil {
		err = json.Unmarshal(a.body, v)
	}
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// The admin of every file.
const (
	adminEmail    = "admin@example.com"
	adminPassword = "lantern-meadow-417"
)

// definition is that of the collection which all tests write to.
const definition = `{
	"schema": {"type": "object", "required": ["n", "group", "name", "text"], "additionalProperties": false, "properties": {
		"n": {"type": "integer"}, "group": {"type": "integer"}, "name": {"type": "string"}, "text": {"type": "string"}}},
	"indexes": [{"name": "by_group", "fields": ["group", "-n"]}, {"name": "by_name", "fields": ["name"], "unique": true}],
	"access": {"read": "has(auth.id)", "create": "has(auth.id)", "update": "has(auth.id)", "delete": "has(auth.id)"}
}`

// prepare makes the admin and the collection, and returns the token of the admin's session.
func (s *server) prepare(t *testing.T) string {
	t.Helper()
	a, err := s.do("POST", "/setup", "", map[string]string{"token": s.setup, "email": adminEmail, "password": adminPassword})
	var session struct{ Token string }
	if err = errors.Join(err, a.wants(http.StatusOK)); err == nil {
		err = json.Unmarshal(a.body, &session)
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err = s.do("PUT", "/collections/notes", session.Token, json.RawMessage(definition))
	if err = errors.Join(err, a.wants(http.StatusCreated)); err != nil {
		t.Fatal(err)
	}
	return session.Token
}

// A tail keeps the last of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 8 << 10

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if over := len(l.b) - tailBytes; over > 0 {
		l.b = append(l.b[:0], l.b[over:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}
