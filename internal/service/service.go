// Package service keeps Croft running as a service of the operating system: it installs, upgrades and removes it, and is the server's
// side of the talk with who supervises it (Notifier, Run).
//
// It promises that an install or an upgrade is done whole or not at all: each step is undone when a later one fails, an
// upgrade copies the data file first, and a new program that does not answer is replaced by the old one again. It touches no
// service that it did not make, removes no data unless it is told to purge, and runs nothing as root but itself.
//
// It writes no keys: the data file is copied and put back by the installed program's own commands, run as the service's user.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Name is the service's, and on Linux that of its user and group.
const Name = "croft"

// A Layout says where the parts of an installed Croft are.
type Layout struct {
	Binary      string // the program
	Previous    string // the program before the last upgrade
	Config      string // the configuration file
	Environment string // variables for the server, such as tokens; "" where there is none
	Folder      string // the folder of the data file
	Lock        string // what Lock locks: a file, or on Windows the name of a mutex
}

// Data is where the data file is, unless the configuration says otherwise.
func (l Layout) Data() string { return filepath.Join(l.Folder, "croft.db") }

// Options describe the service of this machine.
type Options struct {
	Layout
	Supervisor Supervisor
	User       string   // who the server runs as; "" for who installs it
	Program    string   // the program to install
	DataFile   string   // from the configuration
	Writable   []string // more folders that the server writes to
	Readable   []string // more files that the server reads: certificates
	Settings   string   // the configuration file to make if there is none

	// Answers returns nil when the server answers and is healthy, and else why not: ErrNoRoom if it is only that its disk is full.
	Answers func(context.Context) error
	// Patience is how long a started server may take to answer.
	Patience time.Duration
	// Say tells a person what was done. It may be nil.
	Say func(format string, args ...any)
}

// A Service is Croft as installed on this machine, or to be.
type Service struct {
	Options
}

// New returns the service that the options describe.
func New(o Options) *Service {
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	return &Service{o}
}

// A Supervisor is what starts and watches services on a machine: systemd, or one of those that kardianos/service knows.
type Supervisor interface {
	String() string
	// Place is what the service is defined by, in words: a file, mostly.
	Place() string

	// Installed says whose the service of Croft's name is.
	Installed() (Owner, error)
	// Define makes the service, or makes it anew, and has it start with the machine. It returns how to take that back, also
	// when it fails half-way, and nil if there was nothing to do.
	Define(d Definition) (undo func() error, err error)
	// Remove takes the service away. It is stopped.
	Remove() error

	// Start returns when the server says that it serves, where the supervisor listens to that, and else when it is started.
	Start(ctx context.Context) error
	// Stop returns when the server has ended. That it doesn't run is no error.
	Stop(ctx context.Context) error
	State(ctx context.Context) (State, error)
	// Logs writes the last n lines of the log, and then those that come until ctx ends if follow is set.
	Logs(ctx context.Context, w io.Writer, n int, follow bool) error
}

// Owner says whose a service is.
type Owner int

// Owners.
const (
	Nobody  Owner = iota // there is no such service
	Ours                 // Install made it
	Package              // a package of the distribution's kind made it
	Foreign              // somebody else's
)

// A Definition is what a supervisor is to run.
type Definition struct {
	Layout
	User     string
	Writable []string // folders
}

// A State is what a supervisor knows of the server.
type State struct {
	Running  bool
	Starting bool      // it does not serve, and is about to: it checks its file, or is to be started again
	PID      int       // 0 if it is unknown
	Since    time.Time // zero if it is unknown
	Word     string    // the supervisor's own: active, failed
}

func (s *Service) definition() Definition {
	return Definition{Layout: s.Layout, User: s.User, Writable: append([]string{filepath.Dir(s.DataFile)}, s.Writable...)}
}

