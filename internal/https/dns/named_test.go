package dns_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"croft/internal/needs"
)

// Keys of the test server: one that may change example.test, and one that may not.
const (
	keyName   = "croft-test"
	keySecret = "c2VjcmV0IG9mIHRoZSB0ZXN0IHNlcnZlciwgMzIgYnl0ZXM="
	idleName  = "idle"
)

// A named is Debian's DNS server on loopback, with the zone example.test, which takes updates.
type named struct {
	addr string // 127.0.0.1:port
	cmd  *exec.Cmd
}

func startNamed(t *testing.T) *named {
	t.Helper()
	program := needs.Program(t, "named")
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("example.test.zone", `$TTL 60
@ IN SOA ns hostmaster ( 1 60 60 600 1 )
@ IN NS ns
ns IN A 127.0.0.1
`)
	for range 5 { // another program may take the port before named does
		n := &named{addr: freePort(t)}
		_, port, _ := net.SplitHostPort(n.addr)
		write("named.conf", fmt.Sprintf(`
options {
	directory %[1]q; pid-file none; session-keyfile none; managed-keys-directory %[1]q;
	listen-on port %[2]s { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; dnssec-validation no; allow-query { any; }; notify no; tcp-clients 20;
};
controls { };
key %[3]q { algorithm hmac-sha256; secret %[4]q; };
key %[5]q { algorithm hmac-sha256; secret %[4]q; };
zone "example.test" { type primary; file "example.test.zone"; update-policy { grant %[3]s zonesub ANY; }; };
`, dir, port, keyName, keySecret, idleName))
		var log bytes.Buffer
		n.cmd = exec.Command(program, "-f", "-n", "1", "-c", filepath.Join(dir, "named.conf"), "-g")
		n.cmd.Stdout, n.cmd.Stderr = &log, &log
		if err := n.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = n.cmd.Wait(); close(ended) }()
		stop := func() { _ = n.cmd.Process.Kill(); <-ended }
		if n.answers(ended) {
			t.Cleanup(stop)
			return n
		}
		stop()
		t.Logf("named on %s: %s", n.addr, &log)
	}
	t.Fatal("named does not start")
	return nil
}

func (n *named) answers(ended chan struct{}) bool {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if m, err := n.ask("example.test.", mdns.TypeSOA); err == nil && len(m.Answer) == 1 {
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

func (n *named) ask(name string, typ uint16) (*mdns.Msg, error) {
	m := new(mdns.Msg).SetQuestion(name, typ)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return mdns.ExchangeContext(ctx, m, n.addr)
}

// values are the TXT values of a name, in order.
func (n *named) values(t *testing.T, name string) []string {
	t.Helper()
	m, err := n.ask(name, mdns.TypeTXT)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, rr := range m.Answer {
		values = append(values, rr.(*mdns.TXT).Txt...)
	}
	slices.Sort(values)
	return values
}

// freePort is an address of loopback where nobody listened a moment ago, neither by TCP nor by UDP.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		u, err := net.ListenPacket("udp", l.Addr().String())
		l.Close()
		if err == nil {
			u.Close()
			return l.Addr().String()
		}
	}
}
