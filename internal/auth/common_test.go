package auth

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn/frequency"
)

var update = flag.Bool("update", false, "write common_passwords.bin")

// The embedded file is made from the module's list, and holds all of it that is long enough to be a password here.
func TestCommonPasswords(t *testing.T) {
	var sums []uint32
	for _, p := range frequency.FrequencyLists["passwords"] {
		if utf8.RuneCountInString(p) >= minPassword {
			sums = append(sums, commonSum(strings.ToLower(p)))
		}
	}
	slices.Sort(sums)
	var want []byte
	for _, s := range slices.Compact(sums) {
		want = binary.BigEndian.AppendUint32(want, s)
	}
	if *update {
		if err := os.WriteFile("common_passwords.bin", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, []byte(commonPasswords)) {
		t.Fatalf("common_passwords.bin is not that of the list; run go test ./internal/auth -run TestCommonPasswords -update")
	}
	t.Logf("%d passwords, %d bytes", len(want)/commonLen, len(want))
	for _, p := range frequency.FrequencyLists["passwords"] {
		if utf8.RuneCountInString(p) >= minPassword && !isCommon(strings.ToUpper(p)) {
			t.Errorf("%q is not found", p)
		}
	}
}

func TestPassword(t *testing.T) {
	for _, test := range []struct{ password, email, want string }{
		{"", "ada@example.org", "required"},
		{"short", "ada@example.org", "too_short"},
		{"éééàààè", "ada@example.org", "too_short"}, // 7 characters in 14 bytes
		{"pässwörd-über-alles", "ada@example.org", ""},
		{strings.Repeat("long ", 51) + "!", "ada@example.org", ""}, // 256
		{strings.Repeat("long ", 51) + "!!", "ada@example.org", "too_long"},
		{"bad\xffutf8 text", "ada@example.org", "invalid"},
		{"password", "ada@example.org", "common"},
		{"PassWord", "ada@example.org", "common"},
		{"12345678", "ada@example.org", "common"},
		{"password2026!", "ada@example.org", "common"},
		{"aaaaaaaaaaaa", "ada@example.org", "common"},
		{"ababababab", "ada@example.org", "common"},
		{"ada@example.org", "Ada@example.org", "guessable"},
		{"lovelace1815", "lovelace@example.org", "guessable"},
		{"croftcroft", "ada@example.org", "guessable"},
		{"Croft2026", "ada@example.org", "guessable"},
		{"lovelace and the engine", "lovelace@example.org", ""},
		{"correct horse battery staple", "ada@example.org", ""},
		{"zq8#vLw2", "ada@example.org", ""},
	} {
		var f faults
		f.password("/password", test.password, test.email)
		got := ""
		if len(f) > 0 {
			got = f[0].Code
		}
		if got != test.want {
			t.Errorf("%q: %q, want %q", test.password, got, test.want)
		}
	}
}

func BenchmarkIsCommon(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		isCommon("correct horse battery staple")
	}
}
