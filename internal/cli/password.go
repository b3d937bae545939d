package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// maxPasswordLine is more than the longest password (256 characters of 4 bytes) takes.
const maxPasswordLine = 4096

// readPassword asks for a new password on the terminal, twice and without showing it, or takes the
// first line of standard input when that is no terminal.
func (p *program) readPassword(ctx context.Context, email string) (string, error) {
	file, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(p.stdin, maxPasswordLine)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password from standard input: %w", err)
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" {
			return "", errors.New("there is no password on standard input; give it as the first line, or run this on a terminal to be asked")
		}
		return line, nil
	}
	first, err := p.ask(ctx, file, "New password for "+printable(email)+": ")
	if err != nil {
		return "", err
	}
	again, err := p.ask(ctx, file, "The same again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", errors.New("the two passwords differ; nothing was changed, try again")
	}
	return first, nil
}

// ask reads one hidden line. Ctrl-C cancels ctx instead of ending the process, so the read is left
// behind then, and the terminal put back as it was.
func (p *program) ask(ctx context.Context, terminal *os.File, prompt string) (string, error) {
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read the state of the terminal: %w", err)
	}
	fmt.Fprint(p.stderr, prompt)
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		answered <- answer{text, err}
	}()
	select {
	case a := <-answered:
		fmt.Fprintln(p.stderr)
		if a.err != nil {
			return "", fmt.Errorf("read the password: %w", a.err)
		}
		return string(a.text), nil
	case <-ctx.Done():
		fmt.Fprintln(p.stderr)
		return "", errors.Join(errors.New("stopped; nothing was changed"), term.Restore(fd, before))
	}
}

// confirm asks before something is lost for good. Without a terminal nobody can be asked, so --yes
// must say it.
func (p *program) confirm(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	file, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return p.usage("%s Say --yes to do it", question)
	}
	fmt.Fprintf(p.stderr, "%s [y/N] ", printable(question))
	answered := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(file, maxPasswordLine)).ReadString('\n') // an end or a failure is no yes
		answered <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case line := <-answered:
		if line == "y" || line == "yes" {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(p.stderr)
	}
	return errors.New("stopped; nothing was changed")
}
