package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"croft/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"croft": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
	}})
}

// TestScripts runs testdata/script. Besides testscript's own commands there are
//
//	serve NAME ARG…      start "croft serve ARG…" and wait until it answers; sets $URL and $ADDRESS, and $SETUP if
//	                     a setup link was printed
//	halt NAME [kill]     end it, by SIGTERM (it must exit with 0) or SIGKILL; its output is then in NAME.log
//	http STATUS METHOD URL [FILE [TOKENFILE]]
//	                     make a request with the file as JSON body, - for none
//	exits CODE ARG…      run croft and compare the exit code
//	tokenid NAME         set $ID to the id of the API token of this name
func TestScripts(t *testing.T) { runScripts(t, "testdata/script", true) }

// TestTour runs testdata/tour twice: the commands must do and say the same over the socket of a running
// server (the condition [running]) as on a file that nobody has open ([file]).
func TestTour(t *testing.T) {
	t.Run("running", func(t *testing.T) { runScripts(t, "testdata/tour", true) })
	t.Run("file", func(t *testing.T) { runScripts(t, "testdata/tour", false) })
}

func runScripts(t *testing.T, dir string, running bool) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			s := &servers{running: map[string]*server{}}
			env.Values[serversKey{}] = s
			env.Defer(s.kill)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else every process lingers for a second under -race
			return nil
		},
		Condition: func(name string) (bool, error) {
			path, isPath := strings.CutPrefix(name, "exists:")
			switch {
			case name == "running":
				return running, nil
			case name == "file":
				return !running, nil
			case name == "root":
				return os.Geteuid() == 0, nil
			case isPath:
				_, err := os.Stat(path)
				return err == nil, nil
			}
			return false, fmt.Errorf("no condition %s", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serve, "halt": halt, "http": request, "exits": exits, "tokenid": tokenID,
		},
	})
}

type serversKey struct{}

type servers struct {
	running map[string]*server
}

func (s *servers) kill() {
	for _, srv := range s.running {
		_ = srv.cmd.Process.Kill() // it may have ended
		<-srv.read
		_ = srv.cmd.Wait() // killed
	}
}

// A server is a croft serve in the background.
type server struct {
	cmd  *exec.Cmd
	read chan struct{} // closed when all output is read

	mu  sync.Mutex
	log bytes.Buffer
}

var (
	readyLine  = regexp.MustCompile(`^Stop it with|^\{"address"`)
	address    = regexp.MustCompile(`http://([^\s"/]+)`)
	setupToken = regexp.MustCompile(`croft_setup_[A-Za-z0-9_-]+`)
)

func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: serve NAME ARG…")
	}
	s := ts.Value(serversKey{}).(*servers)
	croft, err := exec.LookPath("croft")
	ts.Check(err)
	out, in, err := os.Pipe()
	ts.Check(err)
	cmd := exec.Command(croft, append([]string{"serve"}, args[1:]...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), in, in
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GORACE", "CROFT_PORT", "SystemRoot", "TESTSCRIPT_COVER_DIR", "GOCOVERDIR"} {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	ts.Check(cmd.Start())
	in.Close()
	srv := &server{cmd: cmd, read: make(chan struct{})}
	s.running[args[0]] = srv

	started := make(chan string, 1)
	go func() {
		defer close(srv.read)
		defer close(started)
		lines := bufio.NewReader(out)
		told := false
		for {
			line, err := lines.ReadString('\n')
			srv.mu.Lock()
			srv.log.WriteString(line)
			text := srv.log.String()
			srv.mu.Unlock()
			if !told && readyLine.MatchString(line) {
				told = true
				started <- text
			}
			if err != nil {
				return
			}
		}
	}()
	text, ok := <-started
	if !ok {
		ts.Fatalf("croft serve ended:\n%s", srv.log.String())
	}
	found := address.FindStringSubmatch(text)
	if found == nil {
		ts.Fatalf("croft serve printed no address:\n%s", text)
	}
	ts.Setenv("URL", found[0])
	ts.Setenv("ADDRESS", found[1])
	ts.Setenv("SETUP", setupToken.FindString(text))
}

func halt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: halt NAME [kill]")
	}
	s := ts.Value(serversKey{}).(*servers)
	srv := s.running[args[0]]
	if srv == nil {
		ts.Fatalf("no server %s", args[0])
	}
	delete(s.running, args[0])
	killed := len(args) > 1 && args[1] == "kill"
	if killed {
		ts.Check(srv.cmd.Process.Kill())
	} else {
		ts.Check(srv.cmd.Process.Signal(syscall.SIGTERM))
	}
	<-srv.read
	err := srv.cmd.Wait()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".log"), srv.log.Bytes(), 0o600))
	if err != nil && !killed {
		ts.Fatalf("croft serve: %v\n%s", err, srv.log.String())
	}
}

func request(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 5 {
		ts.Fatalf("usage: http STATUS METHOD URL [FILE [TOKENFILE]]")
	}
	var body io.Reader
	if len(args) > 3 && args[3] != "-" {
		body = strings.NewReader(os.Expand(ts.ReadFile(args[3]), ts.Getenv))
	}
	req, err := http.NewRequest(args[1], args[2], body)
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	if len(args) > 4 {
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(ts.ReadFile(args[4])))
	}
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if got := strconv.Itoa(resp.StatusCode); got != args[0] {
		ts.Fatalf("%s %s: %s, want %s\n%s", args[1], args[2], got, args[0], answer)
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("croft", args[1:]...)
	got := 0
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func tokenID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tokenid NAME")
	}
	ts.Check(ts.Exec("croft", "token", "list", "--json"))
	var list struct {
		Items []struct{ ID, Name string }
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &list))
	for _, t := range list.Items {
		if t.Name == args[0] {
			ts.Setenv("ID", t.ID)
			return
		}
	}
	ts.Fatalf("no token %s", args[0])
}
