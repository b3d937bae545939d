package records_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"croft/internal/errs"
	"croft/internal/records"
	"croft/internal/store"
	"croft/internal/store/storetest"
)

// writerVariable has this binary write to the data file that it names, in place of running tests.
const writerVariable = "CROFT_RECORDS_TEST_WRITER"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerVariable); path != "" {
		if err := writeForEver(path, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// crashDefinitions are what the child's collection is defined as in turn, so that a kill meets indexes being built and deleted.
var crashDefinitions = []string{
	`{"indexes":[{"name":"by_n","fields":["n"]},{"name":"by_tags","fields":["tags","-n"]},{"name":"by_key","fields":["key"],"unique":true}]}`,
	`{"indexes":[{"name":"by_n","fields":["n"]},{"name":"by_key","fields":["key"],"unique":true},{"name":"big","fields":["n","key"],"where":"n > 5"}]}`,
}

// writeForEver creates, changes and deletes records from several goroutines, and tells on its output what was acknowledged:
// "put id rev", and "deleting id" before and "deleted id" after a delete. Ids are used once.
func writeForEver(path, round string) error {
	db, err := store.Open(path, store.Options{})
	if err != nil {
		return err
	}
	r, err := records.New(db, records.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if _, err := r.Define(ctx, admin, "notes", []byte(crashDefinitions[0]), records.DefineOptions{}); err != nil {
		return err
	}
	const writers = 8
	failed := make([]error, writers+1)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			tell := func(what string, doc records.Document) {
				os.Stdout.WriteString(what + " " + doc.ID + " " + doc.Rev + "\n")
			}
			for i := 0; failed[w] == nil; i++ {
				failed[w] = func() error {
					id := fmt.Sprintf("r%s-%d-%d", round, w, i)
					doc, err := r.Create(ctx, admin, "notes", fmt.Appendf(nil, `{"id":%q,"n":%d,"tags":["a",%d],"key":%q}`, id, i%10, i%7, id))
					if err != nil {
						return err
					}
					tell("put", doc)
					if i%2 == 0 {
						if doc, err = r.Patch(ctx, admin, "notes", id, fmt.Appendf(nil, `{"n":%d,"tags":["b",%d],"text":%q}`, i%13, i%5, strings.Repeat("x", i%300)), records.Condition{}); err != nil {
							return err
						}
						tell("put", doc)
					}
					if i%3 == 0 {
						tell("deleting", doc)
						if err := r.Delete(ctx, admin, "notes", id, records.Condition{}); err != nil {
							return err
						}
						tell("deleted", doc)
					}
					if _, err := r.Create(ctx, admin, "notes", fmt.Appendf(nil, `{"id":"%s-twin","key":"r%s-%d-0"}`, id, round, w)); err != nil && code(err) != errs.NotUnique {
						return err
					}
					return nil
				}()
			}
		})
	}
	wg.Go(func() {
		for i := 1; failed[writers] == nil; i++ {
			_, failed[writers] = r.Define(ctx, admin, "notes", []byte(crashDefinitions[i%len(crashDefinitions)]), records.DefineOptions{})
		}
	})
	wg.Wait()
	return errors.Join(failed...)
}

// acknowledged is what a killed writer had told.
type acknowledged struct {
	rev      map[string]string // of each record
	deleting map[string]bool   // whose delete had begun
	deleted  map[string]bool
}

// TestKill kills a process that writes, again and again: what it acknowledged is there, and records and entries agree.
func TestKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "croft.db")
	random := rand.New(rand.NewPCG(1, 2))
	known := acknowledged{map[string]string{}, map[string]bool{}, map[string]bool{}}
	rounds := 8
	if raceEnabled {
		rounds = 3
	}
	for round := range rounds {
		writeAndKill(t, path, round, 1+random.IntN(400), &known)
		db := storetest.Open(t, path)
		if err := db.Check(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		k := &kit{TB: t, db: db}
		var err error
		if k.Records, err = records.New(db, records.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		if err := k.Check(context.Background()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		known.verify(k, round)
		k.built("notes")
		k.swept()
		k.agree()
		if err := errors.Join(k.Check(context.Background()), k.Records.Close(), db.Check(), db.Close()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if len(known.rev) < 100 {
		t.Errorf("only %d records were acknowledged", len(known.rev))
	}
}

// writeAndKill runs a writer until it has told so many lines.
func writeAndKill(t *testing.T, path string, round, kill int, known *acknowledged) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, strconv.Itoa(round))
	cmd.Env = append(os.Environ(), writerVariable+"="+path)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := 0
	for lines := bufio.NewReader(out); ; read++ {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line that was cut tells nothing
		}
		if read == kill {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		word := strings.Fields(line)
		switch word[0] {
		case "put":
			known.rev[word[1]] = word[2]
		case "deleting":
			known.deleting[word[1]] = true
		case "deleted":
			known.deleted[word[1]] = true
		}
	}
	_ = cmd.Wait() // it was killed
	if read < kill {
		t.Fatalf("the writer ended by itself: %s", stderr.String())
	}
}

// verify looks for all that was acknowledged.
func (a *acknowledged) verify(k *kit, round int) {
	for id, rev := range a.rev {
		doc, err := k.Get(context.Background(), admin, "notes", id, "", records.Condition{}, nil)
		switch {
		case a.deleted[id]:
			if code(err) != errs.NotFound {
				k.Errorf("round %d: the delete of %s was acknowledged, and it is %s, %v", round, id, doc.JSON, err)
			}
		case code(err) == errs.NotFound && a.deleting[id]:
			a.deleted[id] = true // it was done and not told any more
		case err != nil || doc.Rev < rev:
			k.Errorf("round %d: %s was acknowledged with rev %s and has %s, %v", round, id, rev, doc.Rev, err)
		}
	}
}

// agree holds lists by indexes to those without.
func (k *kit) agree() {
	k.Helper()
	for _, filter := range []string{"n == 3", "n > 5 && n < 9", `"a" in tags`, `key.startsWith("r1-")`} {
		with := k.list(admin, "notes", records.Query{Filter: filter, Count: true, Limit: 1})
		without := k.list(admin, "notes", records.Query{Filter: "(" + filter + ") ? true : false", Count: true, Limit: 1})
		if *with.Count != *without.Count {
			k.Errorf("%s: %d by an index, %d without", filter, *with.Count, *without.Count)
		}
	}
}
