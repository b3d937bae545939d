package proof

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

var (
	copiesFlag = flag.Int("copies", 60, "how many copies TestCopies makes")
	killsFlag  = flag.Int("kills", 50, "how many times TestKill kills the server")
	flipsFlag  = flag.Int("flips", 200, "how many places TestFlippedBits damages")
	seedFlag   = flag.Uint64("seed", 0, "the seed of what is left to chance; 0 takes one from the clock")
)

// binaries is where the binaries of this run are built.
var binaries string

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if binaries, err = os.MkdirTemp("", "croft-proof-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(binaries); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// croft is the binary as it is shipped, and unpinned one that keeps no freed pages for copies.
var (
	croft    = sync.OnceValues(func() (string, error) { return build("croft") })
	unpinned = sync.OnceValues(func() (string, error) {
		return build("croft-unpinned", "-ldflags", "-X croft/internal/store.copyWindow=off")
	})
)

func build(name string, args ...string) (string, error) {
	path := filepath.Join(binaries, name)
	args = append([]string{"build", "-buildvcs=false", "-o", path}, args...)
	if out, err := exec.Command("go", append(args, "croft")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

func binary(t *testing.T, built func() (string, error)) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// chance returns a source of chance whose seed is printed.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// fork returns a source of chance for another goroutine.
func fork(r *rand.Rand) *rand.Rand { return rand.New(rand.NewPCG(r.Uint64(), r.Uint64())) }