// Errors that a command answers in its own way.
var (
	ErrNotInstalled = errors.New(`there is no service of Croft's here: "sudo croft service install" makes it`)
	ErrPackage      = errors.New("this Croft came as a package")
	ErrLocked       = errors.New("another install or uninstall of Croft is at work on this machine: wait until it ends, and try again")

	// ErrNoRoom is wrapped by what Options.Answers returns when the server runs, and can't write because its disk is full.
	ErrNoRoom = errors.New("it can't write")
)

// owned refuses a service that is not there, or somebody else's.
func (s *Service) owned() (Owner, error) {
	owner, err := s.Supervisor.Installed()
	switch {
	case err != nil:
		return owner, err
	case owner == Nobody:
		return owner, ErrNotInstalled
	case owner == Foreign:
		return owner, s.foreign()
	}
	return owner, nil
}

func (s *Service) foreign() error {
	return fmt.Errorf("there is a service named croft here that this program did not make (%s), so it is left alone: remove it first, or run Croft by hand with \"croft serve\"", s.Supervisor.Place())
}

// Start starts the server and waits until it answers.
func (s *Service) Start(ctx context.Context) error {
	if _, err := s.owned(); err != nil {
		return err
	}
	return s.bear(s.start(ctx))
}

// bear takes a server for one that runs whose disk is full: it is read from, and things are deleted there, until somebody makes room.
// Only what is new is not begun so.
func (s *Service) bear(err error) error {
	if errors.Is(err, ErrNoRoom) {
		s.Say("Take care: %v", err)
		return nil
	}
	return err
}

// Stop stops the server.
func (s *Service) Stop(ctx context.Context) error {
	if _, err := s.owned(); err != nil {
		return err
	}
	return s.Supervisor.Stop(ctx)
}

// Restart stops the server and starts it again.
func (s *Service) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	return s.bear(s.start(ctx))
}

// State says how the server is.
func (s *Service) State(ctx context.Context) (State, error) {
	if _, err := s.owned(); err != nil {
		return State{}, err
	}
	return s.Supervisor.State(ctx)
}

// Version is the installed program's, and whether it came as a package.
func (s *Service) Version(ctx context.Context) (version string, packaged bool, err error) {
	owner, err := s.owned()
	if err != nil {
		return "", false, err
	}
	program := s.Binary
	if owner == Package {
		program = packageBinary
	}
	version, err = installedVersion(ctx, program)
	return version, owner == Package, err
}

// packageBinary is where packages have the program.
const packageBinary = "/usr/bin/croft"

// Logs writes the server's log.
func (s *Service) Logs(ctx context.Context, w io.Writer, n int, follow bool) error {
	if _, err := s.owned(); err != nil {
		return err
	}
	return s.Supervisor.Logs(ctx, w, n, follow)
}

// askAgain is how often a server that starts is asked whether it answers.
const askAgain = 100 * time.Millisecond

// start starts the server and waits until it answers. The bound grows with the data file: a start may have to read it whole, or to
// bring it up to date, and 5 MiB a second is a slow memory card.
func (s *Service) start(ctx context.Context) error {
	patience := s.Patience
	if info, err := os.Stat(s.DataFile); err == nil {
		patience += time.Duration(info.Size()/(5<<20)) * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it did not answer within %s", patience.Round(time.Second)))
	defer cancel()
	if err := s.Supervisor.Start(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("the server does not start: %w%s", err, s.lastWords())
	}
	for {
		err := s.Answers(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrNoRoom) {
			return fmt.Errorf("the server runs, but %w", err)
		}
		state, stateErr := s.Supervisor.State(ctx)
		if stateErr == nil && !state.Running {
			return fmt.Errorf("the server started and ended again%s", s.lastWords())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server started, but %w: %w%s", context.Cause(ctx), err, s.lastWords())
		case <-time.After(askAgain):
		}
	}
}

// lastLog is how many lines of a log an error has: systemd alone says six about a server that ended.
const lastLog = 12

// lastWords is the end of the log, for an error's text.
func (s *Service) lastWords() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var log tail
	if err := s.Supervisor.Logs(ctx, &log, lastLog, false); err != nil || log.empty() {
		return ""
	}
	return ". The end of its log:\n" + log.String()
}
