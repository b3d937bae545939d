package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"croft/internal/backup"
	"croft/internal/store"
	"croft/internal/store/storetest"
)

// fill puts so many MiB into a data file.
func fill(t testing.TB, db *store.DB, mebibytes int) {
	t.Helper()
	value := bytes.Repeat([]byte("croft"), 200)
	for m := range mebibytes {
		err := db.Update(context.Background(), func(tx *store.Tx) error {
			for i := range 1 << 20 / len(value) {
				// Not among the records: a check would want to know their collection.
				if err := tx.Put(store.Space(0xf0).Key(fmt.Appendf(nil, "%04d %04d", m, i)), value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// source is the bytes of an open data file.
func source(t testing.TB, db *store.DB) backup.Source {
	t.Helper()
	im, err := db.Image()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(im.Close)
	return backup.Source{Reader: io.NewSectionReader(im, 0, im.Size()), Size: im.Size(), Seq: im.Seq()}
}

// names lists a folder.
func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestWriteFile(t *testing.T) {
	db := storetest.New(t)
	fill(t, db, 20)
	dir := t.TempDir()
	path := filepath.Join(dir, "copy.db")
	s := source(t, db)
	fill(t, db, 21) // what is written later is not in it
	var last, steps int64
	checked := false
	err := backup.WriteFile(t.Context(), path, s, backup.FileOptions{
		Progress: func(done, total int64) {
			if done <= last || done > total || total != s.Size {
				t.Errorf("%d of %d after %d", done, total, last)
			}
			last = done
			steps++
		},
		Checking: func() { checked = last == s.Size },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !checked || steps < 10 {
		t.Errorf("%d steps; checked at the end: %v", steps, checked)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode() != 0o600 || info.Size() != s.Size {
		t.Errorf("mode %v, %d bytes of %d", info.Mode(), info.Size(), s.Size)
	}
	if got := names(t, dir); got != "copy.db" {
		t.Errorf("in the folder: %s", got)
	}
	copied := storetest.Open(t, path)
	err = copied.View(func(tx *store.Tx) error {
		for m, want := range map[string]bool{"0019": true, "0020": false} {
			if v, err := tx.Get(store.Space(0xf0).Key([]byte(m + " 0000"))); err != nil || (v != nil) != want {
				t.Errorf("MiB %s is there: %v, %v", m, v != nil, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestWriteFileRefuses(t *testing.T) {
	db := storetest.New(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.WriteFile(at("file"), []byte("precious"), 0o644), os.Mkdir(at("folder"), 0o755),
		os.WriteFile(at("empty"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		if err := errors.Join(os.Symlink(db.Path(), at("link")), os.Symlink(at("nothing"), at("dangling"))); err != nil {
			t.Fatal(err)
		}
	}
	before := names(t, dir)
	for _, test := range []struct{ path, want string }{
		{"", "name the file"},
		{at("folder") + "/", "name the file"},
		{at("folder"), "is a folder: name the file that is to be made in it, such as"},
		{at("file"), "replaces no file"},
		{at("empty"), "replaces no file"},
		{db.Path(), "is the data file itself"},
		{at("missing/copy.db"), "there is no folder " + at("missing")},
		{at("file/copy.db"), "not a "},
		{at("link"), "is the data file itself"},
		{at("dangling"), "exists and is not an ordinary file"},
	} {
		if runtime.GOOS == "windows" && (test.path == at("link") || test.path == at("dangling")) {
			continue
		}
		if err := backup.CheckTarget(test.path, db.Path()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want …%s…", test.path, err, test.want)
		}
		if err := backup.WriteFile(t.Context(), test.path, source(t, db), backup.FileOptions{}); err == nil {
			t.Errorf("%q: written", test.path)
		}
	}
	if got := names(t, dir); got != before {
		t.Errorf("in the folder: %s; before: %s", got, before)
	}
	if b, err := os.ReadFile(at("file")); err != nil || string(b) != "precious" {
		t.Errorf("%q, %v", b, err)
	}
}

// Whatever goes wrong while a backup is written, nothing is left of it.
func TestWriteFileFails(t *testing.T) {
	db := storetest.New(t)
	fill(t, db, 12)
	broken := errors.New("broken")
	for _, test := range []struct {
		name string
		want string
		run  func(path string, s backup.Source) error
	}{
		{"the source fails", "broken", func(path string, s backup.Source) error {
			s.Reader = io.MultiReader(io.LimitReader(s.Reader, 9<<20), failing{broken})
			return backup.WriteFile(t.Context(), path, s, backup.FileOptions{})
		}},
		{"the source is cut short", "the data ended after 9437189 of", func(path string, s backup.Source) error {
			s.Reader = io.LimitReader(s.Reader, 9<<20+5)
			return backup.WriteFile(t.Context(), path, s, backup.FileOptions{})
		}},
		{"called off while writing", "canceled", func(path string, s backup.Source) error {
			ctx, stop := context.WithCancel(t.Context())
			return backup.WriteFile(ctx, path, s, backup.FileOptions{Progress: func(int64, int64) { stop() }})
		}},
		{"called off while checking", "canceled", func(path string, s backup.Source) error {
			ctx, stop := context.WithCancel(t.Context())
			return backup.WriteFile(ctx, path, s, backup.FileOptions{Verify: func(ctx context.Context, _ string) error {
				stop()
				return ctx.Err()
			}})
		}},
		{"the check finds a fault", "its check found it not whole, so it was deleted: broken", func(path string, s backup.Source) error {
			return backup.WriteFile(t.Context(), path, s, backup.FileOptions{Verify: func(_ context.Context, temp string) error {
				if filepath.Dir(temp) != filepath.Dir(path) || !strings.HasPrefix(filepath.Base(temp), ".croft-backup-") || !strings.HasSuffix(temp, ".partial") {
					t.Errorf("what is checked is %s", temp)
				}
				if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("it has its name before it was checked: %v", err)
				}
				return broken
			}})
		}},
		{"the source is damaged", "damaged", func(path string, s backup.Source) error {
			all, err := io.ReadAll(s.Reader)
			if err != nil {
				return err
			}
			copy(all[len(all)/2:], make([]byte, 3<<20))
			s.Reader = bytes.NewReader(all)
			return backup.WriteFile(t.Context(), path, s, backup.FileOptions{})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := test.run(filepath.Join(dir, "copy.db"), source(t, db)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want …%s…", err, test.want)
			}
			if got := names(t, dir); got != "" {
				t.Errorf("left: %s", got)
			}
		})
	}
	t.Run("a file comes to have the name", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "copy.db")
		err := backup.WriteFile(t.Context(), path, source(t, db), backup.FileOptions{Checking: func() {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Error(err)
			}
		}})
		if err == nil || !strings.Contains(err.Error(), "replaces no file") {
			t.Error(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "precious" || names(t, dir) != "copy.db" {
			t.Errorf("%q, %v; in the folder: %s", b, err, names(t, dir))
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// roleWrite writes a backup of a data file and stops in the middle, until it is killed.
func roleWrite(args []string) error {
	file, err := backup.OpenClosed(args[0])
	if err != nil {
		return err
	}
	file.Reader = io.MultiReader(io.LimitReader(file.Reader, file.Size/2), tellAndWait{})
	return backup.WriteFile(context.Background(), args[1], file.Source, backup.FileOptions{})
}

func init() { roles["write"] = roleWrite }

type tellAndWait struct{}

func (tellAndWait) Read([]byte) (int, error) {
	fmt.Println("half")
	select {}
}

// A backup that is killed leaves a file whose name says what it is, and the next one in the folder removes it. It leaves alone what
// another process is writing at that time.
func TestKilled(t *testing.T) {
	db := storetest.New(t)
	fill(t, db, 12)
	data := filepath.Join(t.TempDir(), "closed.db")
	if err := backup.WriteFile(t.Context(), data, source(t, db), backup.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	half := func() (kill func()) {
		cmd := child(t, "write", data, filepath.Join(dir, "copy.db"))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 5)); err != nil {
			t.Fatal(err, cmd.Stderr)
		}
		return func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed
		}
	}
	kill := half()
	killOther := half()
	kill()
	partial := func() []string {
		found, err := filepath.Glob(filepath.Join(dir, ".croft-backup-*.partial"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := partial(); len(found) != 2 || strings.Contains(names(t, dir), "copy.db") {
		t.Fatalf("in the folder: %s", names(t, dir))
	}
	bystander := filepath.Join(dir, ".croft-backup-of-mine")
	if err := os.WriteFile(bystander, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := backup.WriteFile(t.Context(), filepath.Join(dir, "one.db"), source(t, db), backup.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	if found := partial(); len(found) != 1 {
		t.Errorf("left, while one is being written: %q", found)
	}
	killOther()
	if err := backup.WriteFile(t.Context(), filepath.Join(dir, "two.db"), source(t, db), backup.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != ".croft-backup-of-mine one.db two.db" {
		t.Errorf("in the folder: %s", got)
	}
}

// A data file that no server has open is copied without a change to it.
func TestOpenClosed(t *testing.T) {
	db := storetest.New(t)
	fill(t, db, 1)
	if _, err := backup.OpenClosed(db.Path()); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a file that is open: %v", err)
	}
	data := filepath.Join(t.TempDir(), "closed.db")
	if err := backup.WriteFile(t.Context(), data, source(t, db), backup.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	file, err := backup.OpenClosed(data)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := errors.Join(backup.WriteFile(t.Context(), path, file.Source, backup.FileOptions{}), file.Close()); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(data)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the data file was changed: %v", err)
	}
	for _, missing := range []string{filepath.Join(t.TempDir(), "none.db"), t.TempDir()} {
		if file, err := backup.OpenClosed(missing); err == nil {
			t.Errorf("%s: opened", missing)
			_ = file.Close()
		}
	}
}
