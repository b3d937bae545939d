package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"croft/internal/api"
	"croft/internal/app/apptest"
	"croft/internal/auth"
	"croft/internal/https"
	"croft/internal/records"
	"croft/internal/settings"
	"croft/internal/store"
)

// benchRecords is how many records the benchmarks' collection has; CROFT_BENCH_RECORDS says otherwise.
const benchRecords = 100_000

// A bench is a file with records of some 300 bytes, made once for all benchmarks of a run.
type bench struct {
	*api.API
	store *store.DB
	n     int
	token string
	err   error
}

var (
	benchOnce sync.Once
	theBench  *bench
	benchDir  string
)

func TestMain(m *testing.M) {
	code := m.Run()
	if benchDir != "" {
		if err := os.RemoveAll(benchDir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

func newBench(b *testing.B) *bench {
	b.Helper()
	benchOnce.Do(func() { theBench = seedBench() })
	if theBench.err != nil {
		b.Fatal(theBench.err)
	}
	return theBench
}

const benchItems = `{
	"schema": {"type": "object", "required": ["title"], "properties": {
		"title": {"type": "string", "maxLength": 200},
		"body": {"type": "string"},
		"rank": {"type": "number"},
		"status": {"type": "string", "enum": ["open", "done", "waiting", "rare"]},
		"tags": {"type": "array", "items": {"type": "string"}},
		"due": {"type": "string", "format": "date-time"},
		"code": {"type": "string"},
		"done": {"type": "boolean"},
		"size": {"type": "integer", "minimum": 0},
		"address": {"type": "object", "properties": {"city": {"type": "string"}}}}},
	"indexes": [{"name": "by_rank", "fields": ["rank"]}, {"name": "by_code", "fields": ["code"], "unique": true}],
	"access": {"read": "true", "create": "true", "update": "true", "delete": null}
}`

const benchNeedle = "xylophone"

func benchRecord(i int) []byte {
	status := [...]string{"open", "done", "waiting"}[i%3]
	body := "the quick brown fox jumps over the lazy dog and goes home again in the evening"
	if i%1000 == 7 {
		status = "rare"
		if i%5000 == 7 {
			body = "the " + benchNeedle + " is played by nobody but the fox, and only when it is home in the evening"
		}
	}
	return fmt.Appendf(nil, `{"title":"item number %d","body":%q,"rank":%d,"status":%q,"tags":["a%d","b"],"due":"2026-11-20T09:30:00Z","code":"c%09d","done":%v,"size":%d,"address":{"city":"Linz"}}`,
		i, body, i*7919%1_000_000, status, i%10, i, i%2 == 0, i%4096)
}

func seedBench() *bench {
	s := &bench{n: benchRecords}
	if text := os.Getenv("CROFT_BENCH_RECORDS"); text != "" {
		if _, s.err = fmt.Sscan(text, &s.n); s.err != nil {
			return s
		}
	}
	fail := func(err error) *bench { s.err = err; return s }
	var err error
	if benchDir, err = os.MkdirTemp("", "croft-bench-"); err != nil {
		return fail(err)
	}
	if s.store, err = store.Open(benchDir+"/croft.db", store.Options{}); err != nil {
		return fail(err)
	}
	set, err := settings.New(s.store)
	if err != nil {
		return fail(err)
	}
	accounts, err := auth.New(s.store, set, auth.Options{Params: apptest.HashParams})
	if err != nil {
		return fail(err)
	}
	recs, err := records.New(s.store, records.Options{})
	if err != nil {
		return fail(err)
	}
	off, err := https.New(s.store, https.Options{})
	if err != nil {
		return fail(err)
	}
	s.API = api.New(api.Options{Auth: accounts, Records: recs, Settings: set, Store: s.store, HTTPS: off})

	var session struct{ Token string }
	setup := fmt.Sprintf(`{"token":%q,"email":"a@example.com","password":"lantern-meadow-417"}`, accounts.SetupToken())
	if r := s.serve("POST", "/api/v1/setup", "", []byte(setup)); r.Code != 200 || json.Unmarshal(r.Body.Bytes(), &session) != nil {
		return fail(fmt.Errorf("setup: %d %s", r.Code, r.Body))
	}
	s.token = session.Token
	if r := s.serve("PUT", "/api/v1/collections/items", s.token, []byte(benchItems)); r.Code != 201 {
		return fail(fmt.Errorf("define: %d %s", r.Code, r.Body))
	}
	var next atomic.Int64
	var wait sync.WaitGroup
	var failed atomic.Pointer[error]
	for range 256 {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < s.n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				body := append(fmt.Appendf(nil, `{"id":%q,`, benchID(i)), benchRecord(i)[1:]...)
				if r := s.serve("POST", "/api/v1/records/items", "", body); r.Code != 201 {
					err := fmt.Errorf("seed: %d %s", r.Code, r.Body)
					failed.Store(&err)
				}
			}
		})
	}
	wait.Wait()
	if p := failed.Load(); p != nil {
		return fail(*p)
	}
	return s
}

func benchID(i int) string { return fmt.Sprintf("r%09d", i) }

