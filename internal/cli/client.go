package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"croft/internal/app"
	"croft/internal/config"
)

// A client calls the HTTP API as the local operator: a running server over its socket, or the API's
// handler in this process over a data file that nobody else has open.
type client struct {
	transport http.RoundTripper
	close     func() error
}

// withClient runs work with a client for the data file that the configuration names.
func (p *program) withClient(work func(ctx context.Context, c *client, args []string) error) func(*cobra.Command, []string) error {
	return p.run(func(cmd *cobra.Command, args []string) error {
		cfg, err := p.config(cmd)
		if err != nil {
			return err
		}
		c, err := p.connect(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		return errors.Join(work(cmd.Context(), c, args), c.close())
	})
}

// connect finds the running server of the data file, or else opens the file.
func (p *program) connect(ctx context.Context, cfg *config.Config) (*client, error) {
	conn, dialErr := app.DialLocal(ctx, cfg.Data)
	if dialErr == nil {
		conn.Close() // it has shown what it was for
		t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return app.DialLocal(ctx, cfg.Data)
		}}
		return &client{transport: t, close: func() error { t.CloseIdleConnections(); return nil }}, nil
	}

	// A mistyped name must not make a new file.
	if _, err := os.Stat(cfg.Data); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf(`there is no data file %s; "croft serve" makes it, or name another with --data`, cfg.Data)
	} else if err != nil {
		return nil, err
	}
	quiet := *cfg
	quiet.Log.Requests = false
	a, err := app.New(&quiet, app.Options{Log: newLog(quiet.Log, p.stderr, slog.LevelWarn), Command: true, Verify: p.verifier(), Context: ctx})
	if err != nil {
		if ctx.Err() != nil {
			return nil, errors.New("stopped before the data file was open; nothing was changed")
		}
		// Without a socket, or with one whose server was killed, the file's own error is the whole story.
		if !errors.Is(dialErr, fs.ErrNotExist) && !errors.Is(dialErr, syscall.ECONNREFUSED) {
			err = fmt.Errorf("%w; and its server can't be asked: %w", err, dialErr)
		}
		return nil, err
	}
	return &client{transport: direct{a.Handler()}, close: a.Close}, nil
}

// call makes one request of the API and returns the body of its answer. body is sent as JSON unless it is nil.
// A refusal is an error of type *problem.
func (c *client) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	return c.callAt(ctx, method, "/api/v1"+path, body)
}

// callAt is call for a path that may be outside the API's.
func (c *client) callAt(ctx context.Context, method, path string, body any) ([]byte, error) {
	var sent io.Reader
	switch b := body.(type) {
	case nil:
	case jsontext.Value:
		sent = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, sent)
	if err != nil {
		return nil, err
	}
	if sent != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if resp.StatusCode >= 300 {
		p := &problem{Title: resp.Status}
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
			if err := json.Unmarshal(raw, p); err != nil {
				return nil, fmt.Errorf("%s %s: %s, and its explanation can't be read: %w", method, path, resp.Status, err)
			}
		}
		return nil, p
	}
	return raw, nil
}

// items fetches all pages of a list: its items, and the whole as one page.
func items[T any](ctx context.Context, c *client, path string) ([]T, []byte, error) {
	type page[I any] struct {
		Items []I     `json:"items"`
		Next  *string `json:"next"`
	}
	var raw []jsontext.Value
	query := ""
	for {
		answer, err := c.call(ctx, http.MethodGet, path+query, nil)
		if err != nil {
			return nil, nil, err
		}
		var part page[jsontext.Value]
		if err := json.Unmarshal(answer, &part); err != nil {
			return nil, nil, fmt.Errorf("GET %s: the answer can't be read: %w", path, err)
		}
		raw = append(raw, part.Items...)
		if part.Next == nil {
			break
		}
		query = "?cursor=" + url.QueryEscape(*part.Next)
	}
	whole, err := json.Marshal(struct {
		Items []jsontext.Value `json:"items"`
	}{raw})
	if err != nil {
		return nil, nil, err
	}
	var list page[T]
	if err := json.Unmarshal(whole, &list); err != nil {
		return nil, nil, fmt.Errorf("GET %s: the answer can't be read: %w", path, err)
	}
	return list.Items, whole, nil
}

// A problem is a refusal of the API, as its problem document says it (RFC 9457).
type problem struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Errors []struct {
		Pointer string `json:"pointer"`
		Message string `json:"message"`
	} `json:"errors"`
}

func (p *problem) Error() string {
	text := p.Title
	if p.single() && p.Errors[0].Pointer != "" {
		text += ": " + p.Errors[0].Pointer
	}
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	return text
}

// single tells whether the only fault of a value is the detail itself.
func (p *problem) single() bool { return len(p.Errors) == 1 && p.Errors[0].Message == p.Detail }

// lines are the faults of single values, one each.
func (p *problem) lines() []string {
	if p.single() {
		return nil
	}
	var lines []string
	for _, e := range p.Errors {
		lines = append(lines, e.Pointer+": "+e.Message)
	}
	return lines
}

// A direct transport answers requests by a handler in this process.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	a := &answer{status: http.StatusOK, header: http.Header{}}
	if req.Body == nil {
		req.Body = http.NoBody
	}
	req.RequestURI = req.URL.RequestURI()
	d.handler.ServeHTTP(a, req)
	return &http.Response{
		StatusCode: a.status, Status: fmt.Sprint(a.status, " ", http.StatusText(a.status)),
		Header: a.header, Body: io.NopCloser(&a.body), Request: req,
	}, nil
}

// An answer gathers what a handler writes.
type answer struct {
	status  int
	written bool
	header  http.Header
	body    bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if !a.written {
		a.status, a.written = status, true
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.written = true
	return a.body.Write(b)
}
