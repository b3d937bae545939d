package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// systemd is spoken to through systemctl and journalctl. Its unit is a file of ours, and not one of the libraries', because it is
// to be replaced in one step and put back when an upgrade fails.
type systemd struct {
	unit     string   // the file that Install makes
	packaged []string // where a package puts its own
}

func newSystemd() *systemd {
	return &systemd{
		unit:     "/etc/systemd/system/croft.service",
		packaged: []string{"/usr/lib/systemd/system/croft.service", "/lib/systemd/system/croft.service"},
	}
}

func (*systemd) String() string { return "systemd" }

func (s *systemd) Place() string {
	paths := []string{s.unit}
	if path, err := s.fragment(); err == nil && path != "" {
		paths = append(paths, path)
	}
	for _, path := range append(paths, s.packaged...) {
		if _, err := os.Lstat(path); err == nil {
			return path
		}
	}
	return s.unit
}

// fragment is where systemd itself has found a unit, of the many places where one may be. "" when it knows none.
func (s *systemd) fragment() (string, error) {
	values, err := s.show(context.Background(), "FragmentPath")
	return values["FragmentPath"], err
}

func (s *systemd) show(ctx context.Context, properties string) (values map[string]string, err error) {
	out, err := output(ctx, "systemctl", "show", "croft.service", "--property="+properties)
	values = map[string]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[key] = value
	}
	return values, err
}

func (s *systemd) Installed() (Owner, error) {
	text, err := os.ReadFile(s.unit)
	switch {
	case err == nil && bytes.Contains(text, []byte(marker)):
		return Ours, nil
	case err == nil:
		return Foreign, nil
	case !errors.Is(err, fs.ErrNotExist):
		return Nobody, err
	}
	found, err := s.fragment()
	if err != nil {
		return Nobody, err
	}
	// The one that systemd knows is first; another may be there since it last looked.
	for _, path := range append([]string{found}, s.packaged...) {
		if text, err := os.ReadFile(path); err == nil {
			if bytes.Contains(text, []byte(packageMarker)) {
				return Package, nil
			}
			return Foreign, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return Nobody, err
		}
	}
	return Nobody, nil
}

func (s *systemd) Define(d Definition) (undo func() error, err error) {
	before, err := os.ReadFile(s.unit)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	existed := err == nil
	ctx := context.Background()
	if string(before) == Unit(d) {
		return nil, s.call(ctx, "enable", "--quiet", "croft.service")
	}
	undo = func() error {
		if existed {
			return errors.Join(writeWhole(s.unit, before, 0o644), s.call(ctx, "daemon-reload"))
		}
		err := s.call(ctx, "disable", "--quiet", "croft.service")
		return errors.Join(err, os.Remove(s.unit), s.call(ctx, "daemon-reload"), s.forget(ctx))
	}
	if err := writeWhole(s.unit, []byte(Unit(d)), 0o644); err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", "--quiet", "croft.service"}} {
		if err := s.call(ctx, args...); err != nil {
			return undo, err
		}
	}
	return undo, nil
}

func (s *systemd) Remove() error {
	ctx := context.Background()
	return errors.Join(s.call(ctx, "disable", "--quiet", "croft.service"), os.Remove(s.unit), s.call(ctx, "daemon-reload"), s.forget(ctx))
}

// forget has systemd drop a unit that failed before it was removed. That it has none is no error.
func (s *systemd) forget(ctx context.Context) error {
	_ = s.call(ctx, "reset-failed", "croft.service")
	return nil
}

func (s *systemd) Start(ctx context.Context) error {
	err := s.call(ctx, "start", "croft.service")
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*failure](err); ok && ctx.Err() == nil {
		if !strings.HasPrefix(f.said, "Job for croft.service failed") {
			return err // the unit is masked, or faulty: nothing was begun
		}
		err = errors.New("it ended before it served") // systemctl would refer to the log, which is shown
	}
	// systemd would go on trying, which is for servers that ran before.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	return errors.Join(err, s.call(stopping, "stop", "croft.service"))
}

// stopPatience is longer than the unit's TimeoutStopSec.
const stopPatience = 45 * time.Second

func (s *systemd) Stop(ctx context.Context) error { return s.call(ctx, "stop", "croft.service") }

func (s *systemd) State(ctx context.Context) (State, error) {
	values, err := s.show(ctx, "ActiveState,MainPID,ActiveEnterTimestampMonotonic")
	if err != nil {
		return State{}, err
	}
	state := State{Word: values["ActiveState"]}
	state.Running = state.Word == "active" || state.Word == "reloading"
	state.Starting = !state.Running && state.Word != "inactive" && state.Word != "failed"
	state.PID, _ = strconv.Atoi(values["MainPID"]) // 0 for none
	if entered, err := strconv.ParseInt(values["ActiveEnterTimestampMonotonic"], 10, 64); err == nil && state.Running {
		if up, err := uptime(); err == nil {
			state.Since = time.Now().Add(time.Duration(entered)*time.Microsecond - up).Truncate(time.Second)
		}
	}
	return state, nil
}

// uptime is how long ago the machine's monotonic clock was zero.
func uptime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	seconds, _, _ := strings.Cut(string(text), " ")
	return time.ParseDuration(seconds + "s")
}

func (s *systemd) Logs(ctx context.Context, w io.Writer, n int, follow bool) error {
	args := []string{"--no-pager", "--quiet", "--output=short-iso", "--lines=" + strconv.Itoa(n)}
	if follow {
		args = append(args, "--follow")
	}
	// What --unit would show, and what a server said that ended before the journal could find out whose it was: others may say that
	// they are croft, but not with its user's number.
	args = append(args, "_SYSTEMD_UNIT=croft.service", "+", "UNIT=croft.service", "_UID=0")
	if u, err := user.Lookup(User); err == nil {
		args = append(args, "+", "SYSLOG_IDENTIFIER=croft", "_TRANSPORT=stdout", "_UID="+u.Uid)
	}
	cmd := exec.CommandContext(ctx, "journalctl", args...)
	var complaint tail
	cmd.Stdout, cmd.Stderr = w, &complaint
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("journalctl: %w: %s", err, complaint.String())
	}
	return nil
}

func (s *systemd) call(ctx context.Context, args ...string) error {
	_, err := output(ctx, "systemctl", args...)
	return err
}

// output runs a program and returns what it printed. What it complained of is in the error.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var complaint tail
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		err = &failure{command: name + " " + strings.Join(args, " "), err: err, said: complaint.String()}
	}
	return string(out), err
}

// A failure is that of a program.
type failure struct {
	command string
	err     error
	said    string // on standard error
}

func (f *failure) Error() string {
	text := f.command + ": " + f.err.Error()
	if f.said != "" {
		text += ": " + f.said
	}
	return text
}

func (f *failure) Unwrap() error { return f.err }

// A tail keeps the end of what is written to it: as much as an error's text can hold.
type tail struct{ b []byte }

const maxTail = 2 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if len(t.b) > maxTail {
		t.b = t.b[len(t.b)-maxTail:]
	}
	return len(b), nil
}

func (t *tail) empty() bool    { return len(bytes.TrimSpace(t.b)) == 0 }
func (t *tail) String() string { return strings.ToValidUTF8(string(bytes.TrimSpace(t.b)), "?") }
