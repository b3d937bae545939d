package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"croft/internal/app"
	"croft/internal/config"
	"croft/internal/service"
)

func (p *program) serviceCommand() *cobra.Command {
	return p.group(&cobra.Command{
		Use:   "service",
		Short: "Install Croft as a service of this machine, and look after it",
		Long: `Has the operating system run Croft: from when the machine starts, as a user of its
own, and again whenever it ends. Works with systemd, OpenRC and SysV's init on
Linux, launchd on macOS, and Windows, and needs the rights of an administrator.

On Linux its parts are:

  /usr/local/bin/croft     the program; croft.old beside it is the one before
  /etc/croft/croft.toml    the configuration
  /etc/croft/environment   variables, such as CROFT_HTTPS_DNS_TOKEN; there need be none
  /var/lib/croft           the data file, and copies of it from before upgrades`,
	},
		p.serviceInstallCommand(), p.serviceUninstallCommand(),
		p.serviceActionCommand("start", "Start the server, and wait until it answers", (*service.Service).Start, "Croft runs and answers at %s"),
		p.serviceActionCommand("stop", "Stop the server, until it is started or the machine starts again", (*service.Service).Stop, "Croft is stopped"),
		p.serviceActionCommand("restart", "Stop the server and start it again, as after a change of its configuration", (*service.Service).Restart, "Croft runs again and answers at %s"),
		p.serviceStatusCommand(), p.serviceLogsCommand(), p.serviceUnitCommand())
}

// An installation is this machine's service with the configuration that it has, or gets.
type installation struct {
	*service.Service
	config *config.Config
}

// serverPatience is how long a small server may take to answer after its start. Seconds on a Raspberry Pi; this is when it is busy.
const serverPatience = time.Minute

// installed returns the service of this machine.
func (p *program) installed(cmd *cobra.Command) (*installation, error) {
	for _, name := range []string{"config", "data"} {
		if cmd.Flag(name).Changed {
			return nil, p.usage("--%s says nothing here: the service has its own configuration, %s", name, service.System().Config)
		}
	}
	if err := privileged(cmd); err != nil {
		return nil, err
	}
	layout := service.System()
	cfg, err := serviceConfig(layout)
	if err != nil {
		return nil, err
	}
	return p.installation(layout, cfg)
}

func (p *program) installation(layout service.Layout, cfg *config.Config) (*installation, error) {
	supervisor, err := service.Here()
	if err != nil {
		return nil, err
	}
	return &installation{config: cfg, Service: service.New(service.Options{
		Layout:     layout,
		Supervisor: supervisor,
		User:       service.User,
		DataFile:   cfg.Data,
		Writable:   []string{cfg.BackupFolder()},
		Readable:   readable(cfg),
		Answers:    func(ctx context.Context) error { return answers(ctx, cfg) },
		Patience:   serverPatience,
		Say:        p.say,
	})}, nil
}

// readable are the files that the configuration has the server read.
func readable(cfg *config.Config) (paths []string) {
	h := cfg.HTTPS
	for _, path := range []string{h.Certificate, h.Key, h.DirectoryRoots, h.DNS.TokenFile, h.DNS.Program} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

func privileged(cmd *cobra.Command) error {
	if service.Privileged() {
		return nil
	}
	if runtime.GOOS == "windows" {
		return fmt.Errorf("this needs the rights of an administrator: open a terminal as administrator and run %s there", cmd.CommandPath())
	}
	return fmt.Errorf("this needs the rights of root: sudo %s", cmd.CommandPath())
}

// serviceConfig reads the configuration as the service's server does, or what it is before there is one.
func serviceConfig(layout service.Layout) (*config.Config, error) {
	env, err := serviceEnvironment(layout.Environment)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(layout.Config, false, env, nil)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(cfg.Data) {
		cfg.Data = filepath.Join(layout.Folder, cfg.Data) // the folder that the service is started in
	}
	return cfg, nil
}

// serviceEnvironment reads a file of variables as systemd does, but that a value ends with its line.
func serviceEnvironment(path string) (env []string, err error) {
	text, err := os.ReadFile(path)
	if path == "" || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(name, "#") || strings.HasPrefix(name, ";") {
			continue
		}
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		env = append(env, name+"="+value)
	}
	return env, err
}

