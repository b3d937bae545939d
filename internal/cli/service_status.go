package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) serviceStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say whether the server runs, where it answers, and how to make its first admin",
		Long: `Says how the service is. The exit code is 0 when the server runs and is healthy,
and else 1.`,
		Args: cobra.NoArgs,
		RunE: p.run(func(cmd *cobra.Command, _ []string) error {
			i, err := p.installed(cmd)
			if err != nil {
				return err
			}
			s, err := i.status(cmd.Context())
			if err != nil {
				return err
			}
			if p.json {
				raw, err := json.Marshal(s)
				if err != nil {
					return err
				}
				if err := p.printJSON(raw); err != nil {
					return err
				}
			} else {
				p.sayStatus(s)
			}
			switch {
			case !s.Running:
				return errors.New(`the server does not run: "sudo croft service start" starts it, and "sudo croft service logs" shows what it said last`)
			case !s.Healthy:
				return errors.New(`the server runs and is not healthy: "sudo croft service logs" shows why`)
			}
			return nil
		}),
	}
}

// A serviceStatus is what croft service status says.
type serviceStatus struct {
	Supervisor string     `json:"supervisor"`
	Package    bool       `json:"package,omitzero"` // it came as a package of the distribution's kind
	Running    bool       `json:"running"`
	State      string     `json:"state"` // in the supervisor's word
	Since      *time.Time `json:"since,omitzero"`
	PID        int        `json:"pid,omitzero"`
	Version    string     `json:"version,omitzero"` // of the installed program
	Healthy    bool       `json:"healthy"`
	Problem    string     `json:"problem,omitzero"`
	Address    string     `json:"address"`
	Setup      string     `json:"setup,omitzero"`
	Data       string     `json:"data"`
	Bytes      int64      `json:"bytes"`
	Config     string     `json:"config"`
}

func (i *installation) status(ctx context.Context) (*serviceStatus, error) {
	state, err := i.State(ctx)
	if err != nil {
		return nil, err
	}
	s := &serviceStatus{
		Supervisor: i.Supervisor.String(), Running: state.Running, State: state.Word, PID: state.PID,
		Address: i.url(), Data: i.DataFile, Config: i.Config,
	}
	if !state.Since.IsZero() {
		s.Since = &state.Since
	}
	if info, err := os.Stat(i.DataFile); err == nil {
		s.Bytes = info.Size()
	}
	if s.Version, s.Package, err = i.Version(ctx); err != nil {
		s.Problem = err.Error()
	}
	if !state.Running {
		return s, nil
	}
	if err := i.Answers(ctx); err != nil {
		s.Problem = err.Error()
		return s, nil
	}
	s.Healthy = true
	if s.Setup, err = i.setup(ctx); err != nil {
		s.Problem = err.Error()
	}
	return s, nil
}

func (p *program) printServiceStatus(ctx context.Context, i *installation) error {
	s, err := i.status(ctx)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return p.printJSON(raw)
}

func (p *program) sayStatus(s *serviceStatus) {
	how := s.State
	if s.PID != 0 && s.Running {
		how += fmt.Sprintf(", process %d", s.PID)
	}
	if s.Since != nil {
		how += ", since " + s.Since.Format("2006-01-02 15:04:05 MST")
	}
	by := s.Supervisor
	if s.Package {
		by += ", from a package"
	}
	p.say("Service:        %s (%s)", how, by)
	p.say("Version:        %s", oneLine(s.Version))
	p.say("Address:        %s", s.Address)
	p.say("Data file:      %s, %s", s.Data, mebibytes(s.Bytes))
	p.say("Configuration:  %s", s.Config)
	if s.Problem != "" {
		p.say("Problem:        %s", s.Problem)
	}
	p.sayLink(s.Setup)
}
