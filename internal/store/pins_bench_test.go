//go:build unix

package store_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"croft/internal/store"
	"croft/internal/store/storetest"
)

// What it costs to keep the file's copies whole: creates as BenchmarkUpdate's on two files, one with pins and one without, in turn.
// The ratios are the medians of the rounds'.
func BenchmarkPins(b *testing.B) {
	defer store.PinCopies(true)
	for _, writers := range []int{16, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			var files [2]*store.DB
			for i := range files {
				files[i] = storetest.New(b)
				fill(b, files[i], 100_000)
			}
			const each = 8000
			run := func(pins int) (wall, cpu time.Duration) {
				store.PinCopies(pins == 1)
				start, before := time.Now(), processTime(b)
				var wg sync.WaitGroup
				for range writers {
					wg.Go(func() {
						record := make([]byte, 300)
						for range each / writers {
							err := files[pins].Update(ctx, func(tx *store.Tx) error {
								seq, err := tx.NextSeq()
								n := binary.BigEndian.AppendUint64(nil, seq)
								return errors.Join(err,
									tx.Put(number(1<<30+int(seq)), record),
									tx.Put(store.Indexes.Key([]byte("a"), binary.BigEndian.AppendUint64(nil, rand.Uint64())), nil),
									tx.Put(store.Indexes.Key([]byte("b"), n), nil),
									tx.Put(store.Catalog.Key([]byte("count")), n))
							})
							if err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				return time.Since(start), processTime(b) - before
			}
			var walls, cpus []float64
			for b.Loop() {
				offWall, offCPU := run(0)
				onWall, onCPU := run(1)
				walls = append(walls, float64(onWall)/float64(offWall))
				cpus = append(cpus, float64(onCPU)/float64(offCPU))
			}
			b.ReportMetric(median(walls), "×time")
			b.ReportMetric(median(cpus), "×CPU")
			s := files[1].Stats()
			b.ReportMetric(float64(s.PinnedBytes)/(1<<20), "MiB-pinned")
			b.ReportMetric(float64(s.Bytes-files[0].Stats().Bytes)/(1<<20), "MiB-larger")
		})
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
