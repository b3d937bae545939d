package backup_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"croft/internal/app"
	"croft/internal/app/apptest"
	"croft/internal/backup"
	"croft/internal/config"
	"croft/internal/store"
)

var benchMebibytes = flag.Int("mebibytes", 64, "the size of the data files of benchmarks")

// benchFile makes a data file of the size that is asked for.
func benchFile(b *testing.B) (path string) {
	b.Helper()
	path = filepath.Join(b.TempDir(), "croft.db")
	db, err := store.Open(path, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	fill(b, db, *benchMebibytes)
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkWriteFile compares a backup, before its check and with it, with a copy that is flushed at its end.
func BenchmarkWriteFile(b *testing.B) {
	path := benchFile(b)
	target := filepath.Join(b.TempDir(), "copy.db")
	run := func(name string, f func() (int64, error)) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				size, err := f()
				if err = errors.Join(err, os.Remove(target)); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(size)
			}
		})
	}
	run("cp", func() (n int64, err error) {
		in, err := os.Open(path)
		if err != nil {
			return 0, err
		}
		defer in.Close()
		out, err := os.Create(target)
		if err != nil {
			return 0, err
		}
		n, err = io.Copy(out, in)
		return n, errors.Join(err, out.Sync(), out.Close())
	})
	write := func(v backup.Verifier) func() (int64, error) {
		return func() (int64, error) {
			file, err := backup.OpenClosed(path)
			if err != nil {
				return 0, err
			}
			err = backup.WriteFile(context.Background(), target, file.Source, backup.FileOptions{Verify: v})
			return file.Size, errors.Join(err, file.Close())
		}
	}
	run("backup", write(func(context.Context, string) error { return nil }))
	run("backup and check", write(backup.VerifyWhole))
}

// BenchmarkCreates measures what 16 clients that write notice of backups that follow one another without a break, with their checks in
// another process, as a server has them, and without: each create waits for its flush.
func BenchmarkCreates(b *testing.B) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	b.Setenv(roleVariable, "check") // of the children
	none := func(context.Context, string) error { return nil }
	for _, test := range []struct {
		name   string
		verify backup.Verifier // nil: no backups
	}{{"alone", nil}, {"copies", none}, {"backups", backup.VerifyInChild(exe)}} {
		b.Run(test.name, func(b *testing.B) {
			backups := test.verify != nil
			s := apptest.StartAt(b, benchFile(b), func(_ *config.Config, o *app.Options) { o.Verify = test.verify })
			admin := s.Local()
			admin.Do("PUT", "/api/v1/collections/notes", `{"access":{"create":"true"}}`).Want(b, 201)
			client, err := app.DialLocal(context.Background(), s.Config.Data)
			if err != nil {
				b.Skip(err)
			}
			client.Close()
			ctx, stop := context.WithCancel(context.Background())
			var background sync.WaitGroup
			var taken atomic.Int64
			if backups {
				background.Go(func() {
					taker := s.Local()
					for ctx.Err() == nil {
						taker.Do("POST", "/api/v1/backups", nil).Want(b, 201)
						taken.Add(1)
					}
				})
			}
			var mu sync.Mutex
			var all []time.Duration
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var clients sync.WaitGroup
			for range 16 {
				clients.Go(func() {
					c := s.Local()
					var mine []time.Duration
					for left.Add(-1) >= 0 {
						begun := time.Now()
						c.Do("POST", "/api/v1/records/notes", `{"title":"a note","text":"of some hundred bytes, as most of them are, and so on and so forth until that is enough"}`).Want(b, 201)
						mine = append(mine, time.Since(begun))
					}
					mu.Lock()
					all = append(all, mine...)
					mu.Unlock()
				})
			}
			clients.Wait()
			b.StopTimer()
			stop()
			background.Wait()
			slices.Sort(all)
			for name, at := range map[string]int{"p50-ms": 50, "p99-ms": 99} {
				b.ReportMetric(float64(all[(len(all)-1)*at/100])/1e6, name)
			}
			b.ReportMetric(float64(all[len(all)-1])/1e6, "max-ms")
			b.ReportMetric(float64(taken.Load()), "backups")
		})
	}
}
