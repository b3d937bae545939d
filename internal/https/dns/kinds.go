package dns

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/cloudflare"
	"github.com/libdns/desec"
	"github.com/libdns/duckdns"
	"github.com/libdns/gandi"
	"github.com/libdns/hetzner/v2"
	"github.com/libdns/porkbun"
	"github.com/libdns/rfc2136"
)

// A kind is a service or a way by which records are made.
type kind struct {
	name  string        // as in the config
	title string        // as people know it
	ttl   time.Duration // of the record; the shortest that it takes
	// How long its name servers take to agree, as a rule: certmagic is content when one of them has the record, and the authority may ask
	// another. For deSEC it is what its plugin for certbot waits.
	settle time.Duration

	// Whether it can hold, or take back, only one TXT value for a name.
	single bool
	// Whether its library heeds no context, so that a call can't be stopped, only left.
	deaf bool

	hint string // what to look at when it fails
	open func(o Options, token string) (p certmagic.DNSProvider, secrets []string, err error)
}

var kinds = []kind{
	{
		name: "cloudflare", title: "Cloudflare", ttl: time.Minute, settle: 30 * time.Second,
		hint: "The token needs the permissions Zone / Zone / Read and Zone / DNS / Edit for this zone (an API token, not the global API key).",
		open: word(func(token string) certmagic.DNSProvider { return &cloudflare.Provider{APIToken: token} }),
	}, {
		name: "desec", title: "deSEC", ttl: time.Hour, settle: 80 * time.Second, // the least for a new account
		hint: "The token must be valid, allow this machine's address, and have write permission for this domain's TXT records.",
		open: word(func(token string) certmagic.DNSProvider { return &desec.Provider{Token: token} }),
	}, {
		// One TXT value for a domain, whatever is asked: a second one replaces the first.
		name: "duckdns", title: "Duck DNS", ttl: time.Minute, settle: 30 * time.Second, single: true,
		hint: "The token is at the top of www.duckdns.org when you are signed in, and the domain must be one of that account's.",
		open: func(_ Options, token string) (certmagic.DNSProvider, []string, error) {
			if len(token) != 36 {
				return nil, nil, errors.New("a Duck DNS token is a UUID of 36 characters, and this one is not: copy it again from www.duckdns.org")
			}
			return &duckdns.Provider{APIToken: token}, nil, nil
		},
	}, {
		name: "hetzner", title: "Hetzner", ttl: time.Minute, settle: 30 * time.Second,
		hint: "The token must be an API token of Hetzner Console with the permission Read & Write, made in the project that the zone is in; one of the old dns.hetzner.com is none.",
		open: word(func(token string) certmagic.DNSProvider { return hetzner.New(token) }),
	}, {
		// Its library doesn't find a value again that stands beside others.
		name: "gandi", title: "Gandi", ttl: 5 * time.Minute, settle: 30 * time.Second, single: true,
		hint: "The token must be a personal access token with the permission to manage this domain's technical configuration, and not expired.",
		open: word(func(token string) certmagic.DNSProvider { return &gandi.Provider{BearerToken: token} }),
	}, {
		// Its library takes back all TXT values of the name.
		name: "porkbun", title: "Porkbun", ttl: 10 * time.Minute, settle: 30 * time.Second, single: true, deaf: true,
		hint: "API access must be on for this domain, and the token must be the API key and the secret key: pk1_… sk1_…",
		open: func(_ Options, token string) (certmagic.DNSProvider, []string, error) {
			w := strings.Fields(token)
			if len(w) != 2 {
				return nil, nil, fmt.Errorf("its token is two words, the API key and the secret key (pk1_… sk1_…); this one has %d", len(w))
			}
			return &porkbun.Provider{APIKey: w[0], APISecretKey: w[1]}, w, nil
		},
	}, {
		name: "rfc2136", title: "The DNS server", ttl: time.Minute,
		open: func(o Options, token string) (certmagic.DNSProvider, []string, error) {
			key, err := parseTSIG(token)
			if err != nil {
				return nil, nil, err
			}
			server, err := address(o.Server)
			if err != nil {
				return nil, nil, fmt.Errorf("server: %w", err)
			}
			return updates{&rfc2136.Provider{KeyName: key.name, KeyAlg: key.algorithm, Key: key.secret, Server: server}}, []string{key.secret}, nil
		},
	}, {
		// A short script sets a record, and forgets that there may be another.
		name: "program", title: "The program", ttl: time.Minute, single: true,
		open: func(o Options, _ string) (certmagic.DNSProvider, []string, error) {
			p, err := newProgram(o.Program)
			return p, nil, err
		},
	},
}

// word opens a provider whose token is one word.
func word(open func(token string) certmagic.DNSProvider) func(Options, string) (certmagic.DNSProvider, []string, error) {
	return func(_ Options, token string) (certmagic.DNSProvider, []string, error) {
		if strings.ContainsAny(token, " \t\r\n") {
			return nil, nil, errors.New("its token is one word, and this one has spaces or several lines: copy the token alone")
		}
		return open(token), nil, nil
	}
}
