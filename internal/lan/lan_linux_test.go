package lan_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"croft/internal/lan"
	"croft/internal/needs"
)

// The test binary is also the program that looks around in a network namespace.
const roleVariable = "LAN_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" {
		json.NewEncoder(os.Stdout).Encode(lan.Addresses())
		return
	}
	os.Exit(m.Run())
}

// TestAddresses gives a machine a cable, a second one, a bridge with containers, and others that are not the home network.
func TestAddresses(t *testing.T) {
	needs.Root(t)
	needs.Program(t, "ip")
	space, router := fmt.Sprintf("lan%d", os.Getpid()), fmt.Sprintf("lanrouter%d", os.Getpid())
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	for _, s := range []string{space, router} {
		ip("netns", "add", s)
		t.Cleanup(func() { ip("netns", "del", s) })
	}
	in := func(args ...string) { t.Helper(); ip(append([]string{"-n", space}, args...)...) }
	// The kernel may take a second to say that a cable works.
	expect := func(want ...string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			cmd := exec.Command("ip", "netns", "exec", space, os.Args[0])
			cmd.Env = append(os.Environ(), roleVariable+"=1")
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if slices.Equal(got, want) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("the addresses are %v, want %v", got, want)
			}
		}
	}
	plug := func(name string, addrs ...string) {
		t.Helper()
		in("link", "add", name, "type", "veth", "peer", "name", "r"+name, "netns", router)
		ip("-n", router, "link", "set", "r"+name, "up")
		for _, a := range addrs {
			in("addr", "add", a, "dev", name, "nodad")
		}
		in("link", "set", name, "up")
	}
	in("link", "set", "lo", "up")
	expect()

	plug("eth0", "198.51.100.7/24", "192.168.7.1/24", "2001:db8:7::1/64", "fd00:7::1/64")
	expect("192.168.7.1", "198.51.100.7", "fd00:7::1", "2001:db8:7::1")

	// Others that are no home network: containers, a VPN by its name, and a link that only has an address of its own making.
	in("link", "add", "containers", "type", "bridge")
	in("link", "add", "one", "type", "veth", "peer", "name", "veth1")
	in("link", "set", "one", "master", "containers", "up")
	in("link", "set", "veth1", "up")
	in("addr", "add", "172.30.0.1/16", "dev", "containers")
	in("link", "set", "containers", "up")
	plug("wg0", "10.9.0.1/24")
	plug("eth2", "169.254.3.4/16")
	expect("192.168.7.1", "198.51.100.7", "fd00:7::1", "2001:db8:7::1")

	// What the default route uses comes first.
	plug("wlan0", "192.168.8.1/24")
	expect("192.168.7.1", "192.168.8.1", "198.51.100.7", "fd00:7::1", "2001:db8:7::1")
	in("route", "add", "default", "via", "192.168.8.254", "dev", "wlan0")
	expect("192.168.8.1", "192.168.7.1", "198.51.100.7", "fd00:7::1", "2001:db8:7::1")

	// A cable that is pulled.
	ip("-n", router, "link", "set", "rwlan0", "down")
	expect("192.168.7.1", "198.51.100.7", "fd00:7::1", "2001:db8:7::1")
}

// TestHere wants nothing but that it works on whatever machine this is.
func TestHere(t *testing.T) {
	for _, a := range lan.Addresses() {
		if a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.Zone() != "" {
			t.Errorf("%v is an address for others", a)
		}
	}
	if best, all := lan.Best(), lan.Addresses(); len(all) > 0 && best != all[0] {
		t.Errorf("the best is %v of %v", best, all)
	}
}
