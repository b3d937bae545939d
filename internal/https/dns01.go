package https

import (
	"context"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

// dnsSolver tells errors of the DNS provider from the authority's.
type dnsSolver struct{ *certmagic.DNS01Solver }

// Present sets the record.
func (s dnsSolver) Present(ctx context.Context, c acme.Challenge) error {
	if err := s.DNS01Solver.Present(ctx, c); err != nil {
		return &dnsError{c.DNS01TXTRecordName(), false, err}
	}
	return nil
}

// Wait waits until the record is seen.
func (s dnsSolver) Wait(ctx context.Context, c acme.Challenge) error {
	if err := s.DNS01Solver.Wait(ctx, c); err != nil {
		return &dnsError{c.DNS01TXTRecordName(), true, err}
	}
	return nil
}

// A dnsError is about the record that DNS-01 needs.
type dnsError struct {
	record string
	set    bool // it was set, but isn't seen
	err    error
}

func (e *dnsError) Error() string { return e.record + ": " + e.err.Error() }
func (e *dnsError) Unwrap() error { return e.err }
