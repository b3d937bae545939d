package mdns_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"croft/internal/mdns"
)

// listed is how a list of services shows a server of this machine. All namespaces have the same host name.
func listed(t *testing.T, rest string) string {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ = strings.Cut(name, ".")
	return "Croft on " + name + rest
}

// TestFound has Debian's Avahi find a server by name and as a service, follow its address, and forget it.
func TestFound(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.machine("a", "192.168.7.1/24", "fd00:7::1/64")
	b := n.machine("b", "192.168.7.2/24", "fd00:7::2/64")
	client := startAvahi(t, b, "client")
	s := start(t, a, mdns.Options{Name: "croft", Port: 8080})
	s.name("croft.local")
	client.finds("croft.local", "192.168.7.1")
	client.finds("croft.local", "fd00:7::1")
	client.lists("_http._tcp", listed(t, " croft.local 192.168.7.1 8080"))

	n.ip("-n", a, "addr", "add", "192.168.7.11/24", "dev", "eth0")
	n.ip("-n", a, "addr", "del", "192.168.7.1/24", "dev", "eth0")
	n.ip("-n", a, "addr", "replace", "192.168.7.11/24", "dev", "eth0") // the kernel drops it with the first
	client.finds("croft.local", "192.168.7.11")

	s.close()
	client.lists("_http._tcp")
	client.forgot("croft.local")
}

// TestSecond starts servers on machines of one network: each gets a name of its own, one after another, at the same time, and when two
// networks become one.
func TestSecond(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	b := n.machine("b", "192.168.7.2/24")
	a := n.machine("a", "192.168.7.1/24", "fd00:7::1/64")
	c := n.machine("c", "192.168.7.3/24")
	d := n.machine("d", "192.168.7.4/24", "fd00:7::4/64")
	e := n.machine("e", "192.168.7.5/24")
	client := startAvahi(t, b, "client")
	// e is elsewhere for now.
	n.ip("-n", n.space("switch"), "link", "set", "eeth0", "nomaster")
	first := start(t, a, mdns.Options{Name: "croft", Port: 80})
	elsewhere := start(t, e, mdns.Options{Name: "croft", Port: 80})
	first.name("croft.local")
	elsewhere.name("croft.local")

	two := []*server{start(t, c, mdns.Options{Name: "croft", Port: 80}), start(t, d, mdns.Options{Name: "croft", Port: 80})}
	var names []string
	until(t, "two more names", func() (string, bool) {
		names = names[:0]
		for _, s := range two {
			names = append(names, s.says().Name)
		}
		slices.Sort(names)
		return strings.Join(names, " "), slices.Equal(names, []string{"croft-2.local", "croft-3.local"})
	})
	client.finds("croft.local", "192.168.7.1")

	n.ip("-n", n.space("switch"), "link", "set", "eeth0", "master", "br0")
	until(t, "one of two croft.local gives way", func() (string, bool) {
		client.browse("_http._tcp") // each hears the other's answer
		names = []string{first.says().Name, elsewhere.says().Name, two[0].says().Name, two[1].says().Name}
		slices.Sort(names)
		return strings.Join(names, " "), slices.Equal(names, []string{"croft-2.local", "croft-3.local", "croft-4.local", "croft.local"})
	})
	until(t, "four services are listed", func() (string, bool) {
		got := client.browse("_http._tcp")
		return strings.Join(got, "\n"), len(got) == 4
	})
}

// TestLater has the network come after the start, go, and come again.
func TestLater(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	b := n.machine("b", "192.168.7.2/24")
	a := n.machine("a")
	s := start(t, a, mdns.Options{Name: "croft", Port: 443, TLS: true})
	client := startAvahi(t, b, "client") // meanwhile it has seen that there is no network
	n.plug("a", "eth0", "192.168.7.1/24")
	s.name("croft.local")
	client.finds("croft.local", "192.168.7.1")
	client.lists("_https._tcp", listed(t, " croft.local 192.168.7.1 443"))
	n.ip("-n", a, "link", "del", "eth0")
	s.name("")
	n.plug("a", "eth0", "192.168.7.21/24")
	s.name("croft.local")
	client.finds("croft.local", "192.168.7.21")
}

// TestTwoCables has a machine with two ways into the same network, where it hears itself: it is no other machine, and keeps its name.
func TestTwoCables(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.machine("a", "192.168.7.1/24", "fd00:7::1/64")
	n.plug("a", "eth1", "192.168.7.51/24", "fd00:7::51/64")
	b := n.machine("b", "192.168.7.2/24")
	client := startAvahi(t, b, "client")
	s := start(t, a, mdns.Options{Name: "croft", Port: 80})
	s.name("croft.local")
	until(t, "the service is listed", func() (string, bool) {
		got := strings.Join(client.browse("_http._tcp"), "\n")
		return got, strings.HasPrefix(got, listed(t, " croft.local 192.168.7."))
	})
	// A second server on another machine makes the first defend its name at both cables.
	c := start(t, n.machine("c", "192.168.7.3/24"), mdns.Options{Name: "croft", Port: 80})
	c.name("croft-2.local")
	n.ip("-n", a, "link", "del", "eth0")
	client.finds("croft.local", "192.168.7.51")
	s.close()
	if want := []string{"croft.local"}; !slices.Equal(s.names, want) {
		t.Errorf("it called itself %v, want %v", s.names, want)
	}
}

// TestBeside runs on a machine that has an Avahi, which even claims the same name, and another server at another port. The addresses of
// its containers are not told.
func TestBeside(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	b := n.machine("b", "192.168.7.2/24")
	a := n.machine("a", "192.168.7.1/24")
	n.ip("-n", a, "link", "add", "containers", "type", "bridge")
	n.ip("-n", a, "link", "add", "one", "type", "veth", "peer", "name", "inside")
	n.ip("-n", a, "link", "set", "one", "master", "containers", "up")
	n.ip("-n", a, "link", "set", "inside", "up")
	n.ip("-n", a, "addr", "add", "172.30.0.1/16", "dev", "containers")
	n.ip("-n", a, "link", "set", "containers", "up")
	client := startAvahi(t, b, "client")
	own := startAvahi(t, a, "croft")
	s := start(t, a, mdns.Options{Name: "croft", Port: 80})
	s.name("croft.local")
	other := start(t, a, mdns.Options{Name: "croft", Port: 8081})
	other.name("croft.local")
	client.finds("croft.local", "192.168.7.1")
	client.lists("_http._tcp", listed(t, " croft.local 192.168.7.1 80"), listed(t, " (2) croft.local 192.168.7.1 8081"))
	// The daemon beside us still hears the network, and us.
	own.finds("client.local", "192.168.7.2")
	own.lists("_http._tcp", listed(t, " croft.local 192.168.7.1 80"), listed(t, " (2) croft.local 192.168.7.1 8081"))

	// A plain resolver asks from a port of its own, and is answered alone, as by a DNS server.
	n.ip("-n", b, "route", "add", "default", "dev", "eth0")
	until(t, "a plain resolver finds croft.local", func() (string, bool) {
		cmd := exec.Command("ip", "netns", "exec", b, os.Args[0])
		cmd.Env = append(os.Environ(), askVariable+"=croft.local.")
		out, err := cmd.CombinedOutput()
		return string(out), err == nil && string(out) == "croft.local.\t10\tIN\tA\t192.168.7.1\n"
	})
}
