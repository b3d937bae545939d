package https

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"croft/internal/store"
)

func TestExplain(t *testing.T) {
	now := time.Date(2027, 11, 20, 9, 30, 0, 0, time.UTC)
	problem := func(kind, detail string) error {
		return fmt.Errorf("[a.example.org] solving: %w", acme.Problem{Type: acme.ProblemTypeNamespace + kind, Status: 400, Detail: detail})
	}
	network := func(err error) error {
		return fmt.Errorf("performing request: %w", &url.Error{Op: "Get", URL: "https://acme.example.net/dir", Err: err})
	}
	old := &x509.Certificate{NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(-1, 3, 0)}
	const minute = time.Minute
	for _, test := range []struct {
		name   string
		err    error
		want   []string
		pauses []time.Duration // after the first, second … failure
	}{
		{"no DNS", problem("dns", "NXDOMAIN looking up A"), []string{"a.example.org isn't in DNS", "public address", "acme.example.net says: NXDOMAIN looking up A"}, []time.Duration{10 * minute, 20 * minute, 40 * minute, 60 * minute, 60 * minute}},
		{"no way in", problem("connection", "Timeout during connect"), []string{"reachable from the internet", "router", "https.challenge to dns", "Timeout"}, nil},
		{"somebody else", problem("unauthorized", "Invalid response: 404"), []string{"somebody else", "404"}, nil},
		{"CAA", problem("caa", "CAA record forbids"), []string{"CAA"}, nil},
		{"refused", problem("rejectedIdentifier", "policy forbids"), []string{"gives no certificates for a.example.org", "policy forbids"}, nil},
		{"too often", problem("rateLimited", "too many certificates"), []string{"too often", "Croft waits"}, []time.Duration{60 * minute}},
		{"e-mail", problem("invalidContact", "bad domain"), []string{"https.email"}, nil},
		{"external account", problem("externalAccountRequired", ""), []string{"https.directory", "status 400"}, nil},
		{"its own trouble", problem("serverInternal", "oops"), []string{"trouble of its own"}, nil},
		{"unknown", problem("badCSR", "no\x1b[31m good\nCSR."), []string{"(badCSR, acme.example.net says: no [31m good CSR)"}, nil},
		{"nobody there", network(&net.OpError{Op: "dial", Err: errors.New("connect: connection refused")}), []string{"acme.example.net can't be reached", "refused", "internet connection"},
			[]time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second}},
		{"no name server", network(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "acme.example.net"}}), []string{"can't be found", "name servers"}, nil},
		{"clock", network(x509.CertificateInvalidError{Cert: old, Reason: x509.Expired}), []string{"clock shows 2027-11-20 09:30 UTC", "valid from 2026-11-20 to 2027-02-20"}, nil},
		{"own clock", &clockError{"the clock"}, []string{"the clock"}, []time.Duration{60 * minute}},
		{"not trusted", network(x509.UnknownAuthorityError{}), []string{"can't be trusted", "https.directory_roots"}, nil},
		{"too slow", fmt.Errorf("poll: %w", context.DeadlineExceeded), []string{"too long"}, nil},
		{"disk", fmt.Errorf("x: %w", store.ErrDiskFull), []string{"the disk is full"}, nil},
		{"DNS token", fmt.Errorf("presenting: %w", &dnsError{"_acme-challenge.a.example.org", false, errors.New("status 403")}), []string{"_acme-challenge.a.example.org can't be set: status 403", "token"}, []time.Duration{10 * minute}},
		{"DNS not seen", fmt.Errorf("waiting: %w", &dnsError{"_acme-challenge.a.example.org", true, errors.New("timed out")}), []string{"was set, but can't be seen", "https.dns.resolvers"}, nil},
		{"anything", errors.New(strings.Repeat("x", 1000)), []string{"no certificate for a.example.org", "x …"}, nil},
	} {
		text := explain(test.err, "a.example.org", "https://acme.example.net/dir", now)
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q lacks %q", test.name, text, want)
			}
		}
		if strings.ContainsAny(text, "\n\x1b") || len(text) > 1200 {
			t.Errorf("%s: %q is no line for people", test.name, text)
		}
		for i, want := range test.pauses {
			if got := pause(test.err, i+1); got != want {
				t.Errorf("%s: the pause after failure %d is %v, want %v", test.name, i+1, got, want)
			}
		}
		if got := pause(test.err, 1000); got <= 0 || got > maxPause {
			t.Errorf("%s: the pause after many failures is %v", test.name, got)
		}
	}
}
