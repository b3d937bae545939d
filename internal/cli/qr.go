package cli

import (
	"bytes"
	"io"
	"os"
	"runtime"
	"strings"
	"unicode/utf8"

	"github.com/mdp/qrterminal/v3"
	"golang.org/x/term"
)

// Black on white, whatever the terminal's own colours: a phone's camera may not read the inverse. The plain white before the bright one
// is for terminals that know eight colours.
const (
	qrColours = "\x1b[30;47;107m"
	qrReset   = "\x1b[0m"
)

// quietZone is how many white modules stand around the code. The standard wants four; two are read as well, and let the set-up link fit
// into 24 lines. It is even, as two rows make one line.
const quietZone = 2

// maxQR is the most bytes of a text: it makes a code of 81 columns and 41 lines, and a larger one fits hardly any terminal.
const maxQR = 512

// printQR shows text as a QR code for a phone's camera, and tells whether it did: w must be a terminal that has room and colours.
func printQR(w io.Writer, text string) (shown bool) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || !hasColours() || len(text) > maxQR {
		return false
	}
	lines := qrLines(text)
	width, height, err := term.GetSize(int(file.Fd()))
	if err != nil || width < utf8.RuneCountInString(lines[0]) || height < len(lines) {
		return false
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(qrColours + line + qrReset + "\n")
	}
	_, err = io.WriteString(w, b.String())
	return err == nil
}

func hasColours() bool {
	if os.Getenv("NO_COLOR") != "" {
		return false
	}
	if runtime.GOOS == "windows" {
		return os.Getenv("WT_SESSION") != "" // Windows Terminal; the old console shows the codes of colours as text
	}
	t := os.Getenv("TERM")
	return t != "" && t != "dumb"
}

// qrLines draws a code with two rows of modules in each line: full and half blocks are black, on white.
func qrLines(text string) []string {
	var b bytes.Buffer
	qrterminal.GenerateWithConfig(text, qrterminal.Config{
		Level: qrterminal.L, Writer: &b, HalfBlocks: true, QuietZone: quietZone,
		BlackChar: "█", BlackWhiteChar: "▀", WhiteBlackChar: "▄", WhiteChar: " ",
	})
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	// qrterminal ends with half a line of white above the terminal's own background, which it takes for black.
	last := len(lines) - 1
	lines[last] = strings.Repeat(" ", utf8.RuneCountInString(lines[last]))
	return lines
}
