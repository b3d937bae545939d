package store_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"croft/internal/store"
	"croft/internal/store/storetest"
)

// fill writes n records of 300 bytes.
func fill(b *testing.B, db *store.DB, n int) {
	b.Helper()
	for i := 0; i < n; i += 1000 {
		err := db.Update(ctx, func(tx *store.Tx) error {
			for j := i; j < min(i+1000, n); j++ {
				if err := tx.Put(number(j), make([]byte, 300)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func number(n int) []byte {
	return binary.BigEndian.AppendUint64(store.Records.Key(), uint64(n))
}

// An update is as a record's with an index: a record, its place in two indexes, and its change.
func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			db := storetest.New(b)
			fill(b, db, 20_000)
			before := db.Stats()
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(1, uint64(w)))
					record := make([]byte, 300)
					for range (b.N + w) / writers {
						err := db.Update(ctx, func(tx *store.Tx) error {
							seq, err := tx.NextSeq()
							id := binary.BigEndian.AppendUint64(nil, r.Uint64())
							n := binary.BigEndian.AppendUint64(nil, seq)
							return errors.Join(err,
								tx.Put(store.Records.Key(id), record),
								tx.Put(store.Indexes.Key([]byte("a"), id), nil),
								tx.Put(store.Indexes.Key([]byte("b"), n), nil),
								tx.Put(store.Catalog.Key(n), id))
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			after := db.Stats()
			commits := float64(after.Commits - before.Commits)
			b.ReportMetric(float64(after.Updates-before.Updates)/commits, "updates/commit")
			b.ReportMetric(commits, "commits")
			b.ReportMetric(float64((after.CommitTime-before.CommitTime).Microseconds())/commits, "µs/commit")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			db := storetest.New(b)
			fill(b, db, n)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				k := number(i * 7919 % n)
				err := db.View(func(tx *store.Tx) error {
					v, err := tx.Get(k)
					if len(v) != 300 {
						b.Error("a wrong value")
					}
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkScan is the time for each entry.
func BenchmarkScan(b *testing.B) {
	const n = 100_000
	for _, r := range []store.Range{{}, {Unchecked: true}, {Reverse: true}} {
		b.Run(fmt.Sprintf("unchecked=%v,reverse=%v", r.Unchecked, r.Reverse), func(b *testing.B) {
			db := storetest.New(b)
			fill(b, db, n)
			r.Lo = store.Records.Key()
			b.ReportAllocs()
			b.ResetTimer()
			for seen := 0; seen < b.N; {
				err := db.View(func(tx *store.Tx) error {
					c := tx.Scan(r)
					for seen < b.N && c.Next() {
						seen++
					}
					return c.Err()
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
