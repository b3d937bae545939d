package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"unicode"
)

// printJSON prints the API's answer as it is, indented for reading.
func (p *program) printJSON(raw []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return fmt.Errorf("the server's answer is not JSON: %w", err)
	}
	out.WriteByte('\n')
	_, err := out.WriteTo(p.stdout)
	return err
}

// table prints rows under a heading, in columns. No rows print none, in words, to standard error.
func (p *program) table(none string, heading []string, rows [][]string) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(p.stderr, none)
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{heading}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = oneLine(cell)
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// say prints a sentence about what was done; with --json it prints nothing.
func (p *program) say(format string, args ...any) {
	if !p.json {
		fmt.Fprintln(p.stdout, printable(fmt.Sprintf(format, args...)))
	}
}

// oneLine is a cell of a table: printable, without line breaks, a dash when it is empty.
func oneLine(s string) string {
	if s == "" {
		return "-"
	}
	return strings.ReplaceAll(printable(s), "\n", "\uFFFD")
}

// printable replaces what a terminal would act on: users choose their own names, and a name must
// not move the cursor or set the title of an admin's window.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}
