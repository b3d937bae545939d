package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"croft/internal/backup"
)

func (p *program) salvageCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "salvage FILE OUT",
		Short: "Take what can still be read out of a damaged data file into a new one",
		Long: `Reads a damaged data file, which stays as it is, and writes all that can still be read
into OUT, a new data file: what the newest state leads to, and where that is damaged,
older states of the same entries. Then it puts OUT in order (indexes are built when a
server starts on it) and checks it. It lists what was lost; with --json all of it.

A backup that is whole is better. Look at what was lost before you use OUT: in the
places that were damaged, records can be old, and deleted ones can be back. When much
is damaged that can be so in other places too: a damaged page can lead to an old one.`,
		Example: `  croft salvage croft.db saved.db
  croft serve --data saved.db`,
		Args: cobra.ExactArgs(2),
		RunE: p.run(func(cmd *cobra.Command, args []string) error {
			r, err := p.salvage(cmd.Context(), args[0], args[1])
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
			return p.printSalvaged(r)
		}),
	}
}

func (p *program) salvage(ctx context.Context, from, to string) (*backup.Salvaged, error) {
	status := p.status()
	defer status.clear()
	r, err := backup.Salvage(ctx, from, to, func(done, total int64) {
		status.show(fmt.Sprintf("read %d of %d MiB", done>>20, total>>20))
	})
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("stopped; no file was made")
		}
		return nil, err
	}
	status.show("checking the new file")
	if err := p.verifier()(ctx, to); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("stopped; what was saved is in %s, and was not checked", to)
		}
		return nil, fmt.Errorf("what was saved is in %s, but its check failed: %w", to, err)
	}
	return r, nil
}

// shownLosses is how many losses are told to people.
const shownLosses = 20

// printSalvaged prints what was saved and lost.
func (p *program) printSalvaged(r *backup.Salvaged) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Saved from %s into %s: %s\n", r.File, r.Out, plural(r.Entries, "entry", "entries"))
	for _, c := range r.Collections {
		fmt.Fprintf(&b, "  %s: %s\n", c.Name, plural(c.Records, "record", "records"))
	}
	if r.Users > 0 {
		fmt.Fprintf(&b, "  %s\n", plural(uint64(r.Users), "user", "users"))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "%s\n", note)
	}
	if r.LossesTotal == 0 {
		fmt.Fprintln(&b, "No damage was found in what it read.")
	} else {
		fmt.Fprintf(&b, "%s, of which %d lost something:\n", plural(r.LossesTotal, "place is damaged", "places are damaged"), r.GoneTotal)
		for _, l := range r.Losses[:min(len(r.Losses), shownLosses)] {
			fmt.Fprintf(&b, "  %s\n", l)
		}
		if more := r.LossesTotal - uint64(min(len(r.Losses), shownLosses)); more > 0 {
			fmt.Fprintf(&b, "  and %d more; --json lists them\n", more)
		}
	}
	_, err := fmt.Fprint(p.stdout, printable(b.String()))
	return err
}
