package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"croft/internal/app"
	"croft/internal/config"
	"croft/internal/service"
)

func (p *program) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Start Croft",
		Long: `Starts Croft on its data file, which is made if there is none, and runs until it is
told to stop by Ctrl-C or SIGTERM. Until the first admin is made, it prints a link
to make one with. The log goes to standard error.`,
		Args: cobra.NoArgs,
		RunE: p.run(func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.config(cmd)
			if err != nil {
				return err
			}
			return p.serve(cmd.Context(), cfg)
		}),
	}
	cmd.Flags().String("listen", "", "the `ADDRESS` to answer at, as host:port (default :8080, with https :80)")
	cmd.Flags().String("https", "", "`MODE` of HTTPS: off, acme, files or local (default off)")
	cmd.Flags().String("https-listen", "", "the `ADDRESS` to answer HTTPS at (default :443)")
	return cmd
}

func (p *program) serve(ctx context.Context, cfg *config.Config) error {
	log := newLog(cfg.Log, p.stderr, slog.LevelDebug)
	for _, name := range cfg.Unknown {
		log.Warn("a variable that no setting has is ignored", "variable", name)
	}
	supervisor := service.Supervised()
	defer supervisor.Close()
	return service.Run(ctx, func(ctx context.Context) error {
		return app.Serve(ctx, cfg, app.Options{Log: log, Ready: p.ready, Supervisor: supervisor, Verify: p.verifier(), Context: ctx})
	})
}

// ready says where the server answers. The setup token is shown here and nowhere else.
func (p *program) ready(s app.Serving) {
	if p.json {
		p.readyJSON(s)
		return
	}
	fmt.Fprintf(p.stdout, "Croft answers at %s\n", s.URL)
	if s.Network != "" {
		fmt.Fprintf(p.stdout, "For other devices of this network: %s\n", s.Network)
	}
	if s.Trust != "" {
		fmt.Fprintf(p.stdout, "Each device trusts it once, by the steps of this page: %s\n", s.Trust)
	}
	switch {
	case s.Setup == "":
	case service.Background():
		fmt.Fprintln(p.stdout, `There is no admin yet. "sudo croft service status" shows the link to make one with, which has no place in a log.`)
	default:
		fmt.Fprintf(p.stdout, "Make the first admin with this link, which works once: %s\n", s.Setup)
		p.phone(s)
	}
	if !service.Background() {
		fmt.Fprintln(p.stdout, "Stop it with Ctrl-C.")
	}
}

// phone shows the set-up link for a phone to scan, where a phone could reach it.
func (p *program) phone(s app.Serving) {
	if s.Network == "" {
		return
	}
	link := s.Network + strings.TrimPrefix(s.Setup, s.URL)
	fmt.Fprintf(p.stdout, "Or on another device: %s\n", link)
	if printQR(p.stdout, link) {
		fmt.Fprintln(p.stdout, "A phone's camera reads that link here.")
	}
}

func (p *program) readyJSON(s app.Serving) {
	secure := ""
	if s.Secure != nil {
		secure = s.Secure.String()
	}
	if service.Background() {
		s.Setup = "" // a link has no place in a log
	}
	line, err := json.Marshal(struct {
		Address string `json:"address"`
		Secure  string `json:"https_address,omitzero"`
		URL     string `json:"url"`
		Network string `json:"network,omitzero"`
		Trust   string `json:"trust,omitzero"`
		Setup   string `json:"setup,omitzero"`
	}{s.Addr.String(), secure, s.URL, s.Network, s.Trust, s.Setup})
	if err == nil { // strings have a JSON form
		fmt.Fprintf(p.stdout, "%s\n", line)
	}
}

// newLog makes the log that the configuration describes, of lines that are at least this important.
func newLog(c config.Log, w io.Writer, least slog.Level) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		panic("cli: config let a level pass: " + c.Level)
	}
	o := &slog.HandlerOptions{Level: max(level, least)}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
