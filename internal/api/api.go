// Package api is Croft over HTTP: routes, who may call them, strict input, problem documents, and what guards a server
// that stands in someone's home network (the Host rule, the same-origin rule, CORS, limits, the access log).
//
// It promises:
//   - Every route stands in one table (routes.go). What is not there is answered 404, or 405 with Allow.
//   - Nothing a client sends is accepted and ignored: unknown members, parameters and body types are refused, with
//     a pointer to the fault.
//   - Every error is a problem document (RFC 9457), and every answer has an X-Request-Id, which is in the log as well.
//   - No password, token or query string reaches the log.
//   - A request holds no transaction: it calls one method of the domain, which returns plain values, and then answers.
//
// The package writes no keys.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/julienschmidt/httprouter"

	"croft/internal/auth"
	"croft/internal/backup"
	"croft/internal/https"
	"croft/internal/records"
	"croft/internal/settings"
	"croft/internal/store"
)

// Options are what an API needs. What stands after the first group may be left out.
type Options struct {
	Auth     *auth.Auth
	Records  *records.Records
	Settings *settings.Settings
	Store    *store.DB
	Backups  *backup.Backups
	HTTPS    *https.HTTPS
	Restores *backup.Restores // nil where no server can start again

	Log         *slog.Logger  // nil for none
	LogRequests bool          // one line in the log for each request
	MaxBody     int64         // the largest body in bytes; 0 is DefaultMaxBody
	RequestTime time.Duration // how long a request may take; 0 is DefaultRequestTime

	TrustedProxies []netip.Prefix // whose word on where a request comes from is believed; an address is a network of one
}

// What holds when Options do not say.
const (
	DefaultMaxBody     = 1 << 20
	DefaultRequestTime = 30 * time.Second
)

// API answers requests. It is an http.Handler for clients that must show who they are; Local is one for the operator.
type API struct {
	auth     *auth.Auth
	records  *records.Records
	settings *settings.Settings
	store    *store.DB
	backups  *backup.Backups
	https    *https.HTTPS
	restores *backup.Restores
	checker  *backup.Checker

	log         *slog.Logger
	logRequests bool
	maxBody     int64
	requestTime time.Duration
	hsts        []string // nil for none; shared between requests
	proxies     proxies
	fullLogged  atomic.Int64 // when the log last told of a full disk, in Unix nanoseconds

	router  *httprouter.Router
	metrics *meters
}

// New returns an API. It starts nothing and needs no closing.
func New(o Options) *API { return newAPI(o, routes) }

func newAPI(o Options, table []route) *API {
	a := &API{
		auth: o.Auth, records: o.Records, settings: o.Settings, store: o.Store, backups: o.Backups, https: o.HTTPS, restores: o.Restores,
		log: o.Log, logRequests: o.LogRequests && o.Log != nil, maxBody: o.MaxBody, requestTime: o.RequestTime,
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.maxBody == 0 {
		a.maxBody = DefaultMaxBody
	}
	if a.requestTime == 0 {
		a.requestTime = DefaultRequestTime
	}
	if hsts := o.HTTPS.HSTS(); hsts != "" {
		a.hsts = []string{hsts}
	}
	a.proxies.trust(o.TrustedProxies)
	a.checker = backup.NewChecker(a.store)
	a.metrics = newMeters(a.store, a.backups)
	a.router = a.newRouter(table)
	return a
}

// ServeHTTP answers a request that came over the network.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.serve(w, r, false) }

// Local returns the handler for the local socket, and for a process that has the data file in hand: who calls it is the
// local operator, unless the request itself says who it is by an Authorization header.
func (a *API) Local() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, true) })
}

func (a *API) serve(w http.ResponseWriter, r *http.Request, local bool) {
	q := a.begin(w, r, local)
	defer q.end()
	q.secure()
	if !local && !q.hostAllowed() {
		q.fail(misdirected())
		return
	}
	if len(r.Header["Origin"]) > 0 {
		q.allowOrigin()
	}
	a.router.ServeHTTP(q, r)
}

// newRouter registers the routes, each GET as HEAD too. The router tells a handler nothing but the writer, the request
// and the parameters; the writer is our *request.
func (a *API) newRouter(table []route) *httprouter.Router {
	router := &httprouter.Router{
		HandleMethodNotAllowed: true,
		HandleOPTIONS:          true,
		NotFound:               handlerOf((*request).notFound),
		MethodNotAllowed:       handlerOf((*request).methodNotAllowed),
		GlobalOPTIONS:          handlerOf((*request).options),
	}
	for i := range table {
		rt := &table[i]
		m := a.metrics.route(rt)
		handle := func(w http.ResponseWriter, _ *http.Request, params httprouter.Params) {
			q := w.(*request)
			q.route, q.meter, q.params = rt, m, params
			q.run()
		}
		router.Handle(rt.method, rt.pattern(), handle)
		if rt.method == http.MethodGet {
			router.Handle(http.MethodHead, rt.pattern(), handle)
		}
	}
	return router
}

// handlerOf makes a handler of the router's from a method.
func handlerOf(f func(*request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { f(w.(*request)) })
}

// run authenticates the caller, takes in what the route asks for, and calls it.
func (q *request) run() {
	if err := q.admit(); err != nil {
		q.fail(err)
		return
	}
	q.ctx = q.r.Context()
	if !q.route.brief {
		q.ctx, q.cancel = context.WithTimeout(q.ctx, q.api.requestTime)
	}
	if err := q.takeBody(); err != nil {
		q.fail(err)
		return
	}
	if err := q.route.handle(q); err != nil {
		q.fail(err)
	}
}