// answers asks the server whether it is healthy, as the local operator where that can be.
func answers(ctx context.Context, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	c := localClient(cfg)
	defer c.close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/healthz", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("it can't be asked: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	said := &problem{Title: resp.Status}
	if raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10)); err == nil {
		_ = json.Unmarshal(raw, said) // else the status will do
	}
	if resp.StatusCode == http.StatusInsufficientStorage {
		return fmt.Errorf("%w: %w", service.ErrNoRoom, said)
	}
	return fmt.Errorf("it is not healthy: %w", said)
}

// localClient is a client of the server, whether it runs or not.
func localClient(cfg *config.Config) *client {
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if runtime.GOOS != "windows" {
			return app.DialLocal(ctx, cfg.Data)
		}
		host, port, err := net.SplitHostPort(cfg.Listen)
		if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
			host = "localhost"
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	}}
	return &client{transport: t, close: func() error { t.CloseIdleConnections(); return nil }}
}

// url is where people reach the server: by a name of its certificate, or else by an address of this machine.
func (i *installation) url() string {
	scheme, listen, plain := "http", i.config.Listen, "80"
	if i.config.HTTPS.Mode != config.HTTPSOff {
		scheme, listen, plain = "https", i.config.HTTPS.Listen, "443"
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	ip := net.ParseIP(host)
	switch {
	case i.config.HTTPS.Mode == config.HTTPSACME && len(i.config.HTTPS.Names) > 0:
		host = strings.TrimPrefix(i.config.HTTPS.Names[0], "*.")
	case host == "" || ip != nil && ip.IsUnspecified():
		host = ownAddress()
	}
	if port != plain {
		return scheme + "://" + net.JoinHostPort(host, port)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return scheme + "://" + host
}

// ownAddress is an address of this machine that others in its network can use, or localhost if there is none.
func ownAddress() string {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "localhost"
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return "localhost"
}

// setup is the link that makes the first admin, "" when there is one.
func (i *installation) setup(ctx context.Context) (string, error) {
	c := localClient(i.config)
	defer c.close()
	raw, err := c.call(ctx, http.MethodGet, "/setup", nil)
	if err != nil {
		if runtime.GOOS == "windows" {
			return "", nil // where nobody is known to be the local operator
		}
		return "", err
	}
	var answer struct {
		Token string `json:"setup_token"` // null when it was used
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return "", fmt.Errorf("GET /setup: the answer can't be read: %w", err)
	}
	if answer.Token == "" {
		return "", nil
	}
	return i.url() + "/#setup=" + answer.Token, nil
}

func (p *program) serviceInstallCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "install",
		Short: "Install Croft as a service, or upgrade it",
		Long: `Copies this program to where programs are, makes a user for it and a folder for its
data, has it start with the machine, starts it, and waits until it answers. What
is there already stays: the configuration, and the data.

Run from a newer program it upgrades: it stops the server, copies the data file,
and starts the new one. If that doesn't answer, the old program and, where it is
needed, the data file are put back. The old program and the copy are kept.

Run again, it repairs what was changed. It is also to be run again after the data
file or the folder of backups was moved, since the server may write only there.

--data and --config are for the first time: where the data file is to be, and a
configuration to copy. Whatever fails, nothing is left half done.`,
		Args: cobra.NoArgs,
		RunE: p.run(func(cmd *cobra.Command, _ []string) error {
			if err := privileged(cmd); err != nil {
				return err
			}
			layout := service.System()
			unlock, err := service.Lock(layout)
			if err != nil {
				return err
			}
			defer unlock() // or the end of the process does it
			settings, cfg, err := p.serviceSettings(cmd, layout)
			if err != nil {
				return err
			}
			i, err := p.installation(layout, cfg)
			if err != nil {
				return err
			}
			i.Settings = settings
			if i.Program, err = os.Executable(); err != nil {
				return err
			}
			done, err := i.Install(cmd.Context())
			if err != nil {
				return err
			}
			return p.reportInstalled(cmd.Context(), i, done)
		}),
	}
}

