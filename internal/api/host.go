package api

import (
	"net/netip"
	"slices"
	"strings"

	"croft/internal/errs"
)

// hostAllowed reports whether the request's host is one that this server answers to. Where a proxy told it, the Host that the
// proxy sent must be one as well: a proxy that passes Host on may pass on an X-Forwarded-Host that a page made up.
func (q *request) hostAllowed() bool {
	return q.api.answersTo(q.host) && (q.host == q.r.Host || q.api.answersTo(q.r.Host))
}

func (a *API) answersTo(host string) bool {
	return hostAllowed(host, a.settings.Get().HostNames) || a.https.Answers(strings.ToLower(strings.TrimSuffix(withoutPort(host), ".")))
}

// hostAllowed reports whether a Host is one that this server answers to: an IP address, localhost, a name without dots,
// *.local, or one of the names. A page elsewhere that lets its own name point here (DNS rebinding) sends that name.
func hostAllowed(host string, names []string) bool {
	// Most requests name an address or localhost; neither allocates here.
	name := strings.TrimSuffix(withoutPort(host), ".")
	if name == "" {
		return false
	}
	if strings.IndexByte(name, '.') < 0 && strings.IndexByte(name, ':') < 0 {
		return true
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	if len(name) > len(".local") && strings.EqualFold(name[len(name)-len(".local"):], ".local") {
		return true
	}
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// withoutPort takes the port and the brackets of an IPv6 address away.
func withoutPort(host string) string {
	if strings.HasPrefix(host, "[") {
		inner, rest, ok := strings.Cut(host[1:], "]")
		if !ok || rest != "" && rest[0] != ':' {
			return ""
		}
		return inner
	}
	name, _, _ := strings.Cut(host, ":")
	return name
}

func misdirected() error {
	return errs.New(errs.Misdirected, `this server does not answer to the name in the request's Host; an admin can add the name to "host_names" in the settings, and its IP address always works`)
}
