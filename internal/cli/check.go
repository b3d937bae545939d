package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"croft/internal/app"
	"croft/internal/backup"
	"croft/internal/config"
)

func (p *program) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Read a whole data file and say whether anything in it is damaged",
		Long: `Reads all of a data file, the configured one or FILE: every page and checksum, every
record with its index entries, accounts and settings. It changes nothing. A file
that a server has open is checked by that server, as of this moment, while it goes
on. The exit code is 0 when the file is whole, and 1 when it is damaged or can't be
checked.`,
		Example: `  croft check
  croft check /mnt/backups/croft.db`,
		Args: cobra.MaximumNArgs(1),
		RunE: p.run(func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				cfg, err := p.config(cmd)
				if err != nil {
					return err
				}
				args = []string{cfg.Data}
			}
			r, err := p.check(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := p.printReport(r); err != nil {
				return err
			}
			if !r.OK {
				return fmt.Errorf("%s is damaged", args[0])
			}
			return nil
		}),
	}
}

// check has the server of a data file check it, or does so itself when none has it open.
func (p *program) check(ctx context.Context, path string) (*backup.Report, error) {
	conn, dialErr := app.DialLocal(ctx, path)
	if dialErr == nil {
		conn.Close() // it has shown what it was for
		cfg := config.Default()
		cfg.Data = path
		c, err := p.connect(ctx, cfg)
		if err != nil {
			return nil, err
		}
		raw, err := c.call(ctx, http.MethodPost, "/check", nil)
		if err = errors.Join(err, c.close()); err != nil {
			return nil, err
		}
		r := new(backup.Report)
		if err := json.Unmarshal(raw, r); err != nil {
			return nil, fmt.Errorf("POST /check: the answer can't be read: %w", err)
		}
		r.File = path // as it is called here
		return r, nil
	}
	status := p.status()
	r, err := backup.CheckFile(ctx, path, func(what string, n, total int64) {
		text := "checking the " + what
		if total > 0 {
			text += fmt.Sprintf(": %d %%", 100*n/total)
		}
		status.show(text)
	})
	status.clear()
	if ctx.Err() != nil {
		return nil, errors.New("stopped before all was checked")
	}
	if err != nil && errors.Is(dialErr, fs.ErrPermission) {
		err = fmt.Errorf("%w; and its server can't be asked: %w", err, dialErr)
	}
	return r, err
}

// shownFaults is how many faults are told to people: what there is to do stands below them.
const shownFaults = 20

// printReport prints what a check found.
func (p *program) printReport(r *backup.Report) error {
	if p.json {
		raw, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return p.printJSON(raw)
	}
	var b strings.Builder
	size := fmt.Sprintf("%d KiB", r.Bytes>>10)
	if r.Bytes >= 10<<20 {
		size = fmt.Sprintf("%d MiB", r.Bytes>>20)
	}
	fmt.Fprintf(&b, "%s: %s, %s\n", r.File, size, plural(r.Entries, "entry", "entries"))
	for _, c := range r.Collections {
		name := c.Name
		if name == "" {
			name = "(a collection whose definition is lost)"
		}
		fmt.Fprintf(&b, "  %s: %s", name, plural(c.Records, "record", "records"))
		if c.Damaged > 0 {
			fmt.Fprintf(&b, " can be read, %d damaged", c.Damaged)
		}
		b.WriteString("\n")
	}
	if r.Users > 0 || r.Sessions > 0 || r.Tokens > 0 || r.Invites > 0 {
		fmt.Fprintf(&b, "  %s, %s, %s, %s\n", plural(uint64(r.Users), "user", "users"), plural(uint64(r.Sessions), "session", "sessions"),
			plural(uint64(r.Tokens), "API token", "API tokens"), plural(uint64(r.Invites), "invite", "invites"))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "Note: %s.\n", note)
	}
	if r.OK {
		fmt.Fprintf(&b, "No faults; looked for %.1f s.\n", float64(r.Took)/1000)
	} else {
		fmt.Fprintf(&b, "%s:\n", plural(r.FaultsTotal, "fault", "faults"))
		shown := r.Faults[:min(len(r.Faults), shownFaults)]
		for _, f := range shown {
			fmt.Fprintf(&b, "  %s\n", f)
		}
		switch more := r.FaultsTotal - uint64(len(shown)); {
		case len(shown) < len(r.Faults):
			fmt.Fprintf(&b, "  and %d more; --json lists the first %d\n", more, len(r.Faults))
		case more > 0:
			fmt.Fprintf(&b, "  and %d more\n", more)
		}
		fmt.Fprintf(&b, "Restore a backup; or \"croft salvage %s OUT\" takes what can still be read into a new file.\n", r.File)
	}
	_, err := fmt.Fprint(p.stdout, printable(b.String()))
	return err
}

// plural is a number of things.
func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
