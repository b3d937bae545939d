// Package dns proves to an ACME server that a domain is ours by a TXT record in its zone (DNS-01), for a server without
// open ports and for wildcard names. It makes a certmagic provider from options: one of seven services and servers
// through libdns, or a program of the user's own.
//
// It promises that a token is in no error, log or print of its values, whatever a provider answers; that every call ends
// within a time limit; and that the values of two certificates for one name don't hinder each other at a provider that
// can't tell them apart. It writes no keys.
package dns

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
)

// Options say where the records of a domain are made. They print without the token.
type Options struct {
	Provider string // a name of Providers

	// What the provider wants as proof of who we are, from exactly one place; none for "program". It is one word, but for
	// porkbun "KEY SECRET" and for rfc2136 "NAME [ALGORITHM] SECRET" or a BIND key file's text.
	Token     string `json:"-"`
	TokenFile string // a file that nobody else may read

	Server  string // rfc2136: the primary server, host:port
	Program string // program: its path

	// Whom to ask for the zone and whether the record is there yet, host:port. With none the system's resolvers find the
	// zone and its own servers are asked for the record.
	Resolvers []string
}

// Format keeps the token out of whatever prints options, with any verb.
func (o Options) Format(w fmt.State, _ rune) {
	token := ""
	if o.Token != "" {
		token = "…"
	}
	_, _ = io.WriteString(w, fmt.Sprintf("{Provider:%s Token:%s TokenFile:%s Server:%s Program:%s Resolvers:%s}",
		o.Provider, token, o.TokenFile, o.Server, o.Program, strings.Join(o.Resolvers, ",")))
}

// Providers returns the names of all providers.
func Providers() []string {
	names := make([]string, len(kinds))
	for i := range kinds {
		names[i] = kinds[i].name
	}
	return names
}

// New returns the provider of the options, or an error that says which of them to change. Nothing is asked of the network.
func New(o Options) (certmagic.DNSProvider, error) { return open(o) }

// propagation is how long a record may take from the provider's answer to all its name servers. The slow ones (DuckDNS,
// Porkbun) are seen within 3 minutes as a rule; a longer wait costs nothing but the wait.
const propagation = 5 * time.Minute

// Solver returns what certmagic solves DNS-01 challenges by. Its Logger is the caller's to set.
func Solver(o Options) (*certmagic.DNS01Solver, error) {
	p, err := open(o)
	if err != nil {
		return nil, err
	}
	var resolvers []string
	for _, r := range o.Resolvers {
		a, err := address(r)
		if err != nil {
			return nil, fmt.Errorf("[https.dns] resolvers: %w", err)
		}
		resolvers = append(resolvers, a)
	}
	return &certmagic.DNS01Solver{DNSManager: certmagic.DNSManager{
		DNSProvider:        p,
		TTL:                p.kind.ttl,
		PropagationDelay:   p.kind.settle,
		PropagationTimeout: propagation,
		Resolvers:          resolvers,
	}}, nil
}

func open(o Options) (*provider, error) {
	k, err := find(o.Provider)
	if err != nil {
		return nil, err
	}
	for _, only := range []struct{ key, value, of string }{{"server", o.Server, "rfc2136"}, {"program", o.Program, "program"}} {
		if (only.value == "") == (k.name == only.of) {
			if k.name == only.of {
				return nil, fmt.Errorf("[https.dns] provider %q needs %s", k.name, only.key)
			}
			return nil, fmt.Errorf("[https.dns] %s is for provider %q alone, and the provider is %q: remove it", only.key, only.of, k.name)
		}
	}
	token, err := o.token(k)
	if err != nil {
		return nil, err
	}
	inner, secrets, err := k.open(o, token)
	if err != nil {
		return nil, fmt.Errorf("[https.dns] provider %q: %w", k.name, err)
	}
	return &provider{kind: k, inner: inner, redact: redactor(append(secrets, token))}, nil
}

func find(name string) (*kind, error) {
	if name == "" {
		return nil, fmt.Errorf("[https.dns] provider is missing: one of %s", strings.Join(Providers(), ", "))
	}
	// At most a third of the letters wrong: a slip, not another word.
	near, least := "", 1+max(1, len(name)/3)
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i], nil
		}
		if d := distance(strings.ToLower(name), kinds[i].name); d < least {
			near, least = fmt.Sprintf("; did you mean %q?", kinds[i].name), d
		}
	}
	return nil, fmt.Errorf("[https.dns] provider %.40q is unknown: the known ones are %s%s", name, strings.Join(Providers(), ", "), near)
}

// distance counts the letters to insert, delete or replace to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// address completes a DNS server's address by port 53.
func address(s string) (string, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return net.JoinHostPort(ip.String(), "53"), nil
	}
	if s != "" && !strings.ContainsAny(s, ": \t") {
		return s + ":53", nil
	}
	host, port, err := net.SplitHostPort(s)
	if n, numeric := strconv.ParseUint(port, 10, 16); err != nil || numeric != nil || host == "" || n == 0 {
		return "", fmt.Errorf("%.100q is no address of a DNS server: write it as 192.0.2.53:53 or ns1.example.org:53", s)
	}
	return s, nil
}
