package mdns_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"croft/internal/mdns"
	"croft/internal/needs"
)

// deadline is how long a test waits for what must happen; far more than it takes.
const deadline = 60 * time.Second

// The test binary is also the server that runs in another network namespace: its standard output says what it does, and when its
// standard input ends it closes.
const (
	roleVariable = "MDNS_TEST_ROLE"
	askVariable  = "MDNS_TEST_ASK" // or it asks for the address of a name
)

func TestMain(m *testing.M) {
	var err error
	switch role, name := os.Getenv(roleVariable), os.Getenv(askVariable); {
	case role != "":
		err = serve(role)
	case name != "":
		err = ask(name)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// ask prints what a resolver that knows nothing of multicast DNS is answered.
func ask(name string) error {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	wire, err := m.Pack()
	if err != nil {
		return err
	}
	if _, err := conn.WriteToUDPAddrPort(wire, netip.MustParseAddrPort("224.0.0.251:5353")); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil { // the caller asks again
		return err
	}
	buf := make([]byte, 9000)
	n, err := conn.Read(buf)
	if err != nil {
		return err
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(buf[:n]); err != nil {
		return err
	}
	if reply.Id != m.Id || len(reply.Question) != 1 || reply.Question[0] != m.Question[0] {
		return fmt.Errorf("no answer to the question: %v", reply)
	}
	for _, rr := range reply.Answer {
		fmt.Println(rr)
	}
	return nil
}

// A said is a line of the server's output.
type said struct {
	Name       string
	Closed     bool
	Goroutines int // left when it was closed
}

func serve(role string) error {
	var o mdns.Options
	if err := json.Unmarshal([]byte(role), &o); err != nil {
		return err
	}
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	out := json.NewEncoder(os.Stdout)
	before := runtime.NumGoroutine()
	r, err := mdns.Start(o)
	if err != nil {
		return err
	}
	over, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		last := ""
		for {
			if name := r.Name(); name != last {
				last = name
				out.Encode(said{Name: name})
			}
			select {
			case <-over:
				return
			case <-tick.C:
			}
		}
	}()
	io.Copy(io.Discard, os.Stdin)
	close(over)
	<-watched
	if err := r.Close(); err != nil {
		return err
	}
	left := runtime.NumGoroutine() - before
	for end := time.Now().Add(10 * time.Second); left > 0 && time.Now().Before(end); left = runtime.NumGoroutine() - before {
		time.Sleep(time.Millisecond) // one that has said that it is done still has to return
	}
	return out.Encode(said{Closed: true, Goroutines: left})
}

// A server is one that runs in a namespace.
type server struct {
	t     *testing.T
	stdin io.Closer
	mu    sync.Mutex
	last  said
	names []string // all that it has called itself
	ended chan struct{}
}

// name waits until the server calls itself so.
func (s *server) name(want string) {
	s.t.Helper()
	until(s.t, "a server calls itself "+want, func() (string, bool) {
		said := s.says()
		return said.Name, said.Name == want
	})
}

func (s *server) says() said {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *server) close() {
	s.stdin.Close()
	<-s.ended
}

func start(t *testing.T, space string, o mdns.Options) *server {
	t.Helper()
	role, err := json.Marshal(map[string]any{"Name": o.Name, "Port": o.Port, "TLS": o.TLS, "Address": o.Address})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", space, os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+string(role))
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, stdin: stdin, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		for d := json.NewDecoder(stdout); ; {
			var line said
			if d.Decode(&line) != nil {
				break
			}
			s.mu.Lock()
			s.last = line
			if line.Name != "" {
				s.names = append(s.names, line.Name)
			}
			s.mu.Unlock()
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server in %s: %v", space, err)
		}
		if last := s.says(); last != (said{Closed: true}) {
			t.Errorf("the server in %s ended with %+v", space, last)
		}
	}()
	t.Cleanup(s.close)
	return s
}

// A network is a switch with machines, each a network namespace with one cable called eth0.
type network struct {
	t      *testing.T
	prefix string
}

var networks atomic.Int32

func newNetwork(t *testing.T) *network {
	needs.Root(t)
	needs.Program(t, "ip")
	n := &network{t, fmt.Sprintf("mdns%d-%d", os.Getpid(), networks.Add(1))}
	n.ip("netns", "add", n.space("switch"))
	t.Cleanup(func() { n.ip("netns", "del", n.space("switch")) })
	n.ip("-n", n.space("switch"), "link", "add", "br0", "type", "bridge")
	n.ip("-n", n.space("switch"), "link", "set", "br0", "up")
	return n
}

func (n *network) space(machine string) string { return n.prefix + machine }

// machine adds one with addresses, or none yet.
func (n *network) machine(name string, addrs ...string) (space string) {
	space = n.space(name)
	n.ip("netns", "add", space)
	n.t.Cleanup(func() { n.ip("netns", "del", space) })
	n.ip("-n", space, "link", "set", "lo", "up")
	if len(addrs) > 0 {
		n.plug(name, "eth0", addrs...)
	}
	return space
}

// plug connects a machine with the switch.
func (n *network) plug(name, port string, addrs ...string) {
	sw, space := n.space("switch"), n.space(name)
	n.ip("-n", sw, "link", "add", name+port, "type", "veth", "peer", "name", port, "netns", space)
	n.ip("-n", sw, "link", "set", name+port, "master", "br0", "up")
	for _, a := range addrs {
		n.ip("-n", space, "addr", "add", a, "dev", port)
	}
	n.ip("-n", space, "link", "set", port, "up")
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// An avahi is Debian's mDNS daemon in a namespace, with which other machines look for us.
type avahi struct {
	t   *testing.T
	pid string // of a process in its namespaces
	bus string
}

func startAvahi(t *testing.T, space, host string) *avahi {
	t.Helper()
	for _, p := range []string{"avahi-daemon", "avahi-resolve", "avahi-browse", "dbus-daemon", "nsenter", "unshare"} {
		needs.Program(t, p)
	}
	// The path of a socket is short, and TMPDIR may be long; each daemon has a /run of its own.
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bus.conf"), `<busconfig><type>system</type><listen>unix:path=/run/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>`)
	write(t, filepath.Join(dir, "avahi.conf"), "[server]\nhost-name="+host+"\nuse-ipv4=yes\nuse-ipv6=yes\n[publish]\npublish-workstation=no\n")
	script := `mount -t tmpfs tmpfs /run && mkdir /run/avahi-daemon && chown avahi:avahi /run/avahi-daemon &&
dbus-daemon --config-file="$1/bus.conf" --nofork --nopidfile --print-address >&2 & bus=$!
trap 'kill $bus $avahi; wait' EXIT
while ! [ -S /run/bus ]; do sleep 0.02; done
DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus avahi-daemon --file "$1/avahi.conf" --no-rlimits --no-chroot >&2 & avahi=$!
echo $$
read -r end`
	cmd := exec.Command("ip", "netns", "exec", space, "unshare", "--mount", "sh", "-c", script, "sh", dir)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	pid, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("avahi-daemon in %s: %v", space, err)
	}
	a := &avahi{t, strings.TrimSpace(pid), "unix:path=/run/bus"}
	until(t, "Avahi runs", func() (string, bool) { return a.run("avahi-resolve", "-4", "-n", host+".local") })
	return a
}

// run runs one of Avahi's programs where the daemon is.
func (a *avahi) run(args ...string) (out string, ok bool) {
	return a.runFor(deadline, args...)
}

func (a *avahi) runFor(most time.Duration, args ...string) (out string, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", a.pid, "--mount", "--net"}, args...)...)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+a.bus, "LC_ALL=C.UTF-8")
	b, err := cmd.CombinedOutput()
	// avahi-resolve says that it found nothing and succeeds.
	return string(b), err == nil && !strings.Contains(string(b), "Failed")
}

// forgot tells that a name is no longer known, which would be answered at once; for others Avahi waits five seconds.
func (a *avahi) forgot(name string) {
	a.t.Helper()
	if out, ok := a.runFor(time.Second, "avahi-resolve", "-4", "-n", name); ok {
		a.t.Errorf("still known: %s", out)
	}
}

// finds waits until a name has this address.
func (a *avahi) finds(name, want string) {
	a.t.Helper()
	family := "-4"
	if netip.MustParseAddr(want).Is6() {
		family = "-6"
	}
	until(a.t, name+" is "+want, func() (string, bool) {
		out, ok := a.run("avahi-resolve", family, "-n", name)
		return out, ok && strings.TrimSpace(out) == name+"\t"+want
	})
}

// browse returns the services of a type, as instance, host, address, port.
func (a *avahi) browse(service string) []string {
	out, _ := a.run("avahi-browse", "--resolve", "--parsable", "--terminate", "--no-db-lookup", service)
	var found []string
	for line := range strings.Lines(out) {
		if f := strings.Split(strings.TrimSpace(line), ";"); len(f) >= 9 && f[0] == "=" && f[2] == "IPv4" {
			found = append(found, strings.Join([]string{unescape(f[3]), f[6], f[7], f[8]}, " "))
		}
	}
	return found
}

// unescape undoes avahi-browse's escapes, which are decimal.
func unescape(s string) string {
	return regexp.MustCompile(`\\\d\d\d`).ReplaceAllStringFunc(s, func(code string) string {
		n, _ := strconv.Atoi(code[1:])
		return string([]byte{byte(n)})
	})
}

// lists waits until exactly these services of a type are listed.
func (a *avahi) lists(service string, want ...string) {
	a.t.Helper()
	slices.Sort(want)
	until(a.t, "the services are listed", func() (string, bool) {
		got := a.browse(service)
		slices.Sort(got)
		return strings.Join(got, "\n"), slices.Equal(got, want)
	})
}

func until(t *testing.T, what string, ok func() (seen string, done bool)) {
	t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(20 * time.Millisecond) {
		seen, done := ok()
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not so after %v; last seen: %s", what, deadline, seen)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
