package store_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"croft/internal/store"
	"croft/internal/store/storetest"
)

// roleFill writes keys that begin with a word, from several writers, and tells each on its output when it was
// acknowledged. It ends after as many as it is told, or never.
func roleFill(args []string) error {
	path, word, count := args[0], args[1], args[2]
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	db, err := store.Open(path, store.Options{})
	if err != nil {
		return err
	}
	const writers = 8
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; n < 0 || i < n/writers; i++ {
				name := fmt.Sprintf("%s/%d/%d", word, w, i)
				if errs[w] = db.Update(ctx, put(name)); errs[w] != nil {
					return
				}
				os.Stdout.WriteString(name + "\n")
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, db.Close())...)
}

// roleCompact is roleFill without an end, and compacts the file over and over.
func roleCompact(args []string) error {
	path, word := args[0], args[1]
	db, err := store.Open(path, store.Options{})
	if err != nil {
		return err
	}
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%s/%d/%d", word, w, i)
				if db.Update(ctx, put(name)) == nil {
					os.Stdout.WriteString(name + "\n")
				}
			}
		}()
	}
	for {
		if _, err := db.Compact(ctx, nil); err != nil {
			return err
		}
	}
}

// A process that is killed loses nothing that it acknowledged.
func TestKill(t *testing.T) { testKill(t, "fill") }

// Nor does one that was compacting its file.
func TestKillCompact(t *testing.T) { testKill(t, "compact") }

func testKill(t *testing.T, role string) {
	path := filepath.Join(t.TempDir(), "croft.db")
	r := rand.New(rand.NewPCG(1, 1))
	var acknowledged []string
	for round := range 8 {
		cmd := child(t, role, path, strconv.Itoa(round), "-1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := 1 + r.IntN(300)
		read := 0
		for lines := bufio.NewScanner(out); lines.Scan(); read++ {
			if read == kill {
				cmd.Process.Kill()
			}
			// The last line may be cut.
			if name := lines.Text(); strings.Count(name, "/") == 2 && read <= kill {
				acknowledged = append(acknowledged, name)
			}
		}
		cmd.Wait()
		if read < kill {
			t.Fatalf("the writer ended by itself: %s", cmd.Stderr)
		}
		db := storetest.Open(t, path)
		for _, name := range acknowledged {
			if !has(t, db, name) {
				t.Errorf("round %d: %s was acknowledged and is lost", round, name)
			}
		}
		if err := errors.Join(db.Check(), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
