package https

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// Status is what an owner wants to know.
type Status struct {
	Mode            string `json:"mode"`
	Directory       string `json:"directory,omitempty"` // of the ACME server
	Names           []Name `json:"names"`
	RootFingerprint string `json:"root_fingerprint,omitempty"` // of Croft's own authority
	Healthy         bool   `json:"healthy"`
	Problem         string `json:"problem,omitempty"` // why it isn't
}

// Name is a name and its certificate. What there is none of is left out.
type Name struct {
	Name      string     `json:"name"`
	Issuer    string     `json:"issuer,omitempty"`
	Serial    string     `json:"serial,omitempty"` // in hexadecimal
	NotBefore *time.Time `json:"not_before,omitempty"`
	NotAfter  *time.Time `json:"not_after,omitempty"`
	DaysLeft  *int       `json:"days_left,omitempty"` // whole days; negative when it is over
	Renews    *time.Time `json:"renews,omitempty"`    // when it is renewed by itself
	LastError string     `json:"last_error,omitempty"`
	LastTry   *time.Time `json:"last_try,omitempty"` // that of LastError
	NextTry   *time.Time `json:"next_try,omitempty"`
}

func nameOf(name string, cert *tls.Certificate, now time.Time) Name {
	n := Name{Name: name}
	if cert == nil {
		return n
	}
	leaf := cert.Leaf
	days := int(leaf.NotAfter.Sub(now) / (24 * time.Hour))
	if leaf.NotAfter.Before(now) {
		days--
	}
	n.Issuer, n.Serial = issuerOf(leaf), fmt.Sprintf("%x", leaf.SerialNumber)
	n.NotBefore, n.NotAfter, n.DaysLeft = plainTime(leaf.NotBefore), plainTime(leaf.NotAfter), &days
	return n
}

func (n *Name) trouble(t trouble) {
	if t.Text != "" {
		n.LastError, n.LastTry, n.NextTry = t.Text, plainTime(t.At), plainTime(t.Next)
	}
}

// issuerOf is who issued a certificate, in the shortest form that tells.
func issuerOf(leaf *x509.Certificate) string {
	who := leaf.Issuer
	switch {
	case who.CommonName != "" && len(who.Organization) > 0 && !strings.HasPrefix(who.CommonName, who.Organization[0]):
		return who.Organization[0] + " " + who.CommonName
	case who.CommonName != "":
		return who.CommonName
	}
	return who.String()
}

func plainTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

// Status returns the state of all certificates to a caller who may manage the server.
func (h *HTTPS) Status(_ context.Context, c *identity.Caller) (*Status, error) {
	if err := mayManage(c); err != nil {
		return nil, err
	}
	s := &Status{Mode: h.o.Mode, Names: []Name{}}
	if h.o.Mode == ACME {
		s.Directory = h.o.Directory
	}
	if l, ok := h.source.(*local); ok && l.root != nil {
		s.RootFingerprint = l.root.Fingerprint()
	}
	if h.source != nil {
		s.Names = append(s.Names, h.source.state()...)
	}
	problem := h.healthy(s.Names)
	if s.Healthy = problem == nil; !s.Healthy {
		s.Problem = problem.Error()
	}
	return s, nil
}

// Renew gets all certificates anew, and returns when that is done.
func (h *HTTPS) Renew(ctx context.Context, c *identity.Caller) error {
	if err := mayManage(c); err != nil {
		return err
	}
	if h.source == nil {
		return errs.New(errs.Conflict, "HTTPS is off: there is no certificate to renew. Set https.mode, and start Croft again.")
	}
	err := h.source.renew(ctx)
	if e := (*errs.Error)(nil); err == nil || errors.As(err, &e) {
		return err
	}
	return errs.New(errs.Upstream, "not every certificate could be renewed: "+err.Error())
}

// ForgetRoot deletes Croft's own authority from the data file, after a theft of it or for other names. The next start makes a new one, which every
// device must be told to trust.
func (h *HTTPS) ForgetRoot(ctx context.Context, c *identity.Caller) error {
	if err := mayManage(c); err != nil {
		return err
	}
	if h.o.Mode != Local {
		return errs.New(errs.Conflict, "this server has no authority of its own: https.mode is not local")
	}
	return h.db.Reclaim(ctx, func(tx *store.Tx) error {
		return errors.Join(tx.Delete(keyOf(kindRoot, "")), tx.Delete(keyOf(kindLeaf, "")))
	})
}

// Healthy says what is wrong with the certificates, nil for nothing.
func (h *HTTPS) Healthy() error {
	if h.source == nil {
		return nil
	}
	return h.healthy(h.source.state())
}

func (h *HTTPS) healthy(names []Name) error {
	now := h.o.Now()
	for _, n := range names {
		text := ""
		switch {
		case n.NotAfter == nil:
			text = "there is no certificate for " + n.Name
			if n.LastError == "" {
				text += " yet"
			}
		case !now.Before(*n.NotAfter):
			text = fmt.Sprintf("the certificate for %s ended on %s; this machine's clock shows %s", n.Name, day(*n.NotAfter), clock(now))
		case now.Before(*n.NotBefore):
			text = fmt.Sprintf("the certificate for %s is valid from %s, but this machine's clock shows %s: it may be wrong", n.Name, day(*n.NotBefore), clock(now))
		// Half of the time that renewal had has passed.
		case n.LastError != "" && n.NotAfter.Sub(now) < time.Duration(h.o.RenewAt/2*float64(n.NotAfter.Sub(*n.NotBefore))):
			text = fmt.Sprintf("the certificate for %s ends on %s, and could not be renewed", n.Name, day(*n.NotAfter))
		case n.LastError != "" && h.o.Mode == Files:
			text = "the certificate's files can't be used"
		}
		if text != "" {
			if n.LastError != "" {
				text += ": " + n.LastError
			}
			return errors.New(text)
		}
	}
	return nil
}

// validity says why a certificate isn't valid now, "" if it is.
func validity(leaf *x509.Certificate, now time.Time) string {
	switch {
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("it is valid from %s, but this machine's clock shows %s", day(leaf.NotBefore), clock(now))
	case !now.Before(leaf.NotAfter):
		return fmt.Sprintf("it ended on %s; this machine's clock shows %s", day(leaf.NotAfter), clock(now))
	}
	return ""
}

func mayManage(c *identity.Caller) error {
	switch {
	case !c.SignedIn():
		return errs.New(errs.Unauthenticated, "sign in as an admin to see the certificates or to renew them")
	case c.Token != nil:
		return errs.New(errs.Forbidden, "API tokens are for records alone; sign in as an admin to see the certificates or to renew them")
	case !c.Manages():
		return errs.New(errs.Forbidden, "only admins may see the certificates and renew them")
	}
	return nil
}
