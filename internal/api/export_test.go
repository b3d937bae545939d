package api

import "net/http"

// Route is a line of the table, for tests that walk it.
type Route struct {
	Method, Path, Access string
	Body                 bool
	Query                []string
}

// Routes lists the table.
func Routes() []Route {
	var all []Route
	for _, rt := range routes {
		all = append(all, Route{rt.method, rt.path, rt.who.String(), rt.body != noBody, rt.query})
	}
	return all
}

// NewWith returns an API with a further route that calls f. The request's context is that of the route.
func NewWith(o Options, path string, f func(http.ResponseWriter, *http.Request) error) *API {
	table := append(routes[:len(routes):len(routes)], outside(plain(http.MethodGet, path, anyone, func(q *request) error {
		return f(q, q.r.WithContext(q.ctx))
	})))
	return newAPI(o, table)
}
