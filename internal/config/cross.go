package config

import (
	"fmt"
	"net"
	"strings"
)

// crossCheck tests what only several values together can break.
func (c *Config) crossCheck() Problems {
	var problems Problems
	if c.Auth.SessionIdle > c.Auth.SessionMax {
		problems = append(problems, c.conflict(fmt.Sprintf("%s is longer than auth.session_max, %s; a session would never end by idling, so raise one or lower the other",
			formatDuration(c.Auth.SessionIdle), formatDuration(c.Auth.SessionMax)), "auth.session_idle", "auth.session_max"))
	}
	if _, port, _ := net.SplitHostPort(c.HTTPS.Listen); c.HTTPS.Mode != HTTPSOff && c.HTTPS.Listen == c.Listen && port != "0" {
		problems = append(problems, c.conflict(fmt.Sprintf("%s is where plain HTTP is answered (listen); take another port for one of the two", c.HTTPS.Listen), "https.listen", "listen"))
	}
	switch c.HTTPS.Mode {
	case HTTPSACME:
		problems = append(problems, c.checkACME()...)
	case HTTPSFiles:
		for _, f := range []struct{ key, value, what string }{
			{"https.certificate", c.HTTPS.Certificate, "the PEM file of the certificate"},
			{"https.key", c.HTTPS.Key, "the PEM file of its private key"},
		} {
			if f.value == "" {
				problems = append(problems, c.conflict(fmt.Sprintf("mode files needs it: name %s", f.what), f.key, "https.mode"))
			}
		}
	case HTTPSLocal:
		for _, name := range c.HTTPS.Names {
			if strings.HasPrefix(name, "*.") {
				problems = append(problems, c.conflict(fmt.Sprintf("%q: there are no wildcards in mode local; list each name", name), "https.names"))
			}
		}
	}
	return problems
}

func (c *Config) checkACME() Problems {
	var problems Problems
	h := &c.HTTPS
	if len(h.Names) == 0 {
		problems = append(problems, c.conflict(`mode acme needs the domains to get certificates for, such as ["croft.example.org"]`, "https.names", "https.mode"))
	}
	for _, name := range h.Names {
		if strings.HasPrefix(name, "*.") && h.Challenge != "dns" {
			problems = append(problems, c.conflict(fmt.Sprintf(`%q: authorities give certificates for a wildcard only by challenge = "dns"`, name), "https.names"))
		}
	}
	d := &h.DNS
	const provider = "https.dns.provider"
	if h.Challenge != "dns" {
		if d.Provider != "" {
			problems = append(problems, c.conflict(`challenge is http, which asks no DNS provider; set challenge = "dns" in [https], or leave the provider out`, provider))
		}
		return problems
	}
	switch {
	case d.Provider == "":
		problems = append(problems, c.conflict("challenge dns needs to know who keeps the domain's DNS; docs/dns.md lists them", provider, "https.challenge"))
	case d.Provider == "program":
		if d.Program == "" {
			problems = append(problems, c.conflict("provider program needs the program to run", "https.dns.program", provider))
		}
	case d.Token == "" && d.TokenFile == "":
		problems = append(problems, c.conflict(fmt.Sprintf("provider %s needs a token: put it into a file of mode 0600 and name that here, or into %s", d.Provider, EnvName("https.dns.token")), "https.dns.token_file", provider))
	case d.Token != "" && d.TokenFile != "":
		problems = append(problems, c.conflict(fmt.Sprintf("%s gives the token already; use one of the two", EnvName("https.dns.token")), "https.dns.token_file"))
	}
	if d.Provider == "rfc2136" && d.Server == "" {
		problems = append(problems, c.conflict("provider rfc2136 needs the name server to send updates to, as host:port", "https.dns.server", provider))
	}
	return problems
}

// conflict is what is wrong with the first of the keys. It stands where that one was given, or else the next.
func (c *Config) conflict(reason string, keys ...string) Problem {
	p := Problem{source: SourceDefault, Where: keys[0], Reason: reason}
	for _, key := range keys {
		o, given := c.origins[key]
		if !given {
			continue
		}
		p.source, p.Where = o.source, o.where
		if p.source == SourceFile || key != keys[0] {
			p.Key = keys[0]
		}
		break
	}
	return p
}
