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
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kardianos/service"
)

// registered is a supervisor that kardianos/service knows: OpenRC, SysV's init, launchd, Windows. The definitions are ours, where it
// takes ours: its own would run the server as root.
type registered struct {
	system service.System
	script string // the file of the definition; "" on Windows, which has none
	option string // the library's name for a definition of ours
}

func newRegistered(name string) *registered {
	r := &registered{}
	for _, system := range service.AvailableSystems() {
		if system.String() == name {
			r.system = system
		}
	}
	switch name {
	case "linux-openrc":
		r.script, r.option = "/etc/init.d/croft", "OpenRCScript"
	case "unix-systemv":
		r.script, r.option = "/etc/init.d/croft", "SysvScript"
	case "darwin-launchd":
		r.script, r.option = "/Library/LaunchDaemons/croft.plist", "LaunchdConfig"
	}
	return r
}

func (r *registered) String() string {
	switch r.option {
	case "OpenRCScript":
		return "OpenRC"
	case "SysvScript":
		return "SysV's init"
	case "LaunchdConfig":
		return "launchd"
	}
	return "Windows"
}

func (r *registered) Place() string {
	if r.script == "" {
		return "the service " + Name + " of Windows"
	}
	return r.script
}

// asked is the library's service. The zero Definition will do for all but to install it.
func (r *registered) asked(d Definition) (service.Service, error) {
	c := &service.Config{
		Name:             Name,
		DisplayName:      "Croft",
		Description:      "Croft, a backend of your own",
		Executable:       d.Binary,
		Arguments:        []string{"serve", "--config", d.Config},
		WorkingDirectory: d.Folder,
		UserName:         d.User,
		Option: service.KeyValue{
			"OnFailure": "restart", "OnFailureDelayDuration": "2s", // Windows
			"LogDirectory": d.Folder,
		},
	}
	if r.option != "" {
		c.Option[r.option] = r.definition(d)
	}
	return r.system.New(nil, c)
}

func (r *registered) definition(d Definition) string {
	switch r.option {
	case "OpenRCScript":
		return openRCScript(d)
	case "SysvScript":
		return sysvScript(d)
	case "LaunchdConfig":
		return launchdPlist(d)
	}
	return ""
}

func (r *registered) Installed() (Owner, error) {
	if r.script == "" {
		return registeredOwner()
	}
	text, err := os.ReadFile(r.script)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Nobody, nil
	case err != nil:
		return Nobody, err
	case bytes.Contains(text, []byte(marker)):
		return Ours, nil
	}
	return Foreign, nil
}

func (r *registered) Define(d Definition) (undo func() error, err error) {
	owner, err := r.Installed()
	if err != nil {
		return nil, err
	}
	if r.script == "" && owner == Ours {
		return nil, nil // what is defined there never changes
	}
	s, err := r.asked(d)
	if err != nil {
		return nil, err
	}
	if owner == Nobody {
		if err := s.Install(); err != nil || r.option != "SysvScript" {
			return r.Remove, err
		}
		return r.Remove, debianOrder("defaults")
	}
	before, err := os.ReadFile(r.script)
	if err != nil || string(before) == r.definition(d) {
		return nil, err
	}
	undo = func() error { return writeWhole(r.script, before, 0o755) }
	return undo, writeWhole(r.script, []byte(r.definition(d)), 0o755)
}

func (r *registered) Remove() error {
	s, err := r.asked(Definition{})
	if err != nil {
		return err
	}
	if r.option != "SysvScript" {
		return s.Uninstall()
	}
	err = errors.Join(debianOrder("remove"), s.Uninstall())
	// The library leaves these.
	links, globErr := filepath.Glob("/etc/rc?.d/[SK]??" + Name)
	err = errors.Join(err, globErr)
	for _, link := range links {
		if target, readErr := os.Readlink(link); readErr == nil && filepath.Base(target) == Name {
			err = errors.Join(err, os.Remove(link))
		}
	}
	return err
}

func (r *registered) Start(context.Context) error {
	s, err := r.asked(Definition{})
	if err != nil {
		return err
	}
	return s.Start()
}

func (r *registered) Stop(ctx context.Context) error {
	state, err := r.State(ctx)
	if err != nil || !state.Running {
		return err
	}
	s, err := r.asked(Definition{})
	if err != nil {
		return err
	}
	return s.Stop()
}

func (r *registered) State(context.Context) (State, error) {
	s, err := r.asked(Definition{})
	if err != nil {
		return State{}, err
	}
	status, err := s.Status()
	switch {
	case status == service.StatusRunning:
		return State{Running: true, Word: "running"}, nil
	case status == service.StatusStopped:
		return State{Word: "stopped"}, nil
	case errors.Is(err, service.ErrNotInstalled):
		return State{Word: "not installed"}, nil
	}
	// SysV's script ends with 1 when nothing runs, which the library passes on.
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return State{Word: "stopped"}, nil
	}
	return State{}, err
}

// logFile is where a server writes whose supervisor keeps no log. The server keeps it short (run.go).
func logFile(l Layout) string { return filepath.Join(l.Folder, "croft.log") }

func (r *registered) Logs(ctx context.Context, w io.Writer, n int, follow bool) error {
	path := logFile(System())
	if follow {
		return fmt.Errorf("the log is the file %s: follow it with \"tail -f\" there", path)
	}
	lines, err := lastLines(path, n)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, lines)
	return err
}

// lastLines reads the last n lines of a file, of its last MiB at most.
func lastLines(path string, n int) (string, error) {
	f, err := openAsItIs(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // it was only read
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !ordinary(info) {
		return "", notOrdinary(path)
	}
	const most = 1 << 20
	text, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-most), most))
	if err != nil {
		return "", err
	}
	lines := strings.SplitAfter(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "") + "\n", nil
}

