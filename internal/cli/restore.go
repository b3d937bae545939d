package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"croft/internal/app"
	"croft/internal/backup"
	"croft/internal/config"
)

func (p *program) restoreCommand() *cobra.Command {
	var running bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the data file",
		Long: `Copies FILE beside the data file, verifies the copy, and puts it in the data file's
place. FILE stays as it is, and the data file as it was is kept under a name that
ends in .before-restore- and the time. Whatever goes wrong, the data file is the
one or the other.

A server that has the data file open must be stopped first; or, with --running,
it takes the file itself, lets the requests that run finish, and starts again on
the restored file.`,
		Example: `  croft restore /mnt/usb/croft-backup.db
  croft restore --running /mnt/usb/croft-backup.db`,
		Args: cobra.ExactArgs(1),
		RunE: p.run(func(cmd *cobra.Command, args []string) error {
			cfg, err := p.config(cmd)
			if err != nil {
				return err
			}
			return p.restore(cmd.Context(), cfg, args[0], running)
		}),
	}
	cmd.Flags().BoolVar(&running, "running", false, "have the server that runs take the file and start again on it")
	return cmd
}

func (p *program) restore(ctx context.Context, cfg *config.Config, file string, running bool) error {
	status := p.status()
	conn, dialErr := app.DialLocal(ctx, cfg.Data)
	served := dialErr == nil
	if served {
		conn.Close() // it has shown what it was for
		if !running {
			return fmt.Errorf("a server has %s open: stop it first, or have it start again on the restored file with --running", cfg.Data)
		}
	}
	var r *backup.Restored
	var err error
	if served {
		r, err = restoreRunning(ctx, cfg.Data, file, status)
	} else {
		r, err = backup.Restore(ctx, file, cfg.Data, backup.FileOptions{
			Verify: p.verifier(),
			Progress: func(done, total int64) {
				status.show(fmt.Sprintf("copied %d of %d MiB", done>>20, total>>20))
			},
			Checking: func() { status.show("checking the copy") },
		})
		if err != nil && ctx.Err() != nil {
			err = errors.New("stopped; the data file is as it was")
		}
	}
	status.clear()
	if err != nil {
		return err
	}
	if p.json {
		raw, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return p.printJSON(raw)
	}
	p.say("Restored %s from %s, %s, and verified it.", cfg.Data, file, mebibytes(r.Bytes))
	if r.Kept != "" {
		p.say("The data file as it was is now %s; remove it when it is not needed any more.", r.Kept)
	}
	if served {
		p.say("The server answers again.")
	}
	return nil
}

// restoreRunning has the server of a data file restore it, and waits until it answers again.
func restoreRunning(ctx context.Context, data, file string, status *status) (*backup.Restored, error) {
	from, s, err := backup.OpenFile(file, data)
	if err != nil {
		return nil, err
	}
	defer from.Close() // it was only read
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return app.DialLocal(ctx, data) },
		// The server that answers last is another than the first.
		DisableKeepAlives: true,
	}
	sent := &counted{Reader: io.LimitReader(from, s.Size), show: func(n int64) {
		if n == s.Size {
			status.show("the server checks the copy")
		} else {
			status.show(fmt.Sprintf("sent %d of %d MiB", n>>20, s.Size>>20))
		}
	}}
	state, err := askRestore(ctx, t, http.MethodPost, sent, s.Size)
	if err != nil {
		return nil, err
	}
	answered := time.Now()
	for state.State == backup.RestoreRestarting {
		status.show("the server starts again")
		select {
		case <-ctx.Done():
			return nil, errors.New("stopped waiting; the server has taken the file and starts again on it")
		case <-time.After(pollTime):
		}
		next, err := askRestore(ctx, t, http.MethodGet, nil, 0)
		if refused, ok := errors.AsType[*problem](err); ok {
			return nil, refused
		}
		if err == nil {
			state, answered = next, time.Now()
		} else if time.Since(answered) > silence {
			return nil, errors.New("the server took the file, stopped, and does not answer again: its log says why")
		}
	}
	if state.State != backup.RestoreDone {
		return nil, fmt.Errorf("the restore failed, and the server goes on with the data file as it was: %s", state.Error)
	}
	return &backup.Restored{File: data, Bytes: state.Bytes, Kept: state.Kept}, nil
}

// pollTime is how often a server that starts again is asked: it takes a fraction of a second, unless requests run that it waits for.
// silence is how long it may take, with a large file of an older Croft's, say.
const (
	pollTime = 50 * time.Millisecond
	silence  = 5 * time.Minute
)

func askRestore(ctx context.Context, t *http.Transport, method string, body io.Reader, size int64) (state backup.RestoreState, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost/api/v1/restore", body)
	if err != nil {
		return state, err
	}
	if body != nil {
		req.ContentLength = size
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return state, fmt.Errorf("%s /restore: %w", method, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		refused := &problem{Title: resp.Status}
		if err := json.UnmarshalRead(resp.Body, refused); err != nil {
			return state, fmt.Errorf("%s /restore: %s, and its explanation can't be read: %w", method, resp.Status, err)
		}
		return state, refused
	}
	if err := json.UnmarshalRead(resp.Body, &state); err != nil {
		return state, fmt.Errorf("%s /restore: the answer can't be read: %w", method, err)
	}
	return state, nil
}

// counted tells how much of it was read.
type counted struct {
	io.Reader
	n    int64
	show func(n int64)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	c.show(c.n)
	return n, err
}
