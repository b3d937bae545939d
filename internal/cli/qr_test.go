package cli

import (
	"bytes"
	"strings"
	"testing"

	"rsc.io/qr"
)

// TestQRLines reads the lines back as modules and compares them with the code itself.
func TestQRLines(t *testing.T) {
	for _, text := range []string{
		"http://croft.local",
		"http://192.168.1.20:8080/#setup=croft_setup_" + strings.Repeat("aB3_", 11),
		"https://croft.local/#setup=croft_setup_" + strings.Repeat("x", 43),
		strings.Repeat("long ", maxQR/5),
	} {
		code, err := qr.Encode(text, qr.L)
		if err != nil {
			t.Fatal(err)
		}
		lines := qrLines(text)
		t.Logf("%d bytes: %d modules, %d columns, %d lines", len(text), code.Size, len([]rune(lines[0])), len(lines))
		if want := (code.Size+1)/2 + quietZone; len(lines) != want {
			t.Errorf("%d lines, want %d", len(lines), want)
		}
		for n, line := range lines {
			row := []rune(line)
			if want := code.Size + 2*quietZone; len(row) != want {
				t.Fatalf("line %d is %d columns wide, want %d", n, len(row), want)
			}
			for x, r := range row {
				for half, black := range []bool{r == '█' || r == '▀', r == '█' || r == '▄'} {
					y := 2*n + half
					if want := code.Black(x-quietZone, y-quietZone); black != want {
						t.Fatalf("%q: the module at %d,%d is black: %v", text, x, y, black)
					}
				}
				if !strings.ContainsRune(" █▀▄", r) {
					t.Fatalf("line %d has %q", n, r)
				}
			}
		}
	}
}

func TestQROnlyOnTerminals(t *testing.T) {
	var b bytes.Buffer
	if printQR(&b, "http://croft.local") || b.Len() > 0 {
		t.Errorf("a code was written to what is no terminal: %q", b.String())
	}
}
