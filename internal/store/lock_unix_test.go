//go:build unix

package store_test

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"croft/internal/store"
)

// Two that put other files in a data file's place never do so at once, though one of them opened the file before the other replaced it.
func TestLockWhileReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "croft.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var inside, both atomic.Int32
	var wait sync.WaitGroup
	for i := range 4 {
		next := filepath.Join(dir, strconv.Itoa(i))
		wait.Go(func() {
			for range 2000 {
				release, err := store.Lock(path)
				if err != nil {
					continue // the other has it
				}
				if inside.Add(1) > 1 {
					both.Add(1)
				}
				if err := os.WriteFile(next, nil, 0o600); err != nil {
					t.Error(err)
				}
				inside.Add(-1)
				if err := os.Rename(next, path); err != nil {
					t.Error(err)
				}
				release()
			}
		})
	}
	wait.Wait()
	if n := both.Load(); n > 0 {
		t.Errorf("%d times two had the lock", n)
	}
}
