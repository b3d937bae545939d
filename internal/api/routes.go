package api

import (
	"net/http"
	"reflect"
	"strings"

	"croft/internal/auth"
)

// prefix is what the API's addresses begin with.
const prefix = "/api/v1"

// access says whom a route lets in. The domain decides again, in the transaction that acts: here the body of a request
// that is refused anyway need not be read.
type access uint8

const (
	anyone   access = iota // never asks who calls: a secret in the body decides, or nothing is at stake
	byRule                 // whoever the collection's rules let in, an API token within its scopes
	signedIn               // everyone who is known
	managers               // admins by a session, and the local operator
	operator               // the local operator alone
)

func (a access) String() string {
	return [...]string{"anyone", "by rule", "signed in", "admins", "local operator"}[a]
}

// bodyKind is the Content-Type a route takes.
type bodyKind uint8

const (
	noBody bodyKind = iota
	jsonBody
	patchBody // JSON, also as application/merge-patch+json
	fileBody  // application/octet-stream of any length, which the handler reads
)

// A route is one line of the API.
type route struct {
	method, path string // with {name} for a part that is a parameter
	who          access
	brief        bool // it needs no deadline: it reads one value from memory or the file, or sees to its time itself
	body         bodyKind
	in           reflect.Type // what the body is read into; nil for none, and where the domain reads it
	query        []string     // the query parameters it takes
	handle       func(*request) error
}

// pattern is the path as the router writes it.
func (rt *route) pattern() string {
	return strings.NewReplacer("{", ":", "}", "").Replace(rt.path)
}

// routes is the API: there is nothing else.
var routes = []route{
	take(http.MethodPost, "/setup", anyone, (*request).setup),
	plain(http.MethodGet, "/setup", operator, (*request).setupToken),
	take(http.MethodPost, "/auth/signup", anyone, (*request).signup),
	take(http.MethodPost, "/auth/login", anyone, (*request).login),
	plain(http.MethodPost, "/auth/logout", signedIn, (*request).logout),
	plain(http.MethodGet, "/auth/me", signedIn, (*request).me),
	take(http.MethodPatch, "/auth/me", signedIn, (*request).patchMe),
	take(http.MethodPost, "/auth/password", signedIn, (*request).changePassword),
	plain(http.MethodGet, "/auth/sessions", signedIn, (*request).sessions),
	plain(http.MethodDelete, "/auth/sessions/{id}", signedIn, (*request).endSession),
	plain(http.MethodGet, "/auth/tokens", signedIn, (*request).tokens),
	take(http.MethodPost, "/auth/tokens", signedIn, (*request).createToken),
	plain(http.MethodDelete, "/auth/tokens/{id}", signedIn, (*request).revokeToken),

	plain(http.MethodGet, "/users", managers, (*request).users, "limit", "cursor"),
	take(http.MethodPost, "/users", managers, (*request).createUser),
	plain(http.MethodGet, "/users/{id}", managers, (*request).user),
	take(http.MethodPatch, "/users/{id}", managers, (*request).patchUser),
	plain(http.MethodDelete, "/users/{id}", managers, (*request).deleteUser),
	plain(http.MethodGet, "/invites", managers, (*request).invites),
	take(http.MethodPost, "/invites", managers, (*request).createInvite),
	plain(http.MethodDelete, "/invites/{id}", managers, (*request).revokeInvite),
	plain(http.MethodGet, "/settings", managers, (*request).readSettings),
	pass(http.MethodPatch, "/settings", managers, (*request).patchSettings),
	plain(http.MethodGet, "/https", managers, (*request).httpsStatus),
	brief(plain(http.MethodPost, "/https/renew", managers, (*request).httpsRenew)),
	plain(http.MethodDelete, "/https/root", managers, (*request).forgetRoot),
	brief(plain(http.MethodPost, "/check", managers, (*request).check)),
	brief(plain(http.MethodGet, "/backup", managers, (*request).sendBackup)),
	plain(http.MethodGet, "/backups", managers, (*request).listBackups),
	brief(plain(http.MethodPost, "/backups", managers, (*request).takeBackup)),
	brief(plain(http.MethodPost, "/compact", managers, (*request).compact)),
	file(http.MethodPost, "/restore", operator, (*request).restore),
	plain(http.MethodGet, "/restore", operator, (*request).restoreState),

	plain(http.MethodGet, "/collections", managers, (*request).collections),
	plain(http.MethodGet, "/collections/{collection}", managers, (*request).collection),
	pass(http.MethodPut, "/collections/{collection}", managers, (*request).define, "dry_run", "existing"),
	plain(http.MethodDelete, "/collections/{collection}", managers, (*request).drop),
	pass(http.MethodPost, "/collections/{collection}/try", managers, (*request).try),

	plain(http.MethodGet, "/records/{collection}", byRule, (*request).list, listParameters...),
	pass(http.MethodPost, "/records/{collection}", byRule, (*request).createRecord),
	brief(plain(http.MethodGet, "/records/{collection}/{id}", byRule, (*request).record, "fields")),
	pass(http.MethodPut, "/records/{collection}/{id}", byRule, (*request).putRecord),
	pass(http.MethodPatch, "/records/{collection}/{id}", byRule, (*request).patchRecord),
	plain(http.MethodDelete, "/records/{collection}/{id}", byRule, (*request).deleteRecord),
	take(http.MethodPost, "/query/{collection}", byRule, (*request).query),

	outside(plain(http.MethodGet, "/", anyone, (*request).home)),
	outside(plain(http.MethodGet, "/trust", anyone, (*request).trust)),
	outside(plain(http.MethodGet, "/trust/root.pem", anyone, (*request).trustCertificate)),
	outside(plain(http.MethodGet, "/trust/root.mobileconfig", anyone, (*request).trustProfileFile)),
	outside(plain(http.MethodGet, "/healthz", anyone, (*request).health)),
	outside(plain(http.MethodGet, "/metrics", managers, (*request).meters)),
}

// plain is a route without a body.
func plain(method, path string, who access, f func(*request) error, query ...string) route {
	return route{method: method, path: prefix + path, who: who, query: query, handle: func(q *request) error {
		if err := q.checkQuery(); err != nil {
			return err
		}
		return f(q)
	}}
}

// pass is a route whose body the domain reads.
func pass(method, path string, who access, f func(*request) error, query ...string) route {
	rt := plain(method, path, who, f, query...)
	rt.body = jsonBody
	if method == http.MethodPatch {
		rt.body = patchBody
	}
	return rt
}

// file is a route whose body is a whole file.
func file(method, path string, who access, f func(*request) error) route {
	rt := brief(plain(method, path, who, f))
	rt.body = fileBody
	return rt
}

// take is a route whose body is decoded strictly into an In.
func take[In any](method, path string, who access, f func(*request, In) error) route {
	rt := pass(method, path, who, func(q *request) error {
		in, err := decode[In](q.body)
		if err != nil {
			return err
		}
		return f(q, in)
	})
	rt.in = reflect.TypeFor[In]()
	return rt
}

// brief marks a route that needs no deadline.
func brief(rt route) route {
	rt.brief = true
	return rt
}

// outside is a route that is not under the prefix.
func outside(rt route) route {
	rt.path = strings.TrimPrefix(rt.path, prefix)
	return rt
}

// clientOf says where a request comes from.
func clientOf(q *request) auth.Client {
	return auth.Client{Addr: q.address(), Agent: q.header("User-Agent")}
}
