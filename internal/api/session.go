package api

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"croft/internal/errs"
	"croft/internal/identity"
)

// cookieName is the session's cookie. Browsers take a name with this prefix only with Secure, for the whole host and no
// other, so that no neighbour can set it.
const cookieName = "__Host-croft"

// admit finds out who calls, and whether the route lets them in.
func (q *request) admit() error {
	if q.route.who == anyone {
		return nil
	}
	if err := q.authenticate(); err != nil {
		return err
	}
	switch q.route.who {
	case signedIn:
		if !q.caller.SignedIn() {
			return errs.New(errs.Unauthenticated, "sign in first: send the token that a login gave as Authorization: Bearer …")
		}
	case managers:
		switch {
		case !q.caller.SignedIn():
			return errs.New(errs.Unauthenticated, "sign in as an admin first: send the token that a login gave as Authorization: Bearer …")
		case q.caller.Token != nil:
			return errs.New(errs.Forbidden, "API tokens are for records alone; sign in as an admin for this")
		case !q.caller.Manages():
			return errs.New(errs.Forbidden, "only admins may do this")
		}
	case operator:
		switch {
		case !q.caller.SignedIn():
			return errs.New(errs.Unauthenticated, "only the local operator may do this, by the commands of croft on the server itself")
		case q.caller.Kind != identity.Local:
			return errs.New(errs.Forbidden, "only the local operator may do this, by the commands of croft on the server itself")
		}
	}
	return nil
}

// authenticate sets the caller: by the Authorization header, else by the local socket, else by the cookie. What is there but
// is not valid is an error, never an anonymous caller.
func (q *request) authenticate() (err error) {
	if values := q.r.Header["Authorization"]; len(values) > 0 {
		token, ok := bearer(values)
		if !ok {
			return errs.New(errs.Unauthenticated, "the Authorization header is not understood; it must be: Bearer, a space, and a token")
		}
		return q.signInBy(token)
	}
	if q.local {
		q.caller = local
		return nil
	}
	if len(q.r.Header["Cookie"]) == 0 {
		return nil
	}
	cookie, err := q.r.Cookie(cookieName)
	if err != nil {
		return nil // other cookies
	}
	q.cookie = true
	if !isSafe(q.r.Method) {
		if err := q.mustBeSameOrigin(); err != nil {
			return err
		}
	}
	return q.signInBy(cookie.Value)
}

func (q *request) signInBy(token string) error {
	c, err := q.api.auth.Authenticate(token)
	if err != nil {
		return err
	}
	q.caller = c
	return nil
}

// bearer takes the token out of an Authorization header.
func bearer(values []string) (token string, ok bool) {
	const scheme = "Bearer "
	if len(values) != 1 || len(values[0]) <= len(scheme) || !strings.EqualFold(values[0][:len(scheme)], scheme) {
		return "", false
	}
	token = strings.TrimSpace(values[0][len(scheme):])
	return token, token != "" && !strings.ContainsAny(token, " \t,")
}

// isSafe reports whether a method only reads (RFC 9110, 9.2.1).
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// mustBeSameOrigin refuses a request that a page of another origin may have sent with the user's cookie. Browsers say
// where a request comes from; what says nothing is no browser, and has no use for a cookie.
func (q *request) mustBeSameOrigin() error {
	if site := q.header("Sec-Fetch-Site"); site != "" {
		if site == "same-origin" {
			return nil
		}
		return crossOrigin()
	}
	origin, err := url.Parse(q.header("Origin"))
	if err != nil || origin.Host == "" || !strings.EqualFold(origin.Host, q.host) || q.tls && origin.Scheme != "https" {
		return crossOrigin()
	}
	return nil
}

func crossOrigin() error {
	return errs.New(errs.Forbidden, "a request with a cookie can change something only when it comes from a page of this same server; from elsewhere, use Authorization: Bearer and no cookie")
}

// mayHaveCookie refuses a login by cookie where the cookie would not come back.
func (q *request) mayHaveCookie() error {
	if q.local {
		return errs.At(errs.Invalid, "/cookie", "not_possible", "cookies are for browsers; the local socket has no use for one")
	}
	if !q.tls && !isLoopbackName(withoutPort(q.host)) {
		return errs.At(errs.Invalid, "/cookie", "not_possible", "browsers keep the cookie only over HTTPS, or when the address is localhost; use the token of a login without cookie, or open this server by HTTPS")
	}
	return q.mustBeSameOrigin()
}

func isLoopbackName(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func (q *request) setCookie(token string, expires time.Time) {
	q.set("Set-Cookie", (&http.Cookie{
		Name: cookieName, Value: token, Path: "/", Expires: expires,
		HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode,
	}).String())
}

func (q *request) clearCookie() {
	q.set("Set-Cookie", (&http.Cookie{
		Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode,
	}).String())
}

// address is the address of the client; invalid for the local socket.
func (q *request) address() netip.Addr {
	if q.client.IsValid() {
		return q.client
	}
	return remoteAddr(q.r.RemoteAddr)
}

// remoteAddr is the address at the other end of a connection.
func remoteAddr(text string) netip.Addr {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap()
	}
	return netip.Addr{}
}
