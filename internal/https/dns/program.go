package dns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/libdns/libdns"
)

// maxOutput is how many bytes of a program's output are kept, the last ones: that is where it says why it failed.
const maxOutput = 4 << 10

// A program is one of the user's own that makes records. It is run as
//
//	PROGRAM present _acme-challenge.example.org. VALUE
//	PROGRAM cleanup _acme-challenge.example.org. VALUE
//
// as the hooks of other ACME clients are, without a shell, and says by its exit status whether it could.
type program struct{ path string }

func newProgram(path string) (*program, error) {
	found, err := exec.LookPath(path)
	if err == nil {
		found, err = filepath.Abs(found)
	}
	if err != nil {
		return nil, fmt.Errorf("program %s can't be run: %w; give its full path, and make it executable (chmod +x)", path, errors.Unwrap(err))
	}
	return &program{found}, nil
}

func (p *program) AppendRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return records, p.each(ctx, "present", zone, records)
}

func (p *program) DeleteRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return records, p.each(ctx, "cleanup", zone, records)
}

func (p *program) each(ctx context.Context, what, zone string, records []libdns.Record) error {
	for _, r := range records {
		if err := p.run(ctx, what, fqdn(r, zone), r.RR().Data); err != nil {
			return err
		}
	}
	return nil
}

// run runs the program. When the context ends, it is killed together with what it started.
func (p *program) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, p.path, args...)
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = environment()
	// How long to read on when the program has ended, and something it started has not.
	cmd.WaitDelay = 5 * time.Second
	group(cmd)
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	said := printable(string(out), maxOutput)
	if said == "" {
		said = "it printed nothing"
	}
	return fmt.Errorf("%s %s: %w: %s", p.path, args[0], err, said)
}

// environment is what a program needs to run, and Croft's own settings, but no token.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name == "PATH" || name == "HOME" || name == "LANG" || strings.HasPrefix(name, "CROFT_") && !strings.HasSuffix(name, "_TOKEN") {
			env = append(env, v)
		}
	}
	return env
}

// A tail keeps the last maxOutput bytes that were written to it.
type tail []byte

func (t *tail) Write(b []byte) (int, error) {
	*t = append(*t, b...)
	if over := len(*t) - maxOutput; over > 0 {
		*t = append((*t)[:0], (*t)[over:]...)
	}
	return len(b), nil
}
