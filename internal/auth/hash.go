package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"croft/internal/errs"
	"github.com/alexedwards/argon2id"
)

// DefaultParams are how passwords are hashed: 19 MiB, twice, in one lane (OWASP's first choice for argon2id).
var DefaultParams = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

const (
	argonVersion = 0x13 // of RFC 9106, the only one in use

	defaultHashMemory = 40 << 20 // two at once

	// maxWaiting is how many hashes may wait for memory: at 30 ms each, with two at once, the last waits a quarter of a second,
	// and some ten times that on the smallest machines.
	maxWaiting = 16
	busyRetry  = 2 * time.Second

	// lullAfter is how long after the last hash its memory goes back to the operating system. Left to itself, the
	// collector keeps some 40 MiB for minutes; giving it back after each hash makes that cost half as much again.
	lullAfter = 3 * time.Second
)

// A hasher hashes passwords within a bound on memory.
type hasher struct {
	params  *argon2id.Params
	slots   chan struct{} // one for each hash in flight
	waiting atomic.Int32
	hashes  atomic.Int64 // how many were computed
	garbage atomic.Bool  // a hash left its memory behind
	nobody  string       // a hash like any other, of no password

	mu     sync.Mutex
	lull   *time.Timer
	closed bool
}

func newHasher(params *argon2id.Params, memory int64) *hasher {
	random := func(n uint32) string {
		b := make([]byte, n)
		rand.Read(b)
		return base64.RawStdEncoding.EncodeToString(b)
	}
	h := &hasher{
		params: params,
		slots:  make(chan struct{}, max(1, memory/(int64(params.Memory)<<10))),
		nobody: fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argonVersion, params.Memory, params.Iterations,
			params.Parallelism, random(params.SaltLength), random(params.KeyLength)),
	}
	return h
}

// acquire waits for memory for one hash. The caller must release it.
func (h *hasher) acquire(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	if h.waiting.Add(1) > maxWaiting {
		h.waiting.Add(-1)
		return &errs.Error{Code: errs.Busy, Text: "Too many people sign in at this moment; try again in a few seconds.", RetryAfter: busyRetry}
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hasher) release() {
	<-h.slots
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
	case h.lull == nil:
		h.lull = time.AfterFunc(lullAfter, debug.FreeOSMemory)
	default:
		h.lull.Reset(lullAfter)
	}
}

func (h *hasher) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.lull != nil {
		h.lull.Stop()
	}
}

// begin makes the memory of earlier hashes free for the next one. Without it that takes new pages from the operating system, 5,000
// at a time, which costs half as much as the hash itself: 24 ms of CPU each with two at once, and 35 to 70 without. The
// collection is cheap, for what a hash works in holds no pointers.
func (h *hasher) begin() {
	h.hashes.Add(1)
	if h.garbage.Swap(false) {
		runtime.GC()
	}
}

// hash returns the PHC string of a password. The caller holds a slot.
func (h *hasher) hash(password string) (string, error) {
	h.begin()
	defer h.garbage.Store(true)
	return argon2id.CreateHash(password, h.params)
}

// new returns the PHC string of a password when there is memory for it.
func (h *hasher) new(ctx context.Context, password string) (string, error) {
	if err := h.acquire(ctx); err != nil {
		return "", err
	}
	defer h.release()
	return h.hash(password)
}

// verify reports whether a password is that of a PHC string, and whether that should be made anew with the parameters
// of today. With an empty one it does the same work and says no. The caller holds a slot.
func (h *hasher) verify(password, phc string) (match, outdated bool, err error) {
	known := phc != ""
	if !known {
		phc = h.nobody
	}
	h.begin()
	defer h.garbage.Store(true)
	match, params, err := argon2id.CheckHash(password, phc)
	if err != nil {
		return false, false, fmt.Errorf("verify a password: %w", err)
	}
	return match && known, *params != *h.params, nil
}