// shellWord quotes a word for a shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// unprivileged has setpriv run a shell's words as the service's user, with the one capability it needs.
const unprivileged = `--reuid "$user" --regid "$user" --init-groups --no-new-privs ` +
	`--inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service --bounding-set=-all,+net_bind_service`

// logged starts the server with its output going to the log, which the user opens: it is in a folder of the user's own.
const logged = `/bin/sh -c 'exec "$0" serve --config "$1" >>"$2" 2>&1' "$program" "$config" "$log"`

// words sets the variables that unprivileged and logged read.
func words(d Definition) string {
	return `program=` + shellWord(d.Binary) + `
config=` + shellWord(d.Config) + `
log=` + shellWord(logFile(d.Layout)) + `
user=` + shellWord(d.User) + `
`
}

// openRCScript has OpenRC's own supervisor start the server again whenever it ends. OpenRC gives capabilities from 0.45 on, if it was built
// with that: Alpine's is, Debian's isn't. Alpine's setpriv, which is busybox', can't change the user.
func openRCScript(d Definition) string {
	return `#!/sbin/openrc-run
# ` + marker + `; changes are lost when that runs again.
` + words(d) + `
supervisor=supervise-daemon
name=Croft
description="Croft, a backend of your own"
directory=` + shellWord(d.Folder) + `
umask=077
respawn_delay=2
respawn_max=0
rc_ulimit="-n 65536"
retry="TERM/30/KILL/5"
if setpriv --help 2>&1 | grep -q -e --reuid; then
	command=$(command -v setpriv)
	command_args=` + shellWord(unprivileged+" "+logged) + ` # which OpenRC evaluates
else
	command=$program
	command_args='serve --config "$config"'
	command_user=$user:$user
	capabilities="^cap_net_bind_service"
	supervise_daemon_args="--no-new-privs" # its variable no_new_privs fails with OpenRC 0.45
	output_log=$log
	error_log=$log
fi

depend() {
	use dns logger
	after net firewall
}
`
}

// debianOrder has Debian's own program note the script's place in the order of start, or forget it, where there is that program: the
// library makes links in /etc/rc?.d alone, and Debian's init starts nothing of which its list doesn't know.
func debianOrder(action string) error {
	program, err := exec.LookPath("update-rc.d")
	if err != nil {
		return nil
	}
	if out, err := exec.Command(program, "-f", Name, action).CombinedOutput(); err != nil {
		return fmt.Errorf("update-rc.d -f %s %s: %w: %s", Name, action, err, bytes.TrimSpace(out))
	}
	return nil
}

// sysvScript starts the server as its user, with the one capability it needs. SysV's init starts nothing again.
func sysvScript(d Definition) string {
	return `#!/bin/sh
# ` + marker + `; changes are lost when that runs again.
### BEGIN INIT INFO
# Provides:          croft
# Required-Start:    $remote_fs $network
# Required-Stop:     $remote_fs $network
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Croft, a backend of your own
### END INIT INFO
` + words(d) + `pid=/var/run/croft.pid

runs() {
	[ -s "$pid" ] && [ "$(cat "/proc/$(cat "$pid")/comm" 2>/dev/null)" = croft ]
}

case "$1" in
start)
	if runs; then
		echo "Croft runs already"
		exit 0
	fi
	umask 077
	rm -f "$pid"
	start-stop-daemon --start --background --make-pidfile --pidfile "$pid" --chdir ` + shellWord(d.Folder) + ` \
		--startas "$(command -v setpriv)" -- ` + unprivileged + ` ` + logged + `
	# What starts it becomes Croft, or has ended.
	tries=100
	until runs; do
		tries=$((tries - 1))
		if [ "$tries" = 0 ] || { [ -s "$pid" ] && ! kill -0 "$(cat "$pid")" 2>/dev/null; }; then
			echo "Croft does not start: see $log" >&2
			exit 1
		fi
		sleep 0.1 2>/dev/null || sleep 1
	done
	;;
stop)
	if runs; then
		start-stop-daemon --stop --retry TERM/30/KILL/5 --pidfile "$pid" || exit 1
	fi
	rm -f "$pid"
	;;
restart | force-reload)
	"$0" stop && "$0" start
	;;
status)
	if runs; then
		echo "Running"
	else
		echo "Stopped"
		exit 3
	fi
	;;
*)
	echo "usage: $0 start|stop|restart|status"
	exit 2
	;;
esac
`
}

// launchdPlist is a service of macOS, which starts the server again whenever it ends.
func launchdPlist(d Definition) string {
	x := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
	return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- ` + marker + `; changes are lost when that runs again. -->
<plist version="1.0">
<dict>
	<key>Label</key><string>` + Name + `</string>
	<key>ProgramArguments</key>
	<array>
		<string>` + x(d.Binary) + `</string>
		<string>serve</string>
		<string>--config</string>
		<string>` + x(d.Config) + `</string>
	</array>
	<key>UserName</key><string>` + x(d.User) + `</string>
	<key>WorkingDirectory</key><string>` + x(d.Folder) + `</string>
	<key>StandardOutPath</key><string>` + x(logFile(d.Layout)) + `</string>
	<key>StandardErrorPath</key><string>` + x(logFile(d.Layout)) + `</string>
	<key>Umask</key><integer>` + strconv.Itoa(0o077) + `</integer>
	<key>RunAtLoad</key><true/>
	<key>KeepAlive</key><true/>
	<key>ThrottleInterval</key><integer>2</integer>
	<key>ExitTimeOut</key><integer>30</integer>
</dict>
</plist>
`
}
