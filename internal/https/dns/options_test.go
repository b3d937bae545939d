package dns_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"croft/internal/https/dns"
	"croft/internal/needs"
)

func TestOptions(t *testing.T) {
	const uuid = "8a1b2c3d-1111-2222-3333-444455556666"
	key := keyName + " " + keySecret
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    dns.Options
		want string // in the error; "" for none
	}{
		{dns.Options{Provider: "cloudflare", Token: "abc"}, ""},
		{dns.Options{Provider: "cloudflare", TokenFile: file("abc\r\n")}, ""},
		{dns.Options{Provider: "duckdns", Token: uuid + "\n"}, ""},
		{dns.Options{Provider: "porkbun", TokenFile: file("pk1_a\nsk1_b\n")}, ""},
		{dns.Options{Provider: "rfc2136", Token: key, Server: "127.0.0.1"}, ""},
		{dns.Options{Provider: "rfc2136", Token: keyName + ". HMAC-SHA512. " + keySecret, Server: "[::1]:5353"}, ""},
		{dns.Options{Provider: "rfc2136", Token: `/* a */ key k { secret ` + keySecret + `; algorithm hmac-sha1; }; // b`, Server: "ns.example.org"}, ""},
		{dns.Options{Provider: "program", Program: self}, ""},

		{dns.Options{}, "provider is missing: one of cloudflare, desec, duckdns, hetzner, gandi, porkbun, rfc2136, program"},
		{dns.Options{Provider: "Cloudfare"}, `did you mean "cloudflare"?`},
		{dns.Options{Provider: "route53"}, "the known ones are cloudflare, "},
		{dns.Options{Provider: "desec"}, "set CROFT_HTTPS_DNS_TOKEN, or token_file"},
		{dns.Options{Provider: "desec", Token: "abc", TokenFile: file("abc")}, "remove one of them"},
		{dns.Options{Provider: "desec", Token: "  \n"}, "CROFT_HTTPS_DNS_TOKEN is empty"},
		{dns.Options{Provider: "desec", TokenFile: file("\n")}, "is empty"},
		{dns.Options{Provider: "desec", Token: "s3cret word"}, "one word"},
		{dns.Options{Provider: "desec", Token: "s3cret\x00"}, "characters that no token has"},
		{dns.Options{Provider: "desec", TokenFile: filepath.Join(t.TempDir(), "none")}, "there is no file"},
		{dns.Options{Provider: "desec", TokenFile: t.TempDir()}, "is not a file"},
		{dns.Options{Provider: "desec", TokenFile: file(strings.Repeat("s3cret", 1<<14))}, "longer than any token"},
		{dns.Options{Provider: "desec", Token: "abc", Server: "127.0.0.1"}, `server is for provider "rfc2136" alone`},
		{dns.Options{Provider: "desec", Token: "abc", Program: self}, `program is for provider "program" alone`},
		{dns.Options{Provider: "desec", Token: "abc", Resolvers: []string{"a b"}}, "no address of a DNS server"},
		{dns.Options{Provider: "duckdns", Token: "s3cret"}, "36 characters"},
		{dns.Options{Provider: "porkbun", Token: "pk1_s3cret"}, "two words"},
		{dns.Options{Provider: "rfc2136", Token: key}, "needs server"},
		{dns.Options{Provider: "rfc2136", Token: key, Server: "::1:x:"}, "no address of a DNS server"},
		{dns.Options{Provider: "rfc2136", Token: "s3cret", Server: "::1"}, "this one has 1 words"},
		{dns.Options{Provider: "rfc2136", Token: "name s3cret!", Server: "::1"}, "not base64"},
		{dns.Options{Provider: "rfc2136", Token: "name hmac-md5 " + keySecret, Server: "::1"}, "none of hmac-sha256"},
		{dns.Options{Provider: "rfc2136", Token: "key a { algorithm hmac-sha256; };", Server: "::1"}, "lacks the algorithm or the secret"},
		{dns.Options{Provider: "rfc2136", Token: "key a { s3cret", Server: "::1"}, "this one has 0"},
		{dns.Options{Provider: "program"}, "needs program"},
		{dns.Options{Provider: "program", Program: self, Token: "s3cret"}, "takes no token"},
		{dns.Options{Provider: "program", Program: filepath.Join(t.TempDir(), "none")}, "can't be run"},
	} {
		_, err := dns.Solver(c.o)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%v: %v", c.o, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%v: want %q: %v", c.o, c.want, err)
		case err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), keySecret)):
			t.Errorf("%v: the token is in %v", c.o, err)
		}
	}
}

func TestTokenFileOfOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has access lists, no modes")
	}
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := dns.Options{Provider: "desec", TokenFile: path}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o620, 0o610} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := dns.New(o); err == nil || !strings.Contains(err.Error(), "run: chmod 600 "+path) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := dns.New(o); err != nil {
		t.Errorf("mode 0400: %v", err)
	}
	t.Run("owner", func(t *testing.T) {
		needs.Root(t)
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if _, err := dns.New(o); err == nil || !strings.Contains(err.Error(), "run: chown 0 "+path) {
			t.Errorf("of another user: %v", err)
		}
	})
}
