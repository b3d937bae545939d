package dns_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libdns/libdns"
	"github.com/mholt/acmez/v3/acme"
	mdns "github.com/miekg/dns"

	"croft/internal/https/dns"
	"croft/internal/needs"
)

func txt(name, value string) []libdns.Record {
	return []libdns.Record{libdns.RR{Name: name, Type: "TXT", TTL: time.Minute, Data: value}}
}

func TestUpdates(t *testing.T) {
	n := startNamed(t)
	p, err := dns.New(dns.Options{Provider: "rfc2136", Token: keyName + " " + keySecret, Server: n.addr})
	if err != nil {
		t.Fatal(err)
	}
	const name = "_acme-challenge.example.test."
	for _, value := range []string{"one", "two"} {
		if _, err := p.AppendRecords(t.Context(), "example.test.", txt("_acme-challenge", value)); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.values(t, name); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("after two were added: %q", got)
	}
	if _, err := p.DeleteRecords(t.Context(), "example.test.", txt("_acme-challenge", "one")); err != nil {
		t.Fatal(err)
	}
	if got := n.values(t, name); !slices.Equal(got, []string{"two"}) {
		t.Errorf("after one was deleted: %q", got)
	}
}

// TestUpdateFaults wants a text that says what is wrong, from a real server's answers.
func TestUpdateFaults(t *testing.T) {
	n := startNamed(t)
	wrong := "d3Jvbmcg" + keySecret[8:]
	for _, c := range []struct{ fault, token, zone, server, want string }{
		{"secret", keyName + " " + wrong, "example.test.", n.addr, "The secret of the key croft-test is another one there"},
		{"key", "other " + keySecret, "example.test.", n.addr, "It knows no key other of hmac-sha256"},
		{"algorithm", keyName + " hmac-sha512 " + keySecret, "example.test.", n.addr, "It knows no key croft-test of hmac-sha512"},
		{"right", idleName + " " + keySecret, "example.test.", n.addr, "its update-policy must grant the key this name"},
		{"zone", keyName + " " + keySecret, "other.test.", n.addr, "It is not the server of the zone other.test"},
		{"not its start", keyName + " " + keySecret, "sub.example.test.", n.addr, "It is not the server of the zone sub.example.test"},
		{"down", keyName + " " + keySecret, "example.test.", freePort(t), "does it answer there by TCP?"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			p, err := dns.New(dns.Options{Provider: "rfc2136", Token: c.token, Server: c.server})
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.AppendRecords(t.Context(), c.zone, txt("_acme-challenge", "value"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("want %q: %v", c.want, err)
			}
			if strings.Contains(err.Error(), keySecret) || strings.Contains(err.Error(), wrong) {
				t.Errorf("the secret is in: %v", err)
			}
		})
	}
	if got := n.values(t, "_acme-challenge.example.test."); got != nil {
		t.Errorf("something was added: %q", got)
	}
}

// TestUpdateClock has a server of our own answer as one whose clock is elsewhere.
func TestUpdateClock(t *testing.T) {
	listening := make(chan struct{})
	s := &mdns.Server{Addr: freePort(t), Net: "tcp", NotifyStartedFunc: func() { close(listening) }, MsgAcceptFunc: func(mdns.Header) mdns.MsgAcceptAction { return mdns.MsgAccept }}
	s.Handler = mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		a := new(mdns.Msg).SetRcode(q, mdns.RcodeNotAuth)
		sig := *q.IsTsig()
		sig.Error, sig.MAC, sig.MACSize = mdns.RcodeBadTime, "", 0
		a.Extra = append(a.Extra, &sig)
		b, err := a.Pack()
		if err == nil {
			_, err = w.Write(b)
		}
		if err != nil {
			t.Error(err)
		}
	})
	served := make(chan error, 1)
	go func() { served <- s.ListenAndServe() }()
	select {
	case <-listening:
	case err := <-served:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	p, err := dns.New(dns.Options{Provider: "rfc2136", Token: keyName + " " + keySecret, Server: s.Addr})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.AppendRecords(t.Context(), "example.test.", txt("_acme-challenge", "value"))
	if want := "are more than 5 minutes apart"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("want %q: %v", want, err)
	}
}

// TestSolver goes through what certmagic does for a challenge, with the key file of BIND's own tool.
func TestSolver(t *testing.T) {
	n := startNamed(t)
	printed, err := exec.Command(needs.Program(t, "tsig-keygen"), "-a", "hmac-sha256", keyName).Output()
	if err != nil {
		t.Fatal(err)
	}
	// Its secret is random, and the server has another.
	before, after, _ := strings.Cut(string(printed), `secret "`)
	_, after, _ = strings.Cut(after, `"`)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("# made for a test\n"+before+`secret "`+keySecret+`"`+after), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := dns.Solver(dns.Options{Provider: "rfc2136", TokenFile: file, Server: n.addr, Resolvers: []string{n.addr}})
	if err != nil {
		t.Fatal(err)
	}
	c := acme.Challenge{Type: acme.ChallengeTypeDNS01, Token: "token", KeyAuthorization: "token.thumbprint", Identifier: acme.Identifier{Type: "dns", Value: "solver.example.test"}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Present(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(ctx, c); err != nil {
		t.Error(err)
	}
	if got := n.values(t, "_acme-challenge.solver.example.test."); !slices.Equal(got, []string{c.DNS01KeyAuthorization()}) {
		t.Errorf("presented: %q", got)
	}
	if err := s.CleanUp(ctx, c); err != nil {
		t.Error(err)
	}
	if got := n.values(t, "_acme-challenge.solver.example.test."); got != nil {
		t.Errorf("left: %q", got)
	}
}
