package api

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"croft/internal/errs"
	"croft/internal/records"
)

// maxLimit is the most of a page.
const maxLimit = records.MaxLimit

var listParameters = []string{"filter", "sort", "limit", "cursor", "fields", "count", "explain"}

// checkQuery refuses a query parameter that the route does not take, one that is there twice, and text that is not
// encoded as parameters are.
func (q *request) checkQuery() error {
	if q.r.URL.RawQuery == "" {
		return nil
	}
	var seen []string
	for pair := range strings.SplitSeq(q.r.URL.RawQuery, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return errs.New(errs.BadRequest, "the query has a parameter whose name is not percent-encoded rightly")
		}
		if !slices.Contains(q.route.query, name) {
			return unknownParameter(name, q.route.query)
		}
		if slices.Contains(seen, name) {
			return badParameter(name, "stands twice in the query")
		}
		seen = append(seen, name)
		if _, err := url.QueryUnescape(rawValue); err != nil {
			return badParameter(name, "is not percent-encoded rightly")
		}
	}
	return nil
}

// eachParameter calls f for each parameter of a query that checkQuery let through, and stops at an error.
func (q *request) eachParameter(f func(name, value string) error) error {
	for pair := range strings.SplitSeq(q.r.URL.RawQuery, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return err
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return err
		}
		if err := f(name, value); err != nil {
			return err
		}
	}
	return nil
}

// parameter returns one parameter, or "".
func (q *request) parameter(want string) (found string, err error) {
	if q.r.URL.RawQuery == "" {
		return "", nil
	}
	err = q.eachParameter(func(name, value string) error {
		if name == want {
			found = value
		}
		return nil
	})
	return found, err
}

func unknownParameter(name string, known []string) error {
	text := "this address takes no query parameters"
	if len(known) > 0 {
		text = "this address does not know this query parameter; it takes " + strings.Join(known, ", ")
	}
	return errs.At(errs.BadRequest, pointerTo(name), "unknown_parameter", text)
}

func badParameter(name, text string) error {
	return errs.At(errs.BadRequest, pointerTo(name), "bad_parameter", name+" "+text)
}

// pointerTo points to a parameter as if the query were an object, as it is where it comes as JSON.
func pointerTo(name string) string {
	if len(name) > 64 {
		name = name[:64]
	}
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(strings.ToValidUTF8(name, "\uFFFD"))
}

// parseLimit reads the number of a page's records.
func parseLimit(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, badParameter("limit", "must be a whole number from 1 to "+strconv.Itoa(maxLimit))
	}
	return n, checkLimit(n)
}

func checkLimit(n int) error {
	if n < 1 || n > maxLimit {
		return errs.At(errs.Invalid, "/limit", "out_of_range", "limit must be from 1 to "+strconv.Itoa(maxLimit))
	}
	return nil
}

func parseBool(name, text string) (bool, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, badParameter(name, "must be true or false")
}

// listQuery reads a list's query from the address.
func (q *request) listQuery() (in records.Query, err error) {
	if q.r.URL.RawQuery == "" {
		return in, nil
	}
	err = q.eachParameter(func(name, value string) (err error) {
		switch name {
		case "filter":
			in.Filter = value
		case "sort":
			in.Sort = splitList(value)
		case "limit":
			in.Limit, err = parseLimit(value)
		case "cursor":
			in.Cursor = value
		case "fields":
			in.Fields = splitList(value)
		case "count":
			in.Count, err = parseBool(name, value)
		case "explain":
			in.Explain, err = parseBool(name, value)
		}
		return err
	})
	return in, err
}

// splitList splits a,b,c. Empty parts stay: they are faults, which the domain tells.
func splitList(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// queryIn is a list's query as JSON.
type queryIn struct {
	Filter  string `json:"filter,omitempty"`
	Sort    words  `json:"sort,omitempty"`
	Limit   *int   `json:"limit,omitempty"`
	Cursor  string `json:"cursor,omitempty"`
	Fields  words  `json:"fields,omitempty"`
	Count   bool   `json:"count,omitempty"`
	Explain bool   `json:"explain,omitempty"`
}

func (in *queryIn) query() (records.Query, error) {
	out := records.Query{
		Filter: in.Filter, Sort: in.Sort, Cursor: in.Cursor, Fields: in.Fields, Count: in.Count, Explain: in.Explain,
	}
	if in.Limit != nil {
		out.Limit = *in.Limit
		return out, checkLimit(*in.Limit)
	}
	return out, nil
}

// words is a list of names: "a,-b" or ["a","-b"].
type words []string

// UnmarshalJSON reads both forms.
func (w *words) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte(`"`)) {
		var text string
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		*w = splitList(text)
		return nil
	}
	return json.Unmarshal(b, (*[]string)(w))
}
