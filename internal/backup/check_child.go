package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"croft/internal/store"
)

// childVariable is set for a process that verifies a file. One that runs another program than expected, such as a test's, and comes
// to start a child itself, stops here instead of for want of processes.
const childVariable = "CROFT_CHECK_CHILD"

// VerifyInChild returns a Verifier that runs "check" in a process of its own, at low priority: whatever the file does to that one,
// this one goes on. command is the program with its first arguments; without one it is this program.
func VerifyInChild(command ...string) Verifier {
	return func(ctx context.Context, path string) error {
		if len(command) > 0 {
			return verifyInChild(ctx, command, path)
		}
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program, to verify %s: %w", path, err)
		}
		return verifyInChild(ctx, []string{exe}, path)
	}
}

func verifyInChild(ctx context.Context, command []string, path string) error {
	if os.Getenv(childVariable) != "" {
		return errors.New("a process that verifies a file can't start another one")
	}
	args := append(command[1:len(command):len(command)], "check", "--json", "--", path)
	cmd := exec.CommandContext(ctx, command[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	var stdout, stderr clipped
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	ofItsOwn(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a process to verify %s: %w", path, err)
	}
	lowPriority(cmd.Process)
	err := cmd.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var r Report
	if json.Unmarshal(stdout.said.Bytes(), &r) == nil && r.File != "" {
		return r.Err()
	}
	// Croft's own words when it could not look at the file.
	if text, ok := strings.CutPrefix(strings.TrimSpace(stderr.said.String()), "croft: "); ok {
		return errors.New(strings.TrimPrefix(text, "check "+path+": "))
	}
	return fmt.Errorf("%w: the process that verified it came to its end over it (%w)", store.ErrDamaged, crash(err))
}

// crash says how a process ended that gave no report.
func crash(err error) error {
	if err == nil {
		return errors.New("without a report")
	}
	return err
}

// clipped keeps what a child says as far as it can be a report: a process that dies of a full stack tells all of it. The buffer is not
// embedded, for its ReadFrom would take everything.
type clipped struct{ said bytes.Buffer }

// maxSaid is more than a report has of a hundred thousand collections.
const maxSaid = 16 << 20

func (c *clipped) Write(b []byte) (int, error) {
	if room := maxSaid - c.said.Len(); room > 0 {
		c.said.Write(b[:min(len(b), room)])
	}
	return len(b), nil
}
