package https

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/certmagic"
)

// Plain is what answers on the listener without TLS. But in mode Off, which leaves all to next, it answers an ACME authority's
// challenges, and sends all others to https; next has what must be answered without it: health checks, which have no certificate to
// verify, and in mode Local the page that says how to trust this server.
func (h *HTTPS) Plain(next http.Handler) http.Handler {
	if h.source == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, port := hostOf(r.Host)
		switch path := r.URL.Path; {
		case path == "/healthz", h.o.Mode == Local && (path == "/trust" || strings.HasPrefix(path, "/trust/")):
			next.ServeHTTP(w, r)
			return
		case h.o.Mode == Local && path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			trust := "/trust"
			if at := cameTo(r); !h.mine(host) && at != "" {
				trust = "http://" + net.JoinHostPort(at, strconv.Itoa(int(h.plainPort))) + trust // the API doesn't know that host either
			}
			http.Redirect(w, r, trust, http.StatusFound)
			return
		}
		if a, ok := h.source.(*acmeSource); ok && certmagic.LooksLikeHTTPChallenge(r) && a.asking() && h.mine(host) && a.issuer.HandleHTTPChallenge(w, r) {
			return
		}
		if !h.mine(host) {
			if host = h.someName(r); host == "" {
				http.Error(w, "This server has no name that it could be reached by with https.", http.StatusMisdirectedRequest)
				return
			}
			if host == cameTo(r) {
				port = h.plainPort
			}
		}
		target := r.URL.EscapedPath()
		if !strings.HasPrefix(target, "/") {
			target = "/" // OPTIONS *
		}
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		w.Header().Set("Cache-Control", "no-store") // the mode may change
		http.Redirect(w, r, "https://"+h.authority(host, port)+target, http.StatusPermanentRedirect)
	})
}

// authority is a host with the port that its TLS is at. Who came to our own port goes to our own; who came to another one, such as a
// router's, goes to https's, because the router's is not known here.
func (h *HTTPS) authority(host string, port uint16) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != h.plainPort || h.securePort == 443 || h.securePort == 0 {
		return host
	}
	return host + ":" + strconv.Itoa(int(h.securePort))
}

// mine reports whether a host that a client names is one that may stand in a redirection: a name of this server, and in mode Local
// also an address of a home network, which clients behind a router or a container's bridge know it by.
func (h *HTTPS) mine(host string) bool {
	if h.Answers(host) {
		return true
	}
	if h.o.HostNames != nil && slices.Contains(h.o.HostNames(), host) {
		return true
	}
	if l, ok := h.source.(*local); ok && l.root != nil {
		_, err := netip.ParseAddr(host)
		return err == nil && l.root.Permits(host) == nil || host == "localhost"
	}
	return false
}

// someName is what this server is reached by: in mode Local the address that the client came to, else its first name.
func (h *HTTPS) someName(r *http.Request) string {
	if h.o.Mode == Local {
		return cameTo(r)
	}
	for _, name := range h.Names() {
		if !strings.HasPrefix(name, "*.") {
			return name
		}
	}
	if h.o.Mode == Files {
		return cameTo(r)
	}
	return ""
}

// cameTo is the address of this machine that a client came to.
func cameTo(r *http.Request) string {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return addrOf(a)
	}
	return ""
}

// hostOf takes a Host header apart.
func hostOf(s string) (host string, port uint16) {
	host, port = s, 80
	if h, p, err := net.SplitHostPort(s); err == nil {
		host = h
		if n, err := strconv.ParseUint(p, 10, 16); err == nil {
			port = uint16(n)
		}
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	return host, port
}
