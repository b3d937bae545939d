package dns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/libdns"
)

// limit is how long a provider may take to answer. deSEC has a client wait when it asks too often, for up to a minute.
const limit = 2 * time.Minute

// maxSaid bounds the bytes of what a service said in an error: it may be a page of HTML. Others are bound by what they are.
const maxSaid = 512

// A provider keeps this package's promises around a library that makes no such promises.
type provider struct {
	kind   *kind
	inner  certmagic.DNSProvider
	redact *strings.Replacer
	turns  turns // used if the kind holds a single value
}

// Format keeps the token out of whatever prints a provider: fmt follows pointers for some verbs.
func (p *provider) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, p.kind.name) }

// AppendRecords adds records to a zone. It returns them as they were given: certmagic finds them again by their value, and
// some services quote it.
func (p *provider) AppendRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	if p.kind.single {
		for i, r := range records {
			if err := p.turns.take(ctx, fqdn(r, zone), r.RR().Data); err != nil {
				p.release(zone, records[:i])
				return nil, p.explain("add", zone, records, err)
			}
		}
	}
	if _, err := p.call(ctx, func(ctx context.Context) ([]libdns.Record, error) { return p.inner.AppendRecords(ctx, zone, records) }); err != nil {
		p.release(zone, records)
		return nil, p.explain("add", zone, records, err)
	}
	return records, nil
}

// DeleteRecords takes records away from a zone.
func (p *provider) DeleteRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	// Also when it fails: what is left there then hinders the next one less than waiting for ever would.
	defer p.release(zone, records)
	deleted, err := p.call(ctx, func(ctx context.Context) ([]libdns.Record, error) { return p.inner.DeleteRecords(ctx, zone, records) })
	if err == nil && len(deleted) < len(records) {
		err = errors.New("it isn't there, or has another value; if it stays, delete it by hand")
	}
	if err != nil {
		return nil, p.explain("delete", zone, records, err)
	}
	return records, nil
}

func (p *provider) release(zone string, records []libdns.Record) {
	for _, r := range records {
		p.turns.release(fqdn(r, zone), r.RR().Data)
	}
}

// call runs one call of the library, which may panic on an answer it didn't expect.
func (p *provider) call(ctx context.Context, f func(context.Context) ([]libdns.Record, error)) ([]libdns.Record, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %.0f minutes: %w", limit.Minutes(), context.DeadlineExceeded))
	defer cancel()
	type answer struct {
		records []libdns.Record
		err     error
	}
	done := make(chan answer, 1) // sent to once
	go func() {
		var a answer
		defer func() {
			if r := recover(); r != nil {
				a = answer{err: fmt.Errorf("the answer can't be understood, as if the zone were unknown there (%v)", r)}
			}
			done <- a
		}()
		a.records, a.err = f(ctx)
	}()
	left := ctx.Done()
	if !p.kind.deaf {
		left = nil // it ends by itself, soon after the context
	}
	select {
	case a := <-done:
		if a.err != nil && ctx.Err() != nil {
			a.err = fmt.Errorf("%w (%v)", context.Cause(ctx), a.err)
		}
		return a.records, a.err
	case <-left:
		return nil, context.Cause(ctx)
	}
}

// explain says which record could not be added or deleted, why, and what to look at.
func (p *provider) explain(what, zone string, records []libdns.Record, err error) error {
	names := make([]string, len(records))
	for i, r := range records {
		names[i] = strings.TrimSuffix(fqdn(r, zone), ".")
	}
	why, hint := p.redact.Replace(err.Error()), p.kind.hint
	if hint != "" {
		why = printable(why, maxSaid)
	}
	var advised *advice
	if errors.As(err, &advised) {
		hint = advised.hint
	} else if network := net.Error(nil); hint != "" && errors.As(err, &network) {
		hint = "Is this machine on the internet, and does its name resolution work?"
	}
	if hint != "" {
		why = strings.TrimRight(why, ".\n ") + ". " + hint
	}
	e := &failure{text: printable(fmt.Sprintf("%s could not %s the TXT record %s: %s", p.kind.title, what, strings.Join(names, ", "), why), 2*maxOutput)}
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, ended) {
			e.ended = ended
		}
	}
	return e
}

// A failure has the text alone of the error behind it, which may hold a token; and whether a context ended it.
type failure struct {
	text  string
	ended error
}

func (e *failure) Error() string { return e.text }
func (e *failure) Unwrap() error { return e.ended }

// An advice is an error whose cause is known well enough to say what to do.
type advice struct {
	error
	hint string
}

func (a *advice) Unwrap() error { return a.error }

// redactor replaces secrets, also as they stand in a URL or in JSON.
func redactor(secrets []string) *strings.Replacer {
	var pairs []string
	for _, s := range secrets {
		if s == "" {
			continue
		}
		quoted, _ := json.Marshal(s) // a string always can be
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s), string(quoted[1 : len(quoted)-1])} {
			pairs = append(pairs, form, "…")
		}
	}
	return strings.NewReplacer(pairs...)
}

// printable is a text on one line, without control characters, of at most so many bytes.
func printable(s string, limit int) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// fqdn is a record's full name, with the dot at its end.
func fqdn(r libdns.Record, zone string) string {
	return strings.TrimSuffix(libdns.AbsoluteName(r.RR().Name, zone), ".") + "."
}

// turns lets one value at a time stand at a name. A certificate for example.org and one for *.example.org want different values
// at the same name, and are ordered at the same time.
type turns struct {
	mu    sync.Mutex
	taken map[string]turn // by name; guarded by mu
}

type turn struct {
	value string
	over  chan struct{} // closed by release
}

// take waits until no other value stands at the name.
func (t *turns) take(ctx context.Context, name, value string) error {
	// The other one is there until it was seen by the ACME server, or was not.
	ctx, cancel := context.WithTimeoutCause(ctx, 2*propagation, errors.New("the record of another certificate for the same name is still in use"))
	defer cancel()
	for {
		t.mu.Lock()
		other, taken := t.taken[name]
		if !taken {
			if t.taken == nil {
				t.taken = map[string]turn{}
			}
			t.taken[name] = turn{value, make(chan struct{})}
		}
		t.mu.Unlock()
		if !taken || other.value == value {
			return nil
		}
		select {
		case <-other.over:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (t *turns) release(name, value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine, taken := t.taken[name]; taken && mine.value == value {
		close(mine.over)
		delete(t.taken, name)
	}
}
