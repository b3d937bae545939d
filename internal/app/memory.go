package app

import (
	"os"
	"runtime/debug"
	"sync"
)

// Go's collector runs each time the heap has doubled, which on a heap of a few MiB is very often. These let it grow to
// five times its size, but only as far as the limit, from where on the collector works to stay below it.
//
// The limit has room for two hashes of 19 MiB: below it, the collector runs for each (seen: a login takes 29 ms of CPU at 48 MiB,
// 86 at 32). Private memory was then 43 MiB at most under logins.
const (
	collectorPercent = 400
	collectorLimit   = 48 << 20
)

var tuneOnce sync.Once

// tuneCollector sets the collector's target for this process, unless who started it did.
func tuneCollector() {
	tuneOnce.Do(func() {
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(collectorPercent)
		}
		if os.Getenv("GOMEMLIMIT") == "" {
			debug.SetMemoryLimit(collectorLimit)
		}
	})
}
