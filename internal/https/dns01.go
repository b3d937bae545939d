package https

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

// dnsSolver tells errors of the DNS provider from the authority's.
type dnsSolver struct {
	*certmagic.DNS01Solver
	over func() <-chan struct{} // closed when the server stops
}

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

// lastWait is how long a server that stops waits for a provider to take a record back. One that stays does no harm.
const lastWait = 3 * time.Second

// CleanUp takes the record back. certmagic does that in its own time, whatever the context says.
func (s dnsSolver) CleanUp(ctx context.Context, c acme.Challenge) error {
	done := make(chan error, 1)
	go func() { done <- s.DNS01Solver.CleanUp(ctx, c) }()
	select {
	case err := <-done:
		return err
	case <-s.over():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(lastWait):
		return fmt.Errorf("the record %s stays: the server stops, and the DNS provider does not answer", c.DNS01TXTRecordName())
	}
}

// A dnsError is about the record that DNS-01 needs.
type dnsError struct {
	record string
	set    bool // it was set, but isn't seen
	err    error
}

func (e *dnsError) Error() string { return e.record + ": " + e.err.Error() }
func (e *dnsError) Unwrap() error { return e.err }