func (s *bench) serve(method, path, token string, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, benchRequest(method, path, token, body))
	return w
}

func benchRequest(method, path, token string, body []byte) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), method, "http://localhost:8080"+path, bytes.NewReader(body))
	if body == nil {
		r.Body, r.ContentLength = http.NoBody, 0
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// A sink is a ResponseWriter that costs nothing.
type sink struct {
	header http.Header
	status int
	bytes  int
}

func (s *sink) Header() http.Header { return s.header }
func (s *sink) WriteHeader(n int)   { s.status = n }
func (s *sink) Write(b []byte) (int, error) {
	s.bytes += len(b)
	return len(b), nil
}

// reset makes the sink as a server gives it: net/http makes a header for each answer.
func (s *sink) reset() {
	s.header = make(http.Header)
	s.status = 0
}

// read benchmarks GETs of the addresses in turn.
func (s *bench) read(b *testing.B, token string, paths ...string) {
	b.Helper()
	requests := make([]*http.Request, len(paths))
	for i, path := range paths {
		requests[i] = benchRequest("GET", path, token, nil)
		if r := s.serve("GET", path, token, nil); r.Code != 200 {
			b.Fatalf("%s: %d %s", path, r.Code, r.Body)
		}
	}
	w := &sink{}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		w.reset()
		s.ServeHTTP(w, requests[i%len(requests)])
		if w.status != 200 {
			b.Fatalf("status %d", w.status)
		}
		i++
	}
}

// somePaths calls f for records at random.
func (s *bench) somePaths(f func(i int) string) []string {
	r := rand.New(rand.NewPCG(1, 2))
	paths := make([]string, 1024)
	for i := range paths {
		paths[i] = f(r.IntN(s.n))
	}
	return paths
}

const items = "/api/v1/records/items"

func BenchmarkHandlerGet(b *testing.B) {
	s := newBench(b)
	s.read(b, "", s.somePaths(func(i int) string { return items + "/" + benchID(i) })...)
}

func BenchmarkHandlerGetSignedIn(b *testing.B) {
	s := newBench(b)
	s.read(b, s.token, s.somePaths(func(i int) string { return items + "/" + benchID(i) })...)
}

func BenchmarkHandlerListNewest(b *testing.B) { newBench(b).read(b, "", items+"?limit=30") }

func BenchmarkHandlerListNewestCount(b *testing.B) {
	newBench(b).read(b, "", items+"?limit=30&count=true")
}

func BenchmarkHandlerListByIndex(b *testing.B) {
	s := newBench(b)
	s.read(b, "", s.somePaths(func(i int) string {
		return fmt.Sprintf("%s?limit=20&sort=rank&filter=rank%%3E%d", items, i*9)
	})...)
}

func BenchmarkHandlerUniqueEquality(b *testing.B) {
	s := newBench(b)
	s.read(b, "", s.somePaths(func(i int) string {
		return items + "?filter=" + url.QueryEscape(fmt.Sprintf("code == \"c%09d\"", i))
	})...)
}

func BenchmarkHandlerScan(b *testing.B) {
	newBench(b).read(b, "", items+"?filter="+url.QueryEscape(`status == "rare" && body.contains("`+benchNeedle+`")`))
}

var benchCreated atomic.Int64 // numbers the records that benchmarks create, beyond the seeded ones

func BenchmarkHandlerCreate(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := newBench(b)
			b.ReportAllocs()
			before := s.store.Stats()
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wait sync.WaitGroup
			for range writers {
				wait.Go(func() {
					w := &sink{}
					for left.Add(-1) >= 0 {
						body := benchRecord(s.n + int(benchCreated.Add(1)))
						w.reset()
						s.ServeHTTP(w, benchRequest("POST", items, "", body))
						if w.status != 201 {
							b.Errorf("status %d", w.status)
							return
						}
					}
				})
			}
			wait.Wait()
			b.StopTimer()
			after := s.store.Stats()
			commits := float64(after.Commits - before.Commits)
			b.ReportMetric(commits/float64(b.N), "commits/op")
			b.ReportMetric(float64(b.N)/commits, "ops/commit")
			b.ReportMetric(2*commits/float64(b.N), "fsyncs/op") // each commit is two (store.Stats)
		})
	}
}

// TestGetAllocations holds a GET through the whole chain to its bound.
func TestGetAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates too")
	}
	s := apptest.Start(t)
	s.Define("items", benchItems)
	s.Client().Do("POST", items, append([]byte(`{"id":"r1",`), benchRecord(1)[1:]...)).Want(t, 201)
	for _, token := range []string{"", strings.TrimPrefix(s.Admin().Request("GET", "/", nil).Header.Get("Authorization"), "Bearer ")} {
		h := s.App.Network()
		r := benchRequest("GET", items+"/r1", token, nil)
		w := &sink{}
		got := testing.AllocsPerRun(100, func() {
			w.reset()
			h.ServeHTTP(w, r)
		})
		if w.status != 200 || got > 30 {
			t.Errorf("status %d with %v allocations, at most 30 are allowed", w.status, got)
		}
		t.Logf("%v allocations", got)
	}
}
