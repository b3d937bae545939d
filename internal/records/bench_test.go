package records_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"croft/internal/records"
	"croft/internal/records/expr"
)

var big = flag.Bool("bench.big", false, "run the benchmarks of lists over 1,000,000 records too")

// benchDefinition has a schema of ten fields and two indexes.
const (
	benchSchema = `{"type":"object","properties":{"title":{"type":"string","minLength":1,"maxLength":200},"list":{"type":"string"},"due":{"type":"string","format":"date"},
		"rank":{"type":"number"},"status":{"enum":["open","done","rare"]},"key":{"type":"string"},"done":{"type":"boolean"},"tags":{"type":"array","items":{"type":"string"}},
		"address":{"type":"object","properties":{"city":{"type":"string"}}},"text":{"type":"string"}},"required":["title","list"],"additionalProperties":false}`
	benchDefinition = `{"schema":` + benchSchema + `,"indexes":[{"name":"by_list","fields":["list","-due"]},{"name":"by_key","fields":["key"],"unique":true}],
		"access":{"read":"true","create":"has(auth.id)","update":"record.owner == auth.id"}}`
)

// benchRecord has some 300 bytes as it is stored.
func benchRecord(i int) []byte {
	status := "open"
	if i%5000 == 7 {
		status = "rare"
	}
	return fmt.Appendf(nil, `{"title":"Record number %d","list":"l%d","due":"2026-%02d-%02d","rank":%d,"status":%q,"key":"k%d","done":false,"tags":["a","b%d"],"address":{"city":"Basel"},"text":%q}`,
		i, i%1000, i%12+1, i%28+1, i%977, status, i, i%10, strings.Repeat("t", 40))
}

// fill creates records, many in one commit.
func fill(k *kit, from, to int) {
	k.Helper()
	const clients = 256
	var next atomic.Int64
	next.Store(int64(from))
	failed := make([]error, clients)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for failed[c] == nil {
				i := int(next.Add(1)) - 1
				if i >= to {
					return
				}
				_, failed[c] = k.Create(context.Background(), ada, "notes", benchRecord(i))
			}
		})
	}
	wg.Wait()
	for _, err := range failed {
		if err != nil {
			k.Fatal(err, fields(err))
		}
	}
}

// clients has so many goroutines share b.N operations, and reports the time of the processors for each.
func clients(b *testing.B, n int, op func(i int) error) {
	var next atomic.Int64
	failed := make([]error, n)
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	start := cpuTime()
	for c := range n {
		wg.Go(func() {
			for failed[c] == nil {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				failed[c] = op(i)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-start)/float64(time.Microsecond)/float64(b.N), "cpu-µs/op")
	for _, err := range failed {
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			k := newKit(b, records.Options{})
			k.define("notes", benchDefinition)
			before := k.db.Stats()
			clients(b, writers, func(i int) error {
				_, err := k.Create(context.Background(), ada, "notes", benchRecord(i))
				return err
			})
			after := k.db.Stats()
			b.ReportMetric(float64(after.Updates-before.Updates)/float64(max(1, after.Commits-before.Commits)), "writes/commit")
		})
	}
}

func BenchmarkPatch(b *testing.B) {
	k := newKit(b, records.Options{})
	k.define("notes", benchDefinition)
	const count = 10_000
	fill(k, 0, count)
	ids := k.list(admin, "notes", records.Query{Limit: 500}).ids()
	clients(b, 16, func(i int) error {
		_, err := k.Patch(context.Background(), ada, "notes", ids[i%len(ids)], fmt.Appendf(nil, `{"rank":%d}`, i), records.Condition{})
		return err
	})
}

func BenchmarkGet(b *testing.B) {
	k := newKit(b, records.Options{})
	k.define("notes", benchDefinition)
	fill(k, 0, 10_000)
	ids := k.list(admin, "notes", records.Query{Limit: 500}).ids()
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := k.Get(context.Background(), nobody, "notes", ids[i%len(ids)], "", records.Condition{}, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList(b *testing.B) {
	sizes := []int{1_000, 100_000}
	if *big {
		sizes = append(sizes, 1_000_000)
	}
	for _, size := range sizes {
		b.Run(fmt.Sprintf("records=%d", size), func(b *testing.B) {
			k := newKit(b, records.Options{Scan: 2 * size})
			k.define("notes", benchDefinition)
			fill(k, 0, size)
			for _, test := range []struct {
				name  string
				query func(i int) records.Query
			}{
				{"newest", func(int) records.Query { return records.Query{Limit: 30} }},
				{"newest+count", func(int) records.Query { return records.Query{Limit: 30, Count: true} }},
				{"index", func(i int) records.Query {
					return records.Query{Filter: fmt.Sprintf(`list == "l%d"`, i%1000), Sort: []string{"-due"}, Limit: 20}
				}},
				{"unique", func(i int) records.Query { return records.Query{Filter: fmt.Sprintf(`key == "k%d"`, i%size)} }},
				{"scan", func(int) records.Query { return records.Query{Filter: `status == "rare"`} }},
				{"scan-compare", func(int) records.Query {
					return records.Query{Filter: `rank > 1000 || address.city.startsWith("Z")`}
				}},
				{"sort", func(int) records.Query { return records.Query{Sort: []string{"rank"}} }},
			} {
				b.Run(test.name, func(b *testing.B) {
					buf := make([]byte, 0, 64<<10)
					b.ReportAllocs()
					start := cpuTime()
					n := 0
					for ; b.Loop(); n++ {
						if _, err := k.List(context.Background(), nobody, "notes", test.query(n), buf); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(cpuTime()-start)/float64(time.Microsecond)/float64(n), "cpu-µs/op")
				})
			}
		})
	}
}

// BenchmarkFilter compiles a filter as a list does that has not seen it before.
func BenchmarkFilter(b *testing.B) {
	const text = `status == "open" && rank > 10 && rank <= 500 && (address.city in ["Basel", "Bern"] || "a" in tags) && title.startsWith("Rec")`
	auth := &expr.Auth{SignedIn: true, ID: "u-ada"}
	b.ReportAllocs()
	for b.Loop() {
		e, err := expr.Parse(text, expr.Filter)
		if err != nil {
			b.Fatal(err)
		}
		expr.Compile(expr.Bind(e, auth, time.Time{}))
	}
}