// serviceSettings returns what the configuration file is to hold if there is none yet, and the configuration that the server will have.
func (p *program) serviceSettings(cmd *cobra.Command, layout service.Layout) (text string, cfg *config.Config, err error) {
	_, err = os.Stat(layout.Config)
	exists := err == nil
	if exists {
		for _, name := range []string{"config", "data"} {
			if cmd.Flag(name).Changed {
				return "", nil, p.usage("the service has its configuration already, so --%s says nothing: change %s, and run this again without it", name, layout.Config)
			}
		}
		cfg, err = serviceConfig(layout)
		return "", cfg, err
	}
	if cmd.Flag("config").Changed {
		if cmd.Flag("data").Changed {
			return "", nil, p.usage("--data says nothing beside --config: write it into that file")
		}
		raw, err := os.ReadFile(p.configFile)
		if err != nil {
			return "", nil, err
		}
		given := layout
		given.Config = p.configFile
		cfg, err = serviceConfig(given)
		return string(raw), cfg, err
	}
	if cfg, err = serviceConfig(layout); err != nil {
		return "", nil, err
	}
	cfg.Data = layout.Data()
	if cmd.Flag("data").Changed {
		if cfg.Data, err = filepath.Abs(cmd.Flag("data").Value.String()); err != nil {
			return "", nil, err
		}
	}
	cfg.Listen = ":80"
	return fmt.Sprintf(`# The configuration of Croft's service. "croft config example" shows all that can be set.
# After a change: sudo croft service restart
# When the data file or the folder of backups is another one: sudo croft service install

data = %s
listen = %q
`, strconv.Quote(cfg.Data), cfg.Listen), cfg, nil
}

func (p *program) reportInstalled(ctx context.Context, i *installation, done *service.Done) error {
	link, err := i.setup(ctx)
	if err != nil {
		return fmt.Errorf("the server answers, but it can't be asked for the set-up link: %w", err)
	}
	if p.json {
		raw, err := json.Marshal(struct {
			*service.Done
			Address string `json:"address"`
			Setup   string `json:"setup,omitzero"`
			Data    string `json:"data"`
			Config  string `json:"config"`
		}{done, i.url(), link, i.DataFile, i.Config})
		if err != nil {
			return err
		}
		return p.printJSON(raw)
	}
	switch done.Did {
	case "installed":
		p.say("Installed Croft %s as a service of %s, which starts it with the machine.", done.Version, i.Supervisor)
	case "upgraded":
		p.say("Upgraded Croft to %s.", done.Version)
		if done.Program != "" {
			p.say("The program before it, %s, is kept as %s.", done.Before, done.Program)
		}
		if done.Copy != "" {
			p.say("The data file as it was before is kept as %s.", done.Copy)
		}
	case "repaired":
		p.say("Croft %s is installed already; what was missing or changed is as it should be.", done.Version)
	default:
		p.say("Croft %s is installed already, and all is as it should be.", done.Version)
	}
	p.say("It answers at %s", i.url())
	p.say("Its data file is %s, its configuration %s.", i.DataFile, i.Config)
	p.sayLink(link)
	return nil
}

func (p *program) sayLink(link string) {
	if link != "" {
		p.say("Make the first admin with this link, which works once: %s", link)
		printQR(p.stdout, link)
	}
}

