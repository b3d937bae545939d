package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A tool copies a file.
type tool struct {
	name string
	copy func(from, to string) error
}

// run runs a command that copies.
func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// tools are those that this machine has.
func tools(t *testing.T) []tool {
	all := []tool{
		{"io.Copy", func(from, to string) error { return copyFile(from, to, nil) }},
		{"read and write", func(from, to string) error { return copyFile(from, to, func() {}) }},
	}
	add := func(name, command string, copy func(from, to string) error) {
		if _, err := exec.LookPath(command); err != nil {
			t.Logf("there is no %s here: no copies by it", command)
			return
		}
		all = append(all, tool{name, copy})
	}
	add("cp", "cp", func(from, to string) error { return run("cp", from, to) })
	add("cat", "sh", func(from, to string) error { return run("sh", "-c", `cat "$0" > "$1"`, from, to) })
	for _, size := range []string{"4096", "1048576"} {
		add("dd bs="+size, "dd", func(from, to string) error { return run("dd", "if="+from, "of="+to, "bs="+size) })
	}
	add("tar", "tar", byTar)
	add("rsync", "rsync", func(from, to string) error { return run("rsync", "-a", from, to) })
	if runtime.GOOS == "linux" {
		add("cp --sparse=always", "cp", func(from, to string) error { return run("cp", "--sparse=always", from, to) })
	}
	return all
}

// byTar puts the file into an archive and takes it out again.
func byTar(from, to string) error {
	archive := to + ".tar"
	err := run("tar", "-C", filepath.Dir(from), "-cf", archive, filepath.Base(from))
	if err != nil && !strings.Contains(err.Error(), "changed as we read it") { // it says so, and goes on
		return err
	}
	dir := to + ".out"
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := run("tar", "-C", dir, "-xf", archive); err != nil {
		return err
	}
	return errors.Join(os.Rename(filepath.Join(dir, filepath.Base(from)), to), os.Remove(dir), os.Remove(archive))
}

// copyFile copies as Go programs do; with a pause after each chunk if there is one.
func copyFile(from, to string, pause func()) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if pause == nil {
		_, err = io.Copy(out, in) // by copy_file_range, where there is such
		return err
	}
	for chunk := make([]byte, 64<<10); ; pause() {
		n, err := in.Read(chunk)
		if _, err := out.Write(chunk[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// throttled copies in about the given time: at an even pace, or with one long rest somewhere. It may open the file twice, as programs do
// that look at what it is first.
func throttled(took time.Duration, twice bool, r *rand.Rand) tool {
	rest := -1.0
	name := fmt.Sprintf("a reader that takes %.1fs", took.Seconds())
	if r.IntN(3) == 0 {
		rest = r.Float64()
		name += fmt.Sprintf(", resting at %.0f%%", 100*rest)
	}
	if twice {
		name += ", opened twice"
	}
	return tool{name, func(from, to string) error {
		at, err := os.Stat(from)
		if err != nil {
			return err
		}
		began := func() {}
		if twice {
			other, err := os.Open(from)
			if err != nil {
				return err
			}
			defer other.Close()
			began = func() { _ = other.Close() }
		}
		chunks := float64(at.Size()/(64<<10) + 1)
		start, done := time.Now(), 0.0
		return copyFile(from, to, func() {
			done++
			began()
			due := took
			switch {
			case rest < 0:
				due = time.Duration(float64(took) * min(done/chunks, 1))
			case done/chunks < rest:
				due = 0
			}
			time.Sleep(time.Until(start.Add(due)))
		})
	}}
}

// A copying is one server under load, whose file is copied.
type copying struct {
	t      *testing.T
	binary string
	server *server
	token  string
	ledger *ledger
	dir    string
	rate   float64

	copies, torn atomic.Int64
	unverified   chan struct{} // holds one for each copy that there is: they take space
	verifying    chan struct{} // holds one for each that is being verified, of all servers
}

func newCopying(t *testing.T, binary string, rate float64, clients int, r *rand.Rand, verifying chan struct{}) (*copying, []*client) {
	t.Helper()
	dir := t.TempDir()
	c := &copying{t: t, binary: binary, ledger: newLedger(), dir: dir, rate: rate, unverified: make(chan struct{}, 6), verifying: verifying}
	c.server = start(t, binary, filepath.Join(dir, "croft.db"))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last of the log of the server with %v writes a second:\n%s", rate, c.server.log.String())
		}
	})
	c.token = c.server.prepare(t)
	// Enough for a tree of some hundred pages: 2,000 records of 700 bytes.
	all := c.server.clients(clients, c.ledger, c.token, r, 2000)
	if err := fill(all); err != nil {
		t.Fatal(err)
	}
	return c, all
}

