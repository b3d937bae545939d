package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHTTPS(t *testing.T) {
	c, err := load(t, `
[https]
mode = "acme"
names = ["example.org", "*.example.org"]
challenge = "dns"
[https.dns]
provider = "desec"
resolvers = []
[proxy]
trusted = ["127.0.0.1", "fd00::/8"]
`, []string{"CROFT_HTTPS_DNS_TOKEN=the-secret", "CROFT_HTTPS_DNS_RESOLVERS=9.9.9.9:53, [::1]:53"}, map[string]string{"https.listen": ":8443"})
	if err != nil {
		t.Fatal(err)
	}
	want := HTTPS{
		Mode: "acme", Listen: ":8443", Names: []string{"example.org", "*.example.org"}, Challenge: "dns",
		Directory: Default().HTTPS.Directory,
		DNS:       DNS{Provider: "desec", Token: "the-secret", Resolvers: []string{"9.9.9.9:53", "[::1]:53"}},
	}
	if diff := cmp.Diff(want, c.HTTPS); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.Listen != ":80" {
		t.Errorf("plain HTTP at %s, want :80, which leads to HTTPS", c.Listen)
	}
	for _, s := range c.Show() {
		if strings.Contains(s.Text(), "the-secret") {
			t.Errorf("%s shows the token", s.Key)
		}
		if s.Key == "https.dns.token" && s.Text() != "(given)" {
			t.Errorf("the token shows as %q", s.Text())
		}
	}

	c, err = load(t, `listen = ":8080"`, nil, map[string]string{"https.mode": "local"})
	if err != nil || c.Listen != ":8080" {
		t.Errorf("an address that was asked for became %s (%v)", c.Listen, err)
	}
}

func TestHTTPSRefuses(t *testing.T) {
	for _, test := range []struct {
		name, file string
		env        []string
		want       []string
	}{
		{"no names", "[https]\nmode = \"acme\"", nil, []string{
			`croft.toml:2: https.names: mode acme needs the domains to get certificates for, such as ["croft.example.org"]`}},
		{"a wildcard", `https = {mode = "acme", names = ["*.example.org"]}`, nil, []string{
			`croft.toml:1: https.names: "*.example.org": authorities give certificates for a wildcard only by challenge = "dns"`}},
		{"a provider for nothing", "[https]\nmode = \"acme\"\nnames = [\"example.org\"]\n[https.dns]\nprovider = \"desec\"", nil, []string{
			`croft.toml:5: https.dns.provider: challenge is http, which asks no DNS provider; set challenge = "dns" in [https], or leave the provider out`}},
		{"values", `
[https]
mode = "on"
names = "example.org"
email = "me"
directory = "http://example.org"
[proxy]
trusted = ["10.0.0.0/33"]
[mdns]
name = "a.b"`, nil, []string{
			`croft.toml:3: https.mode: "on" is not one of off, acme, files, local`,
			`croft.toml:4: https.names: "example.org" is not a list of texts; write for example ["croft.example.org"]`,
			`croft.toml:5: https.email: "me" is not an e-mail address; write for example you@example.org`,
			`croft.toml:6: https.directory: "http://example.org" is not an address that begins with https://; write for example https://acme-v02.api.letsencrypt.org/directory`,
			`croft.toml:8: proxy.trusted: "10.0.0.0/33" is neither an IP address nor a network; write for example 127.0.0.1 or 10.0.0.0/8`,
			`croft.toml:10: mdns.name: "a.b" can't be a name: it may have letters, digits and -, and no dots; .local is added to it`}},
		{"a name with a port", `https.names = ["https://example.org"]`, nil, []string{
			`croft.toml:1: https.names: "https://example.org" is neither a host name nor an IP address; write for example croft.example.org, without https:// and without a port`}},
		{"files", `https.mode = "files"`, nil, []string{
			`croft.toml:1: https.certificate: mode files needs it: name the PEM file of the certificate`,
			`croft.toml:1: https.key: mode files needs it: name the PEM file of its private key`}},
		{"no provider", `https = {mode = "acme", names = ["example.org"], challenge = "dns"}`, nil, []string{
			`croft.toml:1: https.dns.provider: challenge dns needs to know who keeps the domain's DNS; docs/dns.md lists them`}},
		{"an unknown provider", `https.dns.provider = "route53"`, nil, []string{
			`croft.toml:1: https.dns.provider: "route53" is not one of cloudflare, desec, duckdns, hetzner, gandi, porkbun, rfc2136, program`}},
		{"no token", `https = {mode = "acme", names = ["example.org"], challenge = "dns", dns = {provider = "rfc2136"}}`, nil, []string{
			`croft.toml:1: https.dns.token_file: provider rfc2136 needs a token: put it into a file of mode 0600 and name that here, or into CROFT_HTTPS_DNS_TOKEN`,
			`croft.toml:1: https.dns.server: provider rfc2136 needs the name server to send updates to, as host:port`}},
		{"a token in the file", `https.dns.token = "the-secret"`, nil, []string{
			`croft.toml:1: https.dns.token: a secret has no place in this file: put it into a file of mode 0600 and name that in token_file, or into the variable CROFT_HTTPS_DNS_TOKEN`}},
		{"one port for both", "listen = \":8443\"\n[https]\nmode = \"local\"\nlisten = \":8443\"", nil, []string{
			`croft.toml:4: https.listen: :8443 is where plain HTTP is answered (listen); take another port for one of the two`}},
		{"from a variable", ``, []string{"CROFT_HTTPS_MODE=files", "CROFT_HTTPS_KEY=key.pem"}, []string{
			`CROFT_HTTPS_MODE: https.certificate: mode files needs it: name the PEM file of the certificate`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.file, test.env, nil)
			wantProblems(t, err, test.want...)
		})
	}
}
