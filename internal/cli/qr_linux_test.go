package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"croft/internal/needs"
)

// TestQROnATerminal opens pseudo-terminals: the code is shown where it fits, in black on white, and nowhere else.
func TestQROnATerminal(t *testing.T) {
	const text = "http://192.168.1.20:8080/#setup=croft_setup_0123456789012345678901234567890123456789012"
	for _, c := range []struct {
		name          string
		rows, columns uint16
		term, noColor string
		want          bool
	}{
		{"the usual size", 24, 80, "xterm-256color", "", true},
		{"the console", 25, 80, "linux", "", true},
		{"exactly wide enough", 24, 41, "xterm", "", true},
		{"too narrow", 24, 40, "xterm", "", false},
		{"too low", 20, 80, "xterm", "", false},
		{"dumb", 24, 80, "dumb", "", false},
		{"none", 24, 80, "", "", false},
		{"NO_COLOR", 24, 80, "xterm", "1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("TERM", c.term)
			t.Setenv("NO_COLOR", c.noColor)
			main, terminal := openTerminal(t, c.rows, c.columns)
			read := make(chan string)
			go func() {
				b, _ := io.ReadAll(main) // ends with an error when the terminal is closed
				read <- string(b)
			}()
			shown := printQR(terminal, text)
			terminal.Close()
			got := <-read
			if shown != c.want {
				t.Errorf("shown: %v", shown)
			}
			if !c.want {
				if got != "" {
					t.Errorf("it wrote %q", got)
				}
				return
			}
			lines := strings.Split(strings.TrimSuffix(got, "\r\n"), "\r\n")
			for i, want := range qrLines(text) {
				if i >= len(lines) || lines[i] != qrColours+want+qrReset {
					t.Fatalf("line %d of %d is not as drawn", i, len(lines))
				}
			}
		})
	}
}

func openTerminal(t *testing.T, rows, columns uint16) (main, terminal *os.File) {
	main, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		needs.Skip(t, "there are no pseudo-terminals here: "+err.Error())
	}
	t.Cleanup(func() { main.Close() })
	fd := int(main.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
	return main, terminal
}
