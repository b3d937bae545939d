package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/libdns/rfc2136"
	mdns "github.com/miekg/dns"
)

// updates changes the zones of a DNS server (RFC 2136), and finds out why it wouldn't: the library says "bad authentication" to
// a wrong key and to an unknown zone alike.
type updates struct{ *rfc2136.Provider }

func (u updates) AppendRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	added, err := u.Provider.AppendRecords(ctx, zone, records)
	return added, u.advise(ctx, zone, err)
}

func (u updates) DeleteRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	deleted, err := u.Provider.DeleteRecords(ctx, zone, records)
	return deleted, u.advise(ctx, zone, err)
}

func (u updates) advise(ctx context.Context, zone string, err error) error {
	if err == nil {
		return nil
	}
	if network := net.Error(nil); errors.As(err, &network) {
		return &advice{err, fmt.Sprintf("Is %s the primary DNS server, and does it answer there by TCP? ([https.dns] server)", u.Server)}
	}
	key := strings.TrimSuffix(u.KeyName, ".")
	authority, fault := u.ask(ctx, zone)
	switch {
	case fault == mdns.RcodeBadKey:
		return &advice{err, fmt.Sprintf("It knows no key %s of %s: look at the key's name and algorithm in the token and at the server.", key, u.KeyAlg)}
	case fault == mdns.RcodeBadSig:
		return &advice{err, fmt.Sprintf("The secret of the key %s is another one there, or its algorithm: copy the key again.", key)}
	case fault == mdns.RcodeBadTime:
		return &advice{err, fmt.Sprintf("The server's clock and this machine's, where it is %s, are more than 5 minutes apart: one of them is wrong.", time.Now().UTC().Format(time.RFC3339))}
	case !authority:
		return &advice{err, fmt.Sprintf("It is not the server of the zone %s: [https.dns] server must be the zone's primary server.", strings.TrimSuffix(zone, "."))}
	}
	return &advice{err, fmt.Sprintf("It knows the key %s and the zone, and doesn't allow this: its update-policy must grant the key this name and the type TXT.", key)}
}

// ask asks the server for the zone's start, signed by the key: does it have the zone, and what is wrong with the key (a TSIG error, 0 if nothing is known)?
func (u updates) ask(ctx context.Context, zone string) (authority bool, fault uint16) {
	key := mdns.Fqdn(u.KeyName)
	q := new(mdns.Msg).SetQuestion(mdns.Fqdn(zone), mdns.TypeSOA)
	q.SetTsig(key, mdns.Fqdn(u.KeyAlg), 300, time.Now().Unix())
	c := &mdns.Client{Net: "tcp", TsigSecret: map[string]string{key: u.Key}}
	// The answer to a bad key is no less telling for being an error as well.
	a, _, _ := c.ExchangeContext(ctx, q, u.Server)
	if a == nil {
		return true, 0
	}
	if t := a.IsTsig(); t != nil {
		fault = t.Error
	}
	return a.Authoritative && len(a.Answer) > 0, fault
}
