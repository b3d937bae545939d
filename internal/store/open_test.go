package store_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"croft/internal/store"
	"croft/internal/store/storetest"

	"go.etcd.io/bbolt"
)

// short is a lock timeout of one try.
var short = store.Options{LockTimeout: time.Millisecond}

// sample makes a closed data file with n keys.
func sample(t testing.TB, path string, n int) {
	t.Helper()
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(ctx, func(tx *store.Tx) error {
		for i := range n {
			if err := put(fmt.Sprintf("%05d", i))(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestNewFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long folder ", 15), strings.Repeat("name ", 30))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "croft.db")
	db := storetest.Open(t, path)
	if db.Path() != path {
		t.Errorf("path %q", db.Path())
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if info.Size() > 64<<10 {
		t.Errorf("a new file has %d bytes", info.Size())
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	id := db.FileID()
	if id == [16]byte{} || id == storetest.New(t).FileID() {
		t.Error("the file's id is not random")
	}
	if storetest.Reopen(t, db).FileID() != id {
		t.Error("the file's id changes")
	}
}

func TestOpenErrors(t *testing.T) {
	tests := []struct {
		name  string
		make  func(t *testing.T, path string) // a file, or what else is there
		is    error
		texts []string
	}{
		{"no folder", func(t *testing.T, path string) { os.Remove(filepath.Dir(path)) }, fs.ErrNotExist, []string{"make that folder first"}},
		{"a folder", func(t *testing.T, path string) { os.Mkdir(path, 0o700) }, store.ErrNotCroft, []string{"it is a folder"}},
		{"empty", func(t *testing.T, path string) { writeFile(t, path, nil) }, store.ErrDamaged, []string{"it is empty", "remove it"}},
		{"text", func(t *testing.T, path string) { writeFile(t, path, []byte("hello")) }, store.ErrNotCroft, nil},
		{"much text", func(t *testing.T, path string) { writeFile(t, path, []byte(strings.Repeat("hello", 1e5))) }, store.ErrNotCroft, nil},
		{"zeros", func(t *testing.T, path string) { writeFile(t, path, make([]byte, 1<<20)) }, store.ErrNotCroft, nil},
		{"another program's bbolt", func(t *testing.T, path string) {
			bolt, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			bolt.Close()
		}, store.ErrNotCroft, []string{"another program"}},
		{"newer", func(t *testing.T, path string) {
			sample(t, path, 1)
			store.SetFormat(t, path, 9)
		}, store.ErrNewer, []string{"its format is 9", "update"}},
		{"cut short", func(t *testing.T, path string) {
			sample(t, path, 5000)
			os.Truncate(path, 100_000)
		}, store.ErrDamaged, []string{"it has 100000 bytes of", "cut short"}},
		{"cut in its first page", func(t *testing.T, path string) {
			sample(t, path, 1)
			os.Truncate(path, 50)
		}, store.ErrNotCroft, nil},
		{"first pages spoilt", func(t *testing.T, path string) {
			sample(t, path, 1)
			content := readFile(t, path)
			content[store.MetaTxid]++
			content[os.Getpagesize()+store.MetaTxid]++
			writeFile(t, path, content)
		}, store.ErrDamaged, []string{"both"}},
	}
	if runtime.GOOS != "windows" {
		tests = append(tests, tests[0])
		tests[len(tests)-1].name = "a link to nothing"
		tests[len(tests)-1].make = func(t *testing.T, path string) { os.Symlink("nowhere", path) }
		tests[len(tests)-1].is = nil
		tests[len(tests)-1].texts = []string{"a link to a file that doesn't exist"}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "folder", "croft.db")
			os.Mkdir(filepath.Dir(path), 0o700)
			test.make(t, path)
			_, err := store.Open(path, short)
			if err == nil || test.is != nil && !errors.Is(err, test.is) {
				t.Fatalf("%v", err)
			}
			t.Log(err)
			for _, text := range append(test.texts, path) {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
		})
	}
}

// Of many who make the same file at once, one has it, and the others are told so; the one file is whole.
func TestCreateAtOnce(t *testing.T) {
	const n = 100
	dir := t.TempDir()
	path := filepath.Join(dir, "croft.db")
	var wg sync.WaitGroup
	start := make(chan struct{})
	dbs := make([]*store.DB, n)
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			<-start
			dbs[i], errs[i] = store.Open(path, short)
		})
	}
	close(start)
	wg.Wait()
	var open *store.DB
	for i, err := range errs {
		switch {
		case err == nil && open == nil:
			open = dbs[i]
		case err == nil:
			t.Error("two have it open")
		case !errors.Is(err, store.ErrLocked):
			t.Error(err)
		}
	}
	if open == nil {
		t.Fatal("nobody has it open")
	}
	update(t, open, put("a"))
	open = storetest.Reopen(t, open)
	if !has(t, open, "a") {
		t.Error("what was written is not in the file of that name")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

// roleHold opens a file, says so, and holds it until its input ends.
func roleHold(args []string) error {
	db, err := store.Open(args[0], store.Options{})
	if err != nil {
		return err
	}
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin)
	return db.Close()
}

func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	other := child(t, "hold", path)
	in, _ := other.StdinPipe()
	out, _ := other.StdoutPipe()
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, err := store.Open(path, short)
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("the second: %v", err)
	}
	// Where the kernel tells, the other process is named.
	pid := strconv.Itoa(other.Process.Pid)
	locks, _ := os.ReadFile("/proc/locks")
	if _, noProc := os.Stat("/proc/" + pid + "/cmdline"); noProc == nil && strings.Contains(string(locks), " "+pid+" ") &&
		!strings.Contains(err.Error(), "process "+pid+" (") {
		t.Errorf("the other process is not named: %v", err)
	}
	// The second waits for the first to end.
	opened := make(chan error)
	go func() {
		db, err := store.Open(path, store.Options{LockTimeout: time.Minute})
		if err == nil {
			err = db.Close()
		}
		opened <- err
	}()
	in.Close()
	if err := <-opened; err != nil {
		t.Error(err)
	}
	if err := other.Wait(); err != nil {
		t.Errorf("%v: %s", err, other.Stderr)
	}
}
