package api

import (
	"net/http"
	"slices"
)

// Header values of CORS.
var (
	valueExpose  = []string{"ETag, Location, X-Request-Id, Retry-After"}
	valueMethods = []string{"GET, HEAD, POST, PUT, PATCH, DELETE"}
	valueHeaders = []string{"Authorization, Content-Type, If-Match, If-None-Match"}
	valueMaxAge  = []string{"600"}
)

// allowOrigin lets a page of a listed origin read the answer. Credentials are never allowed: pages elsewhere use a token.
func (q *request) allowOrigin() {
	origins := q.r.Header["Origin"]
	if len(origins) != 1 || !slices.Contains(q.api.settings.Get().CORSOrigins, origins[0]) {
		return
	}
	h := q.Header()
	h["Access-Control-Allow-Origin"] = origins
	h["Access-Control-Expose-Headers"] = valueExpose
}

// options answers OPTIONS, and the question of a browser whether a page may send what it wants to send. The router has set
// Allow.
func (q *request) options() {
	h := q.Header()
	if h["Access-Control-Allow-Origin"] != nil && q.header("Access-Control-Request-Method") != "" {
		h["Access-Control-Allow-Methods"] = valueMethods
		h["Access-Control-Allow-Headers"] = valueHeaders
		h["Access-Control-Max-Age"] = valueMaxAge
	}
	q.send(http.StatusNoContent, nil)
}