func (p *program) serviceUninstallCommand() *cobra.Command {
	var purge, yes bool
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Take the service and its program away, and keep the data",
		Long: `Stops the server, and takes the service and the program away. The data, the
configuration and the user stay, so that an install finds all as it was. With
--purge they go as well, and can't be had back: all that is in the service's own
folder. A data file or backups that are elsewhere stay, and with them the user.`,
		Args: cobra.NoArgs,
		RunE: p.run(func(cmd *cobra.Command, _ []string) error {
			if yes && !purge {
				return p.usage("--yes is for --purge")
			}
			i, err := p.installed(cmd)
			if _, faulty := errors.AsType[config.Problems](err); faulty {
				// A faulty configuration is no reason to stay.
				cfg := config.Default()
				cfg.Data = service.System().Data()
				i, err = p.installation(service.System(), cfg)
			}
			if err != nil {
				return err
			}
			if purge && !yes {
				files := i.Config
				if i.Environment != "" {
					files += " and " + i.Environment
				}
				fmt.Fprintf(p.stderr, "This deletes all that is in %s, and %s.\n", i.Folder, files)
				if outside := i.Outside(); len(outside) > 0 {
					fmt.Fprintf(p.stderr, "It does not delete %s.\n", strings.Join(outside, " and "))
				}
				fmt.Fprint(p.stderr, "Type purge to go on: ")
				line, err := bufio.NewReader(p.stdin).ReadString('\n')
				if err != nil && err != io.EOF {
					return err
				}
				if strings.TrimSpace(line) != "purge" {
					return errors.New("nothing was changed; --yes is for who can't be asked")
				}
			}
			unlock, err := service.Lock(i.Layout)
			if err != nil {
				return err
			}
			defer unlock() // or the end of the process does it
			if err := i.Uninstall(cmd.Context(), purge); err != nil {
				return err
			}
			kept := i.DataFile
			if _, err := os.Stat(kept); err != nil {
				kept = ""
			}
			if p.json {
				raw, err := json.Marshal(struct {
					Kept string `json:"kept,omitzero"`
				}{kept})
				if err != nil {
					return err
				}
				return p.printJSON(raw)
			}
			if kept != "" {
				p.say("The data file is kept: %s", kept)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "delete the data, the configuration and the user as well")
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask before deleting")
	return cmd
}

func (p *program) serviceActionCommand(name, short string, act func(*service.Service, context.Context) error, said string) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: p.run(func(cmd *cobra.Command, _ []string) error {
			i, err := p.installed(cmd)
			if err != nil {
				return err
			}
			if err := act(i.Service, cmd.Context()); err != nil {
				return err
			}
			if p.json {
				return p.printServiceStatus(cmd.Context(), i)
			}
			if strings.Contains(said, "%s") {
				p.say(said, i.url())
			} else {
				p.say("%s", said)
			}
			return nil
		}),
	}
}

func (p *program) serviceLogsCommand() *cobra.Command {
	var follow bool
	var lines int
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Show the end of the server's log",
		Long: `Shows the end of the server's log. With systemd it is in the journal. Elsewhere it
is the file croft.log in the service's folder. At 10 MiB a new one is begun, on
Windows when the server starts, and the one before is kept as croft.log.old.`,
		Args: cobra.NoArgs,
		RunE: p.run(func(cmd *cobra.Command, _ []string) error {
			switch {
			case lines < 1:
				return p.usage("-n must be 1 or more")
			case p.json:
				return p.usage(`the log has no --json: it is as the server wrote it, which [log] format = "json" can change`)
			}
			i, err := p.installed(cmd)
			if err != nil {
				return err
			}
			return i.Logs(cmd.Context(), p.stdout, lines, follow)
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing what comes, until Ctrl-C")
	cmd.Flags().IntVarP(&lines, "lines", "n", 50, "how many `LINES` to show")
	return cmd
}

// serviceUnitCommand is for who makes packages.
func (p *program) serviceUnitCommand() *cobra.Command {
	var binary string
	cmd := &cobra.Command{
		Use:    "unit",
		Short:  "Print the systemd unit for a package of Croft",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: p.run(func(*cobra.Command, []string) error {
			_, err := io.WriteString(p.stdout, service.PackageUnit(binary))
			return err
		}),
	}
	cmd.Flags().StringVar(&binary, "binary", "/usr/bin/croft", "the `FILE` of the program in the package")
	return cmd
}
