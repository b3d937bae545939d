package app

import (
	"os"
	"runtime/debug"
	"sync"
)

// Go's collector runs each time the heap has doubled, which on a heap of a few MiB is very often. These let it grow to
// five times its size, but only as far as the limit, from where on the collector works to stay below it.
//
// Seen with 20,000 records, private memory at most under logins (two hashes of 19 MiB at a time) and under lists, CPU
// being the same: 61 and 45 MiB with a limit of 48 MiB, 57 and 37 with 40, 53 and 29 with 32.
const (
	collectorPercent = 400
	collectorLimit   = 32 << 20
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
