package store_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"croft/internal/store"
	"croft/internal/store/storetest"
)

var updateFlag = flag.Bool("update", false, "write the listings of testdata's old files anew")

// A made-up Croft of two formats later: the first step renames keys, the second adds one.
func later() store.Options {
	return store.WithFormat(store.Format+2, map[uint32]func(*store.Tx) error{
		store.Format: func(tx *store.Tx) error {
			var names [][]byte
			c := tx.Scan(store.Prefix(key("")))
			for c.Next() {
				names = append(names, bytes.Clone(c.Key()))
			}
			for _, k := range names {
				if err := errors.Join(tx.Delete(k), put("new "+string(k[1:]))(tx)); err != nil {
					return err
				}
			}
			return c.Err()
		},
		store.Format + 1: func(tx *store.Tx) error { return put("second step")(tx) },
	})
}

// copies lists what stands beside a data file.
func copies(t *testing.T, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			names = append(names, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	return names
}

// oneCopy wants one copy beside the file, which holds what sample wrote in the first format.
func oneCopy(t *testing.T, path string, keys int) {
	t.Helper()
	beside := copies(t, path)
	if len(beside) != 1 || !strings.HasPrefix(beside[0], fmt.Sprintf("%s.format-%d-", path, store.Format)) {
		t.Fatalf("beside the file: %v", beside)
	}
	info, err := os.Stat(beside[0])
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the copy's mode is %v", info.Mode())
	}
	db, err := store.Open(beside[0], store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, db); n != keys {
		t.Errorf("the copy has %d keys of %d", n, keys)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

func count(t *testing.T, db *store.DB) (n int) {
	t.Helper()
	err := db.View(func(tx *store.Tx) error {
		c := tx.Scan(store.Prefix(key("")))
		for c.Next() {
			n++
		}
		return c.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// migrated wants a file that went through both steps.
func migrated(t *testing.T, db *store.DB, keys int) {
	t.Helper()
	if n := count(t, db); n != keys+1 || !has(t, db, "second step") || !has(t, db, "new 00000") || has(t, db, "00000") {
		t.Errorf("after the migration there are %d keys of %d, or others", n, keys+1)
	}
	if err := db.Check(); err != nil {
		t.Error(err)
	}
}

func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	const keys = 3000
	sample(t, path, keys)
	if _, err := store.Open(path, readOnly(later())); !errors.Is(err, store.ErrOlder) || !strings.Contains(err.Error(), "start this Croft on it") {
		t.Errorf("opened to be read only: %v", err)
	}
	// What a crash left while it copied.
	writeFile(t, fmt.Sprintf("%s.format-%d.partial", path, store.Format), []byte("half a copy"))
	var log bytes.Buffer
	for range 2 {
		o := later()
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		db, err := store.Open(path, o)
		if err != nil {
			t.Fatal(err)
		}
		migrated(t, db, keys)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		oneCopy(t, path, keys)
	}
	if n := strings.Count(log.String(), "up to date"); n != 2 || !strings.Contains(log.String(), copies(t, path)[0]) {
		t.Errorf("the log of the migration and of a start: %s", &log)
	}
	if _, err := store.Open(path, short); !errors.Is(err, store.ErrNewer) {
		t.Errorf("opened by the older Croft: %v", err)
	}
	// The copy is a data file for the older one.
	oneCopy(t, path, keys)
}

func readOnly(o store.Options) store.Options {
	o.ReadOnly = true
	return o
}

// A file of a format that nobody knows the way from stays as it is.
func TestMigrateFromUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	sample(t, path, 10)
	store.SetFormat(t, path, 0)
	if _, err := store.Open(path, store.Options{}); !errors.Is(err, store.ErrOlder) {
		t.Error(err)
	}
	if beside := copies(t, path); len(beside) > 0 {
		t.Errorf("beside the file: %v", beside)
	}
	store.SetFormat(t, path, store.Format)
	if n := count(t, storetest.Open(t, path)); n != 10 {
		t.Errorf("%d keys of 10", n)
	}
}

// A step that fails leaves the file as it was. Starts that fail again and again leave one copy, not one each.
func TestMigrateFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	const keys = 500
	sample(t, path, keys)
	broken := errors.New("this step does not work")
	for range 3 {
		first := later()
		_, err := store.Open(path, store.WithFormat(store.Format+2, map[uint32]func(*store.Tx) error{
			store.Format:     store.StepOf(first, store.Format),
			store.Format + 1: func(tx *store.Tx) error { return errors.Join(put("half")(tx), broken) },
		}))
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		oneCopy(t, path, keys)
	}
	db := storetest.Open(t, path)
	if n := count(t, db); n != keys || !has(t, db, "00000") || has(t, db, "half") {
		t.Errorf("%d keys of %d, or others", n, keys)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(path, later())
	if err != nil {
		t.Fatal(err)
	}
	migrated(t, db, keys)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	oneCopy(t, path, keys)
}

func init() {
	// It migrates, and stops in the last step until its input ends.
	roles["migrate"] = func(args []string) error {
		o := later()
		second := store.StepOf(o, store.Format+1)
		db, err := store.Open(args[0], store.WithFormat(store.Format+2, map[uint32]func(*store.Tx) error{
			store.Format: store.StepOf(o, store.Format),
			store.Format + 1: func(tx *store.Tx) error {
				fmt.Println("in the middle")
				bufio.NewScanner(os.Stdin).Scan()
				return second(tx)
			},
		}))
		if err != nil {
			return err
		}
		return db.Close()
	}
}

// A process that is killed in the middle leaves the older file and its copy. One that opens the file meanwhile waits for the first.
func TestMigrateKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	const keys = 2000
	sample(t, path, keys)
	for _, kill := range []bool{true, true, false} {
		cmd := child(t, "migrate", path)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if lines := bufio.NewScanner(out); !lines.Scan() {
			t.Fatalf("the migration did not begin: %s", cmd.Stderr)
		}
		if _, err := store.Open(path, short); !errors.Is(err, store.ErrLocked) {
			t.Errorf("opened during a migration: %v", err)
		}
		if kill {
			cmd.Process.Kill()
			cmd.Wait()
			db := storetest.Open(t, path)
			if n := count(t, db); n != keys || !has(t, db, "00000") {
				t.Errorf("after the kill there are %d keys of %d", n, keys)
			}
			if err := errors.Join(db.Check(), db.Close()); err != nil {
				t.Fatal(err)
			}
		} else {
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v: %s", err, cmd.Stderr)
			}
		}
		oneCopy(t, path, keys)
	}
	db, err := store.Open(path, later())
	if err != nil {
		t.Fatal(err)
	}
	migrated(t, db, keys)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOldFiles opens what each released format version wrote, and compares with the listing beside it. The files are made by
// the test of this name in package app, once, and stay for ever.
func TestOldFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "format-*.db"))
	if err != nil || len(files) != store.Format {
		t.Fatalf("%d old files of %d formats, %v", len(files), store.Format, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "croft.db")
			writeFile(t, path, readFile(t, file))
			got := listing(t, storetest.Open(t, path))
			list := strings.TrimSuffix(file, ".db") + ".txt"
			if *updateFlag {
				writeFile(t, list, []byte(strings.Join(got, "")))
			}
			want := slices.Collect(strings.Lines(string(readFile(t, list))))
			if !slices.Equal(got, want) {
				t.Errorf("the entries differ from %s:\n%s", list, strings.Join(got, ""))
			}
			if older := file != fmt.Sprintf("testdata/format-%d.db", store.Format); older != (len(copies(t, path)) == 1) {
				t.Errorf("beside the file: %v", copies(t, path))
			}
		})
	}
}

// listing has a line for each entry but those of the file itself.
func listing(t *testing.T, db *store.DB) (lines []string) {
	t.Helper()
	err := db.View(func(tx *store.Tx) error {
		c := tx.Scan(store.Range{Lo: []byte{byte(store.Settings)}})
		for c.Next() {
			lines = append(lines, fmt.Sprintf("%v %+q %+q\n", store.Space(c.Key()[0]), c.Key()[1:], c.Value()))
		}
		return c.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