// copy makes a copy by a tool and verifies it. Its error says what is wrong with the copy.
func (c *copying) copy(by tool) error {
	to := filepath.Join(c.dir, fmt.Sprintf("copy%d.db", c.copies.Add(1)))
	defer os.Remove(to)
	begin := c.ledger.now()
	if err := by.copy(c.server.data, to); err != nil {
		return fmt.Errorf("%s: %w", by.name, err)
	}
	end := c.ledger.now()
	c.verifying <- struct{}{}
	defer func() { <-c.verifying }()
	if err := c.verify(to, begin, end); err != nil {
		c.torn.Add(1)
		return fmt.Errorf("a copy by %s under %v writes a second: %w", by.name, c.rate, err)
	}
	return nil
}

// verify checks a copy, starts a server on it, and holds what is there against the ledger.
func (c *copying) verify(file string, begin, end uint64) error {
	if err := check(c.binary, file); err != nil {
		return err
	}
	s, err := launch(c.t, c.binary, file)
	if err != nil {
		return err
	}
	defer s.kill()
	if err := s.ready(); err != nil {
		return err
	}
	found, err := s.all(c.token)
	if err != nil {
		return err
	}
	if err := errors.Join(c.ledger.compare(found, begin, end)...); err != nil {
		return err
	}
	return s.stop()
}

// check runs "croft check" on a file that no server has open. A check that crashes is a fault found.
func check(binary, file string) error {
	var out, log bytes.Buffer
	cmd := exec.Command(binary, "check", file)
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("croft check: %w\n%.3000s\n%.3000s", err, &out, &log)
	}
	return nil
}

// TestCopies copies the file of a server that is being written to, by everything that people copy files with.
func TestCopies(t *testing.T) {
	t.Parallel()
	r := chance(t)
	loads := []struct {
		rate    float64 // writes a second
		clients int
	}{{1, 1}, {20, 4}, {300, 8}}
	have := tools(t)
	verifying := make(chan struct{}, 2)
	var wait sync.WaitGroup
	var copied atomic.Int64
	for i, load := range loads {
		c, clients := newCopying(t, binary(t, croft), load.rate, load.clients, r, verifying)
		n := (*copiesFlag + i) / len(loads)
		var quick, slow []tool
		for i := range n {
			switch by := fork(r); {
			case i < 2+n/20:
				longest := 12.0
				if n > 50 {
					longest = 30
				}
				slow = append(slow, throttled(time.Duration((6+by.Float64()*(longest-6))*float64(time.Second)), i == 0, by))
			case i%20 < 11:
				quick = append(quick, have[i%len(have)])
			default:
				quick = append(quick, throttled(time.Duration((0.5+4.5*by.Float64())*float64(time.Second)), by.IntN(3) == 0, by))
			}
		}
		r.Shuffle(len(quick), func(i, j int) { quick[i], quick[j] = quick[j], quick[i] })
		wait.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			loaded := make(chan error, 1)
			before, began := c.ledger.acknowledged(), time.Now()
			go func() { loaded <- pace(ctx, clients, load.rate) }()
			// The slow ones beside some of the others, whose copies then keep the pages for one another.
			var lanes, verified sync.WaitGroup
			for _, lane := range [][]tool{quick, slow} {
				lanes.Go(func() {
					for _, by := range lane {
						c.inLane(by, &verified)
					}
				})
			}
			lanes.Wait()
			took, written := time.Since(began), c.ledger.acknowledged()-before
			verified.Wait()
			cancel()
			if err := <-loaded; err != nil {
				t.Errorf("the load of %v writes a second: %v", load.rate, err)
			}
			copied.Add(c.copies.Load())
			at, err := os.Stat(c.server.data)
			if err != nil {
				t.Error(err)
				return
			}
			t.Logf("%v writes a second wanted, %.0f made: %d copies in %.0fs, %d torn; the file has %.1f MiB", load.rate,
				float64(written)/took.Seconds(), c.copies.Load(), took.Seconds(), c.torn.Load(), float64(at.Size())/(1<<20))
		})
	}
	wait.Wait()
	if got := copied.Load(); got != int64(*copiesFlag) {
		t.Errorf("%d copies were made, want %d", got, *copiesFlag)
	}
}

// inLane makes a copy, and verifies it beside the next.
func (c *copying) inLane(by tool, verified *sync.WaitGroup) {
	c.unverified <- struct{}{}
	made := make(chan struct{})
	watched := tool{by.name, func(from, to string) error {
		defer close(made)
		return by.copy(from, to)
	}}
	verified.Go(func() {
		defer func() { <-c.unverified }()
		if err := c.copy(watched); err != nil {
			c.t.Error(err)
		}
	})
	<-made
}

// TestCopiesControl holds TestCopies to its claim: without the pins it finds torn copies.
func TestCopiesControl(t *testing.T) {
	t.Parallel()
	r := chance(t)
	c, clients := newCopying(t, binary(t, unpinned), 300, 8, r, make(chan struct{}, 1))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	loaded := make(chan error, 1)
	go func() { loaded <- pace(ctx, clients, 300) }()
	for range 10 {
		if err := c.copy(throttled(time.Second, false, r)); err != nil {
			t.Logf("as it must be: %.300s", err.Error())
			cancel()
			if err := <-loaded; err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Errorf("%d copies in a second each, without pins, and all are whole: this test does not see what it should", c.copies.Load())
}
