package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// validity is how long a certificate holds. Safari and Chromium refuse more than 398 days (825 where the root is the user's own);
// a day less leaves no argument about the last second.
const validity = 397 * 24 * time.Hour

// Issue makes a certificate for host names, which may begin with "*.", and IP addresses. All must be permitted. The chain has the
// certificate and its issuer; the root is not sent, because who doesn't have it can't trust it. The same time that is too early
// for the root, or too late, is an error that asks to look at the clock.
func (r *Root) Issue(names []string, now time.Time) (*tls.Certificate, error) {
	if now.Before(r.issuer.NotBefore) || !now.Before(r.issuer.NotAfter) {
		return nil, fmt.Errorf("the machine's clock says %s, and this Croft's authority holds from %s to %s: set the clock, if it is wrong",
			now.UTC().Format(time.DateTime), r.issuer.NotBefore.Format(time.DateOnly), r.issuer.NotAfter.Format(time.DateOnly))
	}
	form := x509.Certificate{
		// No common name: nobody reads it for a host's any more, and some verifiers hold one that looks like a host to the
		// constraints for names, though it is an address.
		Subject:               pkix.Name{Organization: []string{"Croft"}},
		NotBefore:             now.Add(-early),
		NotAfter:              now.Add(validity - early),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if form.NotBefore.Before(r.issuer.NotBefore) {
		form.NotBefore = r.issuer.NotBefore
	}
	if form.NotAfter.After(r.issuer.NotAfter) {
		form.NotAfter = r.issuer.NotAfter
	}
	for _, name := range names {
		if err := r.Permits(name); err != nil {
			return nil, err
		}
		if addr, err := parseAddr(name); err == nil {
			if ip := net.IP(addr.AsSlice()); !slices.ContainsFunc(form.IPAddresses, ip.Equal) {
				form.IPAddresses = append(form.IPAddresses, ip)
			}
		} else if name = clean(name); !slices.Contains(form.DNSNames, name) {
			form.DNSNames = append(form.DNSNames, name)
		}
	}
	if len(form.DNSNames)+len(form.IPAddresses) == 0 {
		return nil, errors.New("there is no name to issue a certificate for")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf, err := sign(&form, r.issuer, &key.PublicKey, r.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, r.issuer.Raw}, PrivateKey: key, Leaf: leaf}, nil
}
