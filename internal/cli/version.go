package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A build says which program this is.
type build struct {
	Version  string `json:"version"` // of the module, as the Go tool stamped it; "devel" without one
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from files that differ from the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Set by scripts/release, which builds the same bytes from a clone of any depth; another build knows its version from the Go tool.
var version, commit string

func thisBuild() build {
	b := build{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if version != "" {
		b.Version, b.Commit = version, commit
		return b
	}
	bi, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := bi.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range bi.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which version of Croft this is",
		Args:  cobra.NoArgs,
		RunE: p.run(func(*cobra.Command, []string) error {
			b := thisBuild()
			if p.json {
				raw, err := json.Marshal(b)
				if err != nil {
					return err
				}
				return p.printJSON(raw)
			}
			_, err := fmt.Fprintf(p.stdout, "croft %s, %s, %s\n", b.Version, b.Go, b.Platform)
			return err
		}),
	}
}
