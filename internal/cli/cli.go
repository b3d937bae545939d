// Package cli is the command line: croft serve, and the commands that look after its data.
//
// A command that works on data is a call of the HTTP API, made as the local operator: over the
// socket beside the data file while a server has it open, in this process otherwise (client.go). So
// a command can do nothing that the API can't, and says the same words when it is refused. The
// package writes no keys and knows no store.
//
// It promises: exit codes 0, 1 and 2 as exitCodes says; results on standard output and all else on
// standard error; with --json nothing on standard output but JSON; and never a password in an
// argument, a variable or a message.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"croft/internal/config"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

const exitCodes = `How croft ends:

  0  it did what it was asked
  1  it failed, or was refused: the message says why
  2  the command line or the configuration is wrong: nothing was begun`

// A program is one run of croft.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            []string

	configFile string // --config
	json       bool   // --json
	begun      bool   // a command's own code runs: what fails from here on is not the usage
}

// Main runs the command that args (without the program's name) ask for, and returns its exit code.
// It ends early when ctx is cancelled. env is as os.Environ gives it.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr, env: env}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return p.report(cmd, err)
}

func (p *program) root() *cobra.Command {
	root := p.group(&cobra.Command{
		Use:   "croft",
		Short: "A backend of your own in one binary and one file",
		Long: `Croft gives your apps accounts, data and access rules over HTTP, and keeps all of
it in one file. "croft serve" starts it; the other commands look after it, while
it runs and while it does not.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	},
		p.serveCommand(),
		p.userCommand(),
		p.tokenCommand(),
		p.collectionCommand(),
		p.checkCommand(),
		p.backupCommand(),
		p.backupsCommand(),
		p.restoreCommand(),
		p.compactCommand(),
		p.salvageCommand(),
		p.serviceCommand(),
		p.httpsCommand(),
		p.configCommand(),
		p.versionCommand(),
		&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodes},
	)
	flags := root.PersistentFlags()
	flags.StringVar(&p.configFile, "config", "", "the configuration `FILE` (default croft.toml, if there is one)")
	flags.String("data", "", "the data `FILE` (default croft.db)")
	flags.BoolVar(&p.json, "json", false, "print JSON, for programs")
	return root
}

// group makes a command that only holds others. Cobra would answer a subcommand that does not exist
// with the help text and success.
func (p *program) group(cmd *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		text := fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0])
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return errors.New(text)
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(commands...)
	return cmd
}

// run marks where the command line is understood and the work begins.
func (p *program) run(work func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		p.begun = true
		return work(cmd, args)
	}
}

// usage is an error of the command line that only the command itself can find.
func (p *program) usage(format string, args ...any) error {
	p.begun = false
	return fmt.Errorf(format, args...)
}

// report says what went wrong, if anything did, and returns the exit code.
func (p *program) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		for _, problem := range problems {
			fmt.Fprintf(p.stderr, "croft: %s\n", printable(problem.String()))
		}
		return exitUsage
	}
	if !p.begun {
		fmt.Fprintf(p.stderr, "croft: %s\nRun \"%s --help\" to see how it is used.\n", printable(err.Error()), cmd.CommandPath())
		return exitUsage
	}
	if refused, ok := errors.AsType[*problem](err); ok {
		fmt.Fprintf(p.stderr, "croft: %s\n", printable(err.Error()))
		for _, line := range refused.lines() {
			fmt.Fprintf(p.stderr, "  %s\n", printable(line))
		}
		return exitFailed
	}
	fmt.Fprintf(p.stderr, "croft: %s\n", printable(err.Error()))
	return exitFailed
}

// config reads the configuration with the flags of cmd that are settings.
func (p *program) config(cmd *cobra.Command) (*config.Config, error) {
	given := map[string]string{}
	for _, key := range []string{"data", "listen", "https.mode", "https.listen"} {
		if flag := cmd.Flag(strings.TrimPrefix(config.FlagName(key), "--")); flag != nil && flag.Changed {
			given[key] = flag.Value.String()
		}
	}
	file, explicit := config.DefaultFile, false
	if cmd.Flag("config").Changed {
		file, explicit = p.configFile, true
	}
	return config.Load(file, explicit, p.env, given)
}
