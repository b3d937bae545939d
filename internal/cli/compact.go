package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
)

func (p *program) compactCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compact",
		Short: "Give the space back that the data file doesn't use",
		Long: `Writes the data file anew, without the pages that nothing uses any more, and puts the
new file in the place of the old one. The new file stands beside the old one
meanwhile, so there must be room for both. A server that runs does it while it goes
on; writes wait for a moment at the end.

What is free in a data file is used again by what is written next, so this is for
files that have become much smaller.`,
		Args: cobra.NoArgs,
		RunE: p.withClient(func(ctx context.Context, c *client, _ []string) error {
			raw, err := c.call(ctx, http.MethodPost, "/compact", nil)
			if err != nil && ctx.Err() != nil {
				return errors.New("stopped; the data file is as it was")
			}
			if err != nil {
				return err
			}
			var r struct {
				File   string `json:"file"`
				Before int64  `json:"bytes_before"`
				After  int64  `json:"bytes_after"`
			}
			if err := json.Unmarshal(raw, &r); err != nil {
				return fmt.Errorf("POST /compact: the answer can't be read: %w", err)
			}
			return p.done(raw, "Compacted %s: it had %s and has %s.", r.File, mebibytes(r.Before), mebibytes(r.After))
		}),
	}
}
