package store_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The tests run this binary again as other processes: roles tells what for.
const roleVariable = "CROFT_STORE_TEST_ROLE"

var roles = map[string]func(args []string) error{}

func init() {
	roles["fill"] = roleFill
	roles["compact"] = roleCompact
	roles["hold"] = roleHold
	roles["flip"] = roleFlip
}

// serveFaults makes this process the server of a file system with faults, if it was started as one; where there is such.
var serveFaults = func() {}

func TestMain(m *testing.M) {
	serveFaults()
	if role := os.Getenv(roleVariable); role != "" {
		if err := roles[role](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child returns this binary as another process, not started yet. It is killed when the test ends.
func child(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	// The race detector would wait for a second at the end of each.
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = &strings.Builder{}
	t.Cleanup(func() {
		if cmd.Process != nil && cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd
}
