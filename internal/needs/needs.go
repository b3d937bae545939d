// Package needs is for tests that use what a machine may not have: named, Chromium, Pebble, the right to mount a disk. Without one the test
// is skipped, aloud, and where REQUIRE_ALL is set, as in .ci/run, it fails.
package needs

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Skip ends a test that can't be run here.
func Skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("REQUIRE_ALL") != "" {
		t.Fatalf("%s, and REQUIRE_ALL demands this test", why)
	}
	t.Skip(why)
}

// Program finds a program.
func Program(t testing.TB, name string) (path string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		// Where Debian keeps servers, which a user's PATH may lack.
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			Skip(t, "there is no "+name+" on this machine")
		}
	}
	return path
}

// Root is for what only root may do.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "only root may do this")
	}
}

// Tool returns the file of a program of the module tools, by its package. It is built when that was not done yet; the Go cache keeps it.
// Tests of several packages may want it at once, and a program that one is writing can't be run by another: so they take turns.
func Tool(t testing.TB, pkg string) (file string) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(here), "..", "..", "tools")
	turn, err := os.Open(here) // any file but go.mod, which the go command locks itself
	if err != nil {
		t.Fatal(err)
	}
	defer turn.Close()
	if err := lock(turn); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "-C", dir, "tool", "-n", pkg)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		Skip(t, path.Base(pkg)+" can't be built here: "+err.Error())
	}
	return strings.TrimSpace(string(out))
}
