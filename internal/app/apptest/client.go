package apptest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
)

// A Client makes requests with the headers it was given.
type Client struct {
	t       testing.TB
	base    string
	http    *http.Client
	headers map[string]string
}

// With returns a client that sends a header besides. Host sets the host.
func (c *Client) With(name, value string) *Client {
	other := *c
	other.headers = maps.Clone(c.headers)
	if other.headers == nil {
		other.headers = map[string]string{}
	}
	other.headers[name] = value
	return &other
}

// Do makes a request and reads the answer. A body is nil for none, a string or []byte to be sent as it is, an io.Reader to
// be sent in chunks, or anything else to be sent as JSON. There is a Content-Type only with a body.
func (c *Client) Do(method, path string, body any) *Response {
	c.t.Helper()
	r := c.Request(method, path, body)
	answer, err := c.http.Do(r)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatalf("%s %s: read the answer: %v", method, path, err)
	}
	return &Response{t: c.t, Status: answer.StatusCode, Header: answer.Header, Body: text, what: method + " " + path}
}

// Request makes the request that Do would send.
func (c *Client) Request(method, path string, body any) *http.Request {
	c.t.Helper()
	var reader io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(body)
	case []byte:
		reader = bytes.NewReader(body)
	case io.Reader:
		reader = body
	default:
		text, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequest(method, c.base+path, reader)
	if err != nil {
		c.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range c.headers {
		switch {
		case name == "Host":
			r.Host = value
		case value == "":
			r.Header.Del(name)
		default:
			r.Header.Set(name, value)
		}
	}
	return r
}

// A Response is an answer, read whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte

	t    testing.TB
	what string
}

// Want fails the test if the status is another.
func (r *Response) Want(t testing.TB, status int) *Response {
	t.Helper()
	if r.Status != status {
		t.Fatalf("%s: status %d, want %d\n%s", r.what, r.Status, status, r.Body)
	}
	return r
}

// JSON decodes the body into v.
func (r *Response) JSON(v any) {
	r.t.Helper()
	if err := json.Unmarshal(r.Body, v); err != nil {
		r.t.Fatalf("%s: %v in %s", r.what, err, r.Body)
	}
}

// String returns a member of the answer that must be a string.
func (r *Response) String(member string) string {
	r.t.Helper()
	var v map[string]any
	r.JSON(&v)
	s, ok := v[member].(string)
	if !ok {
		r.t.Fatalf("%s: no string %q in %s", r.what, member, r.Body)
	}
	return s
}

// Problem is a problem document.
type Problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	RequestID string `json:"request_id"`
	Errors    []struct {
		Pointer string `json:"pointer"`
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"errors"`
}

// Problem decodes the problem document that the answer must be, and checks what all of them have in common.
func (r *Response) Problem() Problem {
	r.t.Helper()
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		r.t.Fatalf("%s: status %d with Content-Type %q: %s", r.what, r.Status, got, r.Body)
	}
	var p Problem
	r.JSON(&p)
	if p.Status != r.Status || p.Type != "about:blank" || p.Title == "" || p.Detail == "" || p.Code == "" ||
		p.RequestID == "" || p.RequestID != r.Header.Get("X-Request-Id") {
		r.t.Errorf("%s: not a whole problem document: %s", r.what, r.Body)
	}
	return p
}

// Code is the problem's code, or "" when all went well.
func (r *Response) Code() string {
	if r.Status < 400 {
		return ""
	}
	r.t.Helper()
	return r.Problem().Code
}
