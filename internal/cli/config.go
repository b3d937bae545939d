package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"croft/internal/config"
)

func (p *program) configCommand() *cobra.Command {
	show := &cobra.Command{
		Use:   "show",
		Short: "Show the settings in force, and where each comes from",
		Args:  cobra.NoArgs,
		RunE: p.run(func(cmd *cobra.Command, _ []string) error {
			c, err := p.config(cmd)
			if err != nil {
				return err
			}
			settings := c.Show()
			if p.json {
				raw, err := json.Marshal(settings)
				if err != nil {
					return err
				}
				return p.printJSON(raw)
			}
			var rows [][]string
			for _, s := range settings {
				from := s.Source
				if s.Where != "" {
					from = s.Where
				}
				rows = append(rows, []string{s.Key, s.Text(), from})
			}
			return p.table("", []string{"SETTING", "VALUE", "FROM"}, rows)
		}),
	}
	example := &cobra.Command{
		Use:   "example",
		Short: "Print a croft.toml that shows every setting with its default",
		Args:  cobra.NoArgs,
		RunE: p.run(func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(p.stdout, config.Example())
			return err
		}),
	}
	return p.group(&cobra.Command{
		Use:   "config",
		Short: "Show the configuration",
		Long: `What Croft must know before it opens its data file comes from flags, CROFT_*
variables and croft.toml, in this order. All else is in the data file.`,
	}, show, example)
}
