package auth

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"croft/internal/errs"
)

// A throttle makes those wait who guess. It counts failures by key, an account or a network; after a number of them the
// next attempt must wait, each time twice as long, up to a bound: nobody is locked out for good.
type throttle struct {
	free  int           // failures before there is a wait
	first time.Duration // the wait after one more
	most  time.Duration // the longest wait
	now   func() time.Time

	mu   sync.Mutex
	keys map[string]*list.Element // of *failures
	old  *list.List               // the one that failed last at the front
}

type failures struct {
	key  string
	n    int
	last time.Time
}

const (
	// forgetAfter is how long after the last failure a key starts anew.
	forgetAfter = 15 * time.Minute
	// maxThrottled bounds the memory of a throttle, to about 2 MiB. More keys push out the one that failed
	// longest ago.
	maxThrottled = 10_000

	// An account allows 5 failures, and then one every 5 minutes in the long run: a few hundred guesses a day.
	accountFree  = 5
	accountFirst = 5 * time.Second
	accountMost  = 5 * time.Minute
	// Many people may share an address, behind one router or one proxy.
	networkFree  = 20
	networkFirst = time.Second
	networkMost  = time.Minute
)

func newThrottle(free int, first, most time.Duration, now func() time.Time) *throttle {
	return &throttle{free: free, first: first, most: most, now: now, keys: map[string]*list.Element{}, old: list.New()}
}

// check returns an error if the key has to wait. The empty key never has.
func (t *throttle) check(key string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.find(key)
	if f == nil || f.n < t.free {
		return nil
	}
	wait := t.first << min(f.n-t.free, 20)
	wait = min(wait, t.most) - t.now().Sub(f.last)
	if wait <= 0 {
		return nil
	}
	return &errs.Error{Code: errs.TooMany, Text: "There were too many failed attempts; wait a little and try again.", RetryAfter: wait}
}

// find returns the failures of a key that still count.
func (t *throttle) find(key string) *failures {
	e, ok := t.keys[key]
	if !ok {
		return nil
	}
	f := e.Value.(*failures)
	switch now := t.now(); {
	case now.Sub(f.last) >= forgetAfter:
		t.remove(e)
		return nil
	case now.Before(f.last):
		f.last = now // the clock was set back: the wait must not be longer for that
	}
	return f
}

func (t *throttle) remove(e *list.Element) {
	t.old.Remove(e)
	delete(t.keys, e.Value.(*failures).key)
}

// fail counts a failure.
func (t *throttle) fail(key string) {
	if key == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.find(key)
	if f == nil {
		if len(t.keys) >= maxThrottled {
			t.remove(t.old.Back())
		}
		f = &failures{key: key}
		t.keys[key] = t.old.PushFront(f)
	}
	f.n++
	f.last = t.now()
	t.old.MoveToFront(t.keys[key])
}

// forget lets a key start anew.
func (t *throttle) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.keys[key]; ok {
		t.remove(e)
	}
}

// network is what is counted as one address: an IPv4 address, or an IPv6 network of 64 bits, in which one machine has as
// many addresses as it likes. It is empty for the local socket.
func network(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return ""
	}
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return prefix.String()
}
