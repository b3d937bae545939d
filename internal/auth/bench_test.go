package auth

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"croft/internal/settings"
	"croft/internal/store/storetest"
)

func benchAuth(b *testing.B) (*Auth, string) {
	b.Helper()
	db := storetest.New(b)
	s, err := settings.New(db)
	if err != nil {
		b.Fatal(err)
	}
	a, err := New(db, s, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := a.Close(); err != nil {
			b.Error(err)
		}
	})
	in, err := a.Setup(b.Context(), SetupIn{Token: a.SetupToken(), Email: "ada@example.org", Password: "correct horse battery"}, Client{})
	if err != nil {
		b.Fatal(err)
	}
	return a, in.Token
}

func BenchmarkAuthenticate(b *testing.B) {
	a, token := benchAuth(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := a.Authenticate(token); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkHash is what a login costs at the least.
func BenchmarkHash(b *testing.B) {
	h := newHasher(DefaultParams, defaultHashMemory)
	defer h.close()
	for b.Loop() {
		if _, _, err := h.verify("correct horse battery", ""); err != nil {
			b.Fatal(err)
		}
	}
	reportMemory(b)
}

func BenchmarkLogin(b *testing.B) {
	for _, clients := range []int{1, 4} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) {
			a, _ := benchAuth(b)
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range clients {
				wg.Go(func() {
					for range b.N/clients + min(1, max(0, b.N%clients-c)) {
						if _, err := a.Login(b.Context(), LoginIn{Email: "ada@example.org", Password: "correct horse battery"}, Client{}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			reportMemory(b)
		})
	}
}

// reportMemory tells what the process holds for itself, where there is a /proc.
func reportMemory(b *testing.B) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			b.ReportMetric(float64(kib)/1024, "RssAnon-MiB")
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.NumGC), "GCs")
}
