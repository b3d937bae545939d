package cli

import (
	"testing"
	"time"
)

func TestParseExpiry(t *testing.T) {
	now := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"90d":                       now.AddDate(0, 0, 90),
		"12h":                       now.Add(12 * time.Hour),
		"2027-01-31":                time.Date(2027, 1, 31, 0, 0, 0, 0, time.Local),
		"2027-01-31T10:00:00+01:00": time.Date(2027, 1, 31, 9, 0, 0, 0, time.UTC),
		"soon":                      {},
		"-1d":                       {},
		"0h":                        {},
		"2027-02-30":                {},
		"":                          {},
	} {
		got, err := parseExpiry(text, now)
		if !got.Equal(want) || (err != nil) != want.IsZero() {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParseScope(t *testing.T) {
	for text, want := range map[string]string{
		"notes:read":              "notes:read",
		"shop.orders:read,create": "shop.orders:read,create",
		"*:read":                  "*:read",
		"notes":                   "",
		"notes:":                  "",
		":read":                   "",
	} {
		got, err := parseScope(text)
		if err == nil && got.String() != want || err != nil && want != "" {
			t.Errorf("%q: %v, %v; want %q", text, got, err, want)
		}
	}
}

// TestPrintable: what users chose themselves can't steer the terminal of an admin.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"Ann":                 "Ann",
		"Zoë 🦊":               "Zoë 🦊",
		"\x1b]0;title\x07Ann": "\uFFFD]0;title\uFFFDAnn",
		"a\u202eb\u009b31mc":  "a\uFFFDb\uFFFD31mc",
		"a\tb":                "a\uFFFDb",
		"bad \xff byte":       "bad \uFFFD byte",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := oneLine("a\nb"); got != "a\uFFFDb" {
		t.Errorf("a line break in a cell: %q", got)
	}
	if got := oneLine(""); got != "-" {
		t.Errorf("an empty cell: %q", got)
	}
}
