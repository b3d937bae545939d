// Package authority is Croft's own certificate authority, for names that no public one vouches for: croft.local, pi.lan,
// 192.168.1.20. Devices trust its root once; Croft issues its certificates from then on.
//
// It promises:
//   - The root's key signs one certificate, the issuer's, and is forgotten. What the data file and its copies hold is the
//     issuer's key.
//   - Whoever steals that key can vouch for names at home and private addresses only. Root and issuer both carry the same
//     critical name constraints: browsers, OpenSSL and Go hold a trusted root to its own, while Android (as RFC 5280, 6.1
//     permits) holds only what stands below a root to them.
//   - Certificates are such as browsers accept: ECDSA P-256, 397 days at most, names and addresses as alternative names.
//
// The package is pure: what is stored is its caller's, and it writes no keys.
package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// lifetime is how long devices may trust a root. Nobody wants to do this often.
const lifetime = 10 * 365 * 24 * time.Hour

// born is when every root's time begins, before the first Croft: the clock of the machine that makes it may be wrong, and a root is made
// once. For the same reason a root lasts at least until lifetime after this.
var born = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// early is how far back a certificate's time begins, for devices whose clocks are behind.
const early = time.Hour

// A Root is an authority. It never changes.
type Root struct {
	root   *x509.Certificate // what devices trust
	issuer *x509.Certificate // what signs, and is sent along
	key    *ecdsa.PrivateKey // the issuer's
}

// New makes an authority. It may vouch for the names that home networks use, for private addresses, and for the names given,
// for ever: later ones can't be added. Those that no such authority should vouch for are left out; Permits says why.
func New(now time.Time, names ...string) (*Root, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&rootKey.PublicKey)
	if err != nil {
		return nil, err
	}
	// Someone may have two Crofts, and sees only this name in a phone's settings.
	digest := sha256.Sum256(public)
	id := hex.EncodeToString(digest[:2])
	until := born.Add(lifetime)
	if now.After(born) {
		until = now.Add(lifetime)
	}
	rootForm := x509.Certificate{
		Subject:                     pkix.Name{Organization: []string{"Croft"}, CommonName: "Croft home authority " + id},
		NotBefore:                   born,
		NotAfter:                    until,
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLen:                  1,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         permitted(names),
		PermittedIPRanges:           privateRanges(),
	}
	root, err := sign(&rootForm, &rootForm, &rootKey.PublicKey, rootKey)
	if err != nil {
		return nil, err
	}
	issuerForm := rootForm
	issuerForm.Subject.CommonName = "Croft issuer " + id
	issuerForm.MaxPathLen, issuerForm.MaxPathLenZero = 0, true
	issuerForm.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} // neither mail nor programs
	issuer, err := sign(&issuerForm, root, &key.PublicKey, rootKey)
	if err != nil {
		return nil, err
	}
	return &Root{root, issuer, key}, nil
}

// sign makes a certificate. Its serial number is random.
func sign(form, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, form, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// The types of PEM blocks.
const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
)

// Bytes returns all of an authority, the issuer's private key included, as Parse reads it.
func (r *Root) Bytes() []byte {
	key, err := x509.MarshalPKCS8PrivateKey(r.key)
	if err != nil {
		panic(err) // every P-256 key has this form
	}
	var b bytes.Buffer
	for _, block := range []pem.Block{
		{Type: certificateBlock, Bytes: r.root.Raw}, {Type: certificateBlock, Bytes: r.issuer.Raw}, {Type: keyBlock, Bytes: key},
	} {
		_ = pem.Encode(&b, &block) // fails only where the writer does
	}
	return b.Bytes()
}

// Parse reads what Bytes returned. Its errors name what is wrong and show nothing of the key.
func Parse(b []byte) (*Root, error) {
	rootDER, b, err := next(b, certificateBlock)
	if err != nil {
		return nil, err
	}
	issuerDER, b, err := next(b, certificateBlock)
	if err != nil {
		return nil, err
	}
	keyDER, b, err := next(b, keyBlock)
	if err != nil {
		return nil, err
	}
	if len(b) > 0 {
		return nil, errors.New("something follows the authority's key")
	}
	var r Root
	if r.root, err = x509.ParseCertificate(rootDER); err != nil {
		return nil, fmt.Errorf("the root's certificate: %w", err)
	}
	if r.issuer, err = x509.ParseCertificate(issuerDER); err != nil {
		return nil, fmt.Errorf("the issuer's certificate: %w", err)
	}
	if err := errors.Join(r.root.CheckSignatureFrom(r.root), r.issuer.CheckSignatureFrom(r.root)); err != nil {
		return nil, fmt.Errorf("the issuer is not of this root: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, errors.New("the issuer's private key can't be read")
	}
	ours, ok := key.(*ecdsa.PrivateKey)
	if !ok || !ours.PublicKey.Equal(r.issuer.PublicKey) {
		return nil, errors.New("the private key is not the issuer's")
	}
	r.key = ours
	return &r, nil
}

// next takes a PEM block of a type from the front of b. What Bytes never writes, such as text between the blocks, is refused.
func next(b []byte, kind string) (der, rest []byte, err error) {
	if !bytes.HasPrefix(b, []byte("-----BEGIN "+kind+"-----\n")) {
		return nil, nil, fmt.Errorf("the authority has no %s where one belongs", kind)
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != kind || len(block.Headers) > 0 {
		return nil, nil, fmt.Errorf("the authority has a broken %s", kind)
	}
	return block.Bytes, rest, nil
}

// PEM returns the root's certificate, for devices to trust.
func (r *Root) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: r.root.Raw})
}

// Name is what devices call the root, such as "Croft home authority 3f9a".
func (r *Root) Name() string { return r.root.Subject.CommonName }

// Fingerprint is that of the root.
func (r *Root) Fingerprint() string { return Fingerprint(r.root) }

// NotAfter is when the root ends, and with it all that it vouches for.
func (r *Root) NotAfter() time.Time { return r.root.NotAfter }

// Fingerprint returns the SHA-256 of a certificate as devices show it: "3F:9A:…".
func Fingerprint(c *x509.Certificate) string {
	digest := sha256.Sum256(c.Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", digest[:]), " ", ":")
}
