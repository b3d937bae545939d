package https

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/mholt/acmez/v3/acme"

	"croft/internal/store"
)

// A clockError says that a certificate is there, but not for the time that this machine shows.
type clockError struct{ text string }

func (e *clockError) Error() string { return e.text }

// clockFault says that this machine's clock may be wrong, when a certificate that was issued just now is not valid now.
func clockFault(leaf *x509.Certificate, now time.Time) string {
	if !now.Before(leaf.NotBefore) && now.Before(leaf.NotAfter) {
		return ""
	}
	return fmt.Sprintf("the new certificate is valid from %s to %s, but this machine's clock shows %s: it may be wrong; set it, and turn on time synchronisation",
		day(leaf.NotBefore), day(leaf.NotAfter), clock(now))
}

func day(t time.Time) string   { return t.UTC().Format("2006-01-02") }
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// retry stands at the end of what somebody has to put right.
const retry = "; then croft https renew tries again at once"

// explain says why there is no certificate: what happened, what the authority said, and what to do.
func explain(err error, name, directory string, now time.Time) string {
	host := directory
	if u, bad := url.Parse(directory); bad == nil && u.Host != "" {
		host = u.Host
	}
	var (
		problem acme.Problem
		dns     *dnsError
		wrong   *clockError
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		name509 x509.HostnameError
		tlsFail *tls.CertificateVerificationError
		lookup  *net.DNSError
		network *url.Error
	)
	switch {
	case errors.As(err, &wrong):
		return wrong.text
	case errors.As(err, &dns) && dns.set:
		return fmt.Sprintf("the DNS record %s was set, but can't be seen in DNS: %s. Its changes may take longer, or the zone is served elsewhere than at the provider that is configured; set https.dns.resolvers if this network's name servers answer for the domain differently",
			dns.record, brief(dns.err))
	case errors.As(err, &dns):
		// Package dns says what to look at.
		return fmt.Sprintf("the DNS record %s can't be set: %s; what was changed in the configuration, or of a token, is read when Croft starts again", dns.record, cut(dns.err.Error(), maxAdvice))
	case errors.As(err, &problem):
		return explainProblem(problem, name, host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		text := fmt.Sprintf("the TLS certificate of the ACME server %s seems to be out of date. This machine's clock shows %s: it may be wrong; set it, and turn on time synchronisation", host, clock(now))
		if invalid.Cert != nil {
			text += fmt.Sprintf(" (that certificate is valid from %s to %s)", day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter))
		}
		return text
	case errors.As(err, &unknown), errors.As(err, &name509), errors.As(err, &tlsFail):
		return fmt.Sprintf("the ACME server %s can't be trusted: %s. If it is one of your own, set https.directory_roots to its authority's certificate; else something on the way answers in its place",
			host, brief(err))
	case errors.As(err, &lookup):
		return fmt.Sprintf("the ACME server %s can't be found: %s. Check this machine's internet connection and its name servers, and https.directory", host, brief(lookup))
	case errors.As(err, &network) && !errors.Is(err, context.Canceled):
		return fmt.Sprintf("the ACME server %s can't be reached: %s. Check this machine's internet connection and firewall, and https.directory", host, brief(network.Err))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("the ACME server %s took too long for a certificate for %s", host, name)
	case errors.Is(err, store.ErrDiskFull):
		return fmt.Sprintf("a certificate for %s can't be asked for, because the data file can't be written: the disk is full", name)
	}
	return fmt.Sprintf("no certificate for %s can be had from %s: %s", name, host, brief(err))
}

