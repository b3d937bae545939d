package app

import (
	"os"
	"runtime/debug"
	"sync"
)

// Go's collector runs each time the heap has doubled, which on a heap of a few MiB is very often. These let it grow to
// five times its size, but only as far as the limit, from where on the collector works to stay below it.
//
// The limit has room for two hashes of 19 MiB beside everything else: when they don't fit, memory goes back to the operating
// system and is taken anew for each, which costs more than the hash.
const (
	collectorPercent = 400
	collectorLimit   = 56 << 20
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
