package api

import (
	"net/http"
	"strings"

	"croft/internal/records"
)

func (q *request) collections() error {
	body, err := q.api.records.Collections(q.ctx, q.caller)
	return q.raw(http.StatusOK, body, err)
}

func (q *request) collection() error {
	d, err := q.api.records.Collection(q.ctx, q.caller, q.param("collection"))
	if err != nil {
		return err
	}
	q.tag(d.Rev)
	if hasTag(q.header("If-None-Match"), d.Rev) {
		return q.notModified()
	}
	return q.raw(http.StatusOK, d.JSON, nil)
}

// hasTag reports whether an If-None-Match lists the tag of a revision. Tags compare weakly there (RFC 9110, 13.1.2).
func hasTag(header, rev string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == "*" || tag == `"`+rev+`"` {
			return true
		}
	}
	return false
}

func (q *request) define() error {
	o := records.DefineOptions{Cond: q.condition()}
	err := q.eachParameter(func(name, value string) (err error) {
		switch name {
		case "dry_run":
			o.DryRun, err = parseBool(name, value)
		case "existing":
			o.Keep = value == "keep"
			if !o.Keep {
				err = badParameter(name, "can only be keep, which leaves records that do not fit as they are")
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	d, err := q.api.records.Define(q.ctx, q.caller, q.param("collection"), q.body, o)
	if err != nil {
		return err
	}
	if d.Rev != "" {
		q.tag(d.Rev)
	}
	if d.Created {
		q.set("Location", q.r.URL.Path)
		return q.raw(http.StatusCreated, d.JSON, nil)
	}
	return q.raw(http.StatusOK, d.JSON, nil)
}

func (q *request) drop() error {
	return q.nothing(q.api.records.Drop(q.ctx, q.caller, q.param("collection"), q.condition()))
}

func (q *request) try() error {
	body, err := q.api.records.Try(q.ctx, q.caller, q.param("collection"), q.body)
	return q.raw(http.StatusOK, body, err)
}