func explainProblem(p acme.Problem, name, host string) string {
	said := p.Detail
	if said == "" {
		said = p.Title
	}
	for _, sub := range p.Subproblems {
		said += "; " + sub.Detail
	}
	if said == "" {
		said = fmt.Sprintf("status %d", p.Status)
	}
	said = fmt.Sprintf("%s says: %s", host, plain(said))
	kind := strings.TrimPrefix(p.Type, acme.ProblemTypeNamespace)
	switch p.Type {
	case acme.ProblemTypeDNS:
		return fmt.Sprintf("%s isn't in DNS, or not as it should be: have its A or AAAA record be this server's public address%s (%s)", name, retry, said)
	case acme.ProblemTypeConnection, acme.ProblemTypeTLS:
		return fmt.Sprintf("the authority can't reach this server as %s: its ports 80 or 443 must be reachable from the internet. Check that DNS has the right address, forward the ports in the router and let them through the firewall, or set https.challenge to dns%s (%s)", name, retry, said)
	case acme.ProblemTypeUnauthorized, acme.ProblemTypeIncorrectResponse:
		return fmt.Sprintf("somebody else than this server answers for %s, or its proof isn't seen: check that DNS has this server's address and no other, and that no proxy stands before ports 80 and 443%s (%s)", name, retry, said)
	case acme.ProblemTypeCAA:
		return fmt.Sprintf("a CAA record in DNS says that this authority may give no certificate for %s: change it, or ask another authority%s (%s)", name, retry, said)
	case acme.ProblemTypeRejectedIdentifier, acme.ProblemTypeUnsupportedIdentifier:
		return fmt.Sprintf("the authority gives no certificates for %s (%s)", name, said)
	case acme.ProblemTypeRateLimited:
		return fmt.Sprintf("the authority was asked too often for %s, or its domain: Croft waits, and tries again (%s)", name, said)
	case acme.ProblemTypeInvalidContact, acme.ProblemTypeUnsupportedContact:
		return fmt.Sprintf("the authority doesn't accept the e-mail address in https.email: correct it, and start Croft again (%s)", said)
	case acme.ProblemTypeExternalAccountRequired:
		return fmt.Sprintf("%s wants an account that was made with it before, which Croft can't use: set https.directory to another authority (%s)", host, said)
	case acme.ProblemTypeServerInternal, acme.ProblemTypeBadNonce:
		return fmt.Sprintf("%s has trouble of its own; Croft tries again (%s)", host, said)
	}
	if _, ok := p.Resource.(acme.Authorization); ok {
		return fmt.Sprintf("the authority can't make sure that %s is this server: check that the name is in DNS with this server's public address, and that ports 80 and 443 are reachable from the internet%s (%s, %s)", name, retry, kind, said)
	}
	if p.Status >= 500 {
		return fmt.Sprintf("%s has trouble of its own; Croft tries again (%s)", host, said)
	}
	return fmt.Sprintf("the authority gives no certificate for %s (%s, %s)", name, kind, said)
}

// maxSaid is how much of what others say is told.
const maxSaid = 400

// brief is an error's text on one line.
func brief(err error) string { return plain(err.Error()) }

// maxAdvice is how much of package dns's own texts is told, which end in what to do.
const maxAdvice = 1200

func plain(s string) string { return cut(s, maxSaid) }

func cut(s string, most int) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)), " ")
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + " …"
	}
	return strings.TrimSuffix(s, ".")
}

// unreachable reports whether the authority has refused nothing: the network, or its server, is down or busy, or nothing could be asked yet.
func unreachable(err error) bool {
	var problem acme.Problem
	var network *url.Error
	var dns *dnsError
	switch {
	case errors.Is(err, store.ErrDiskFull):
		return true
	case errors.As(err, &problem):
		return problem.Status >= 500 || problem.Type == acme.ProblemTypeServerInternal || problem.Type == acme.ProblemTypeBadNonce
	}
	return !errors.As(err, &dns) && errors.As(err, &network)
}

// maxPause is the longest pause between two tries.
const maxPause = time.Hour

// pause is how long to wait after failures in a row. A server that isn't reached costs nobody anything: 2, 4, 8 seconds, up to 10 minutes;
// after a power cut the router needs its time. What an authority refused counts against its limits, which at Let's Encrypt are 5 failures
// an hour for a name, and one try by two ways is two: 10, 20, 40 minutes, then each hour.
func pause(err error, failures int) time.Duration {
	var problem acme.Problem
	var wrong *clockError
	first, most := 10*time.Minute, maxPause
	switch {
	case unreachable(err):
		first, most = 2*time.Second, 10*time.Minute
	case errors.As(err, &problem) && problem.Type == acme.ProblemTypeRateLimited, errors.As(err, &wrong):
		return maxPause
	}
	return min(first<<min(failures-1, 12), most)
}
