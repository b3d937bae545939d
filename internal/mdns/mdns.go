// Package mdns makes the server found by name in a home network, http://croft.local, without a DNS server: it answers multicast DNS
// (RFC 6762) for its own name, and announces the server as a service that browsers of services list (DNS-SD, RFC 6763).
//
// It promises: a name that another machine of the network has is not taken, but the next one is, croft-2.local; at each interface only
// that interface's addresses are told; interfaces and addresses that come and go are followed; Close takes everything back. It lives
// beside another responder on the machine, such as Avahi, and takes no packets from it. Having no network is no error. It writes no keys.
//
// DESIGN.md says why it is our own.
package mdns

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say what to announce.
type Options struct {
	Name    string            // the first label of the name: croft for croft.local
	Port    int               // where the server answers
	TLS     bool              // whether it answers with HTTPS there
	Address netip.Addr        // the only address that it answers at; the zero Addr for all
	Named   func(name string) // called when a name is won; nil for nobody
	Log     *slog.Logger
}

// A Responder answers for the name until it is closed.
type Responder struct {
	options Options
	machine string   // as the service's name calls this machine
	words   [][]byte // see concerned
	log     *slog.Logger

	packets chan packet
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed by run
	readers sync.WaitGroup
	closing sync.Once

	mu   sync.Mutex
	name string // under mu: see Name

	// Owned by run.
	links     map[linkKey]*link
	delayed   []delayed
	host      int                      // which of the names is tried: 1 for croft, 2 for croft-2
	instance  int                      // the same for the name of the service
	hadNames  map[string]bool          // the last host names
	mine      map[netip.Addr]time.Time // addresses of this machine, and when each was last seen
	looked    time.Time                // when mine was brought up to date
	conflicts []time.Time              // the last ones, for restart
	told      map[string]string        // by interface: the last trouble that was logged
}

const maxLabel = 63 // bytes

var label = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// Start begins to answer, in the background: it takes a second until the name is known to be free, and without a network it waits for one.
func Start(o Options) (*Responder, error) {
	if !label.MatchString(o.Name) {
		return nil, fmt.Errorf("%q is no name for the home network: use letters, digits and hyphens, at most 63", o.Name)
	}
	if o.Port < 1 || o.Port > 65535 {
		return nil, fmt.Errorf("there is no port %d", o.Port)
	}
	if o.Address.IsLoopback() {
		return nil, errors.New("a server that answers at " + o.Address.String() + " alone can't be found by others")
	}
	if o.Address.IsUnspecified() {
		o.Address = netip.Addr{}
	}
	r := &Responder{
		options: o,
		machine: machineName(),
		log:     o.Log,
		packets: make(chan packet),
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
		links:   map[linkKey]*link{},
		host:    1, instance: 1,
		hadNames: map[string]bool{},
		mine:     map[netip.Addr]time.Time{},
		told:     map[string]string{},
	}
	name := strings.ToLower(o.Name[:min(len(o.Name), maxLabel-len("-9999"))])
	r.words = [][]byte{[]byte(name), []byte("croft"), []byte(r.service()), []byte("_services")}
	go r.run()
	return r, nil
}

// Close says goodbye to the network and ends all goroutines.
func (r *Responder) Close() error {
	r.closing.Do(func() { close(r.stop) })
	<-r.stopped
	return nil
}

// Name is the name in use, such as croft.local or croft-2.local, and "" while none is: there is no network, or it is still being
// asked whether the name is free.
func (r *Responder) Name() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.name
}

func (r *Responder) setName(name string) {
	r.mu.Lock()
	changed := r.name != name
	r.name = name
	r.mu.Unlock()
	if changed && name != "" {
		r.log.Info("others in the home network can reach this server by name", "url", r.url(name))
		if r.options.Named != nil {
			r.options.Named(name)
		}
	}
}

func (r *Responder) url(name string) string {
	scheme, usual := "http", 80
	if r.options.TLS {
		scheme, usual = "https", 443
	}
	if r.options.Port != usual {
		name += ":" + strconv.Itoa(r.options.Port)
	}
	return scheme + "://" + name
}

// hostLabel is the first label of the name that is tried.
func (r *Responder) hostLabel() string {
	if r.host == 1 {
		return r.options.Name
	}
	suffix := fmt.Sprintf("-%d", r.host)
	return r.options.Name[:min(len(r.options.Name), maxLabel-len(suffix))] + suffix
}

// instanceLabel is what people see in a list of services.
func (r *Responder) instanceLabel() string {
	if r.instance == 1 {
		return "Croft on " + r.machine
	}
	return fmt.Sprintf("Croft on %s (%d)", r.machine, r.instance)
}

// service is the first label of the service's type.
func (r *Responder) service() string {
	if r.options.TLS {
		return "_https"
	}
	return "_http"
}

// machineName is the first label of the host name, cut so that the service's name fits into the 63 bytes of a label.
func machineName() string {
	name, err := os.Hostname()
	name, _, _ = strings.Cut(name, ".")
	if err != nil || name == "" {
		return "this machine"
	}
	return strings.ToValidUTF8(name[:min(len(name), 48)], "")
}
