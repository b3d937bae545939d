package backup_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"croft/internal/backup"
	"croft/internal/needs"
	"croft/internal/store"

	"go.etcd.io/bbolt"
)

// dataFile makes a closed data file that holds a word.
func dataFile(t testing.TB, path, word string) {
	t.Helper()
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(context.Background(), func(tx *store.Tx) error { return tx.Put(wordKey, []byte(word)) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

var wordKey = store.Space(0xf0).Key([]byte("word"))

// word reads and checks a data file.
func word(t testing.TB, path string) (word string) {
	t.Helper()
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *store.Tx) error {
		value, err := tx.Get(wordKey)
		word = string(value)
		return err
	})
	if err := errors.Join(err, db.Check(), db.Close()); err != nil {
		t.Fatal(err)
	}
	return word
}

func content(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// kept is what is beside the data file and keeps what it was, "" if there is nothing.
func kept(t testing.TB, dir string) (path string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.before-restore-*"))
	if err != nil || len(found) > 1 {
		t.Fatalf("kept aside: %v, %v", found, err)
	}
	return strings.Join(found, "")
}

func TestRestore(t *testing.T) {
	for _, links := range []bool{true, false} {
		t.Run(map[bool]string{true: "links", false: "no links"}[links], func(t *testing.T) {
			if !links {
				defer backup.WithoutLinks()()
			}
			dir, from := t.TempDir(), filepath.Join(t.TempDir(), "b.db")
			data := filepath.Join(dir, "croft.db")
			dataFile(t, data, "old")
			dataFile(t, from, "new")
			before, oldID := content(t, from), id(t, from)
			r, err := backup.Restore(t.Context(), from, data, backup.FileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(content(t, from), before) {
				t.Error("the backup was changed")
			}
			if placed, err := store.Placed(data); !placed || err != nil {
				t.Errorf("the restored file would be verified again: %v, %v", placed, err)
			}
			if id(t, data) == oldID {
				t.Error("the restored file has the id of the one that it is a copy of")
			}
			if r.Kept != kept(t, dir) || r.File != data || r.Bytes != int64(len(before)) {
				t.Errorf("the report: %+v", r)
			}
			if word(t, data) != "new" || word(t, r.Kept) != "old" {
				t.Errorf("the data file has %q, what was kept %q", word(t, data), word(t, r.Kept))
			}
			if info, err := os.Stat(data); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			// Again within the same second: nothing that was kept is lost.
			if _, err = backup.Restore(t.Context(), from, data, backup.FileOptions{}); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(names(t, dir), "before-restore"); n != 2 || strings.Contains(names(t, dir), "partial") {
				t.Errorf("in the folder: %s", names(t, dir))
			}
		})
	}
}

func id(t testing.TB, path string) [16]byte {
	t.Helper()
	db, err := store.Open(path, store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return db.FileID()
}

// A data file that is damaged, which is what restores are for, is kept as it is.
func TestRestoreOverDamage(t *testing.T) {
	dir, from := t.TempDir(), filepath.Join(t.TempDir(), "b.db")
	data := filepath.Join(dir, "croft.db")
	dataFile(t, from, "new")
	if err := os.WriteFile(data, []byte("all of it is lost"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := backup.Restore(t.Context(), from, data, backup.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if word(t, data) != "new" || string(content(t, r.Kept)) != "all of it is lost" {
		t.Error("the data file, or what was kept, is another")
	}
}

// A link to the data file stays one: the file on the disk that it leads to is replaced.
func TestRestoreThroughLink(t *testing.T) {
	disk, from := t.TempDir(), filepath.Join(t.TempDir(), "b.db")
	data := filepath.Join(t.TempDir(), "croft.db")
	dataFile(t, filepath.Join(disk, "real.db"), "old")
	dataFile(t, from, "new")
	if err := os.Symlink(filepath.Join(disk, "real.db"), data); err != nil {
		needs.Skip(t, "no links here: "+err.Error())
	}
	if _, err := backup.Restore(t.Context(), from, data, backup.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(data); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
	if word(t, filepath.Join(disk, "real.db")) != "new" || kept(t, disk) == "" {
		t.Errorf("in the folder: %s", names(t, disk))
	}
}

// What can't be restored is refused in clear words, and the data file stays as it is, alone.
func TestRestoreRefuses(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	data := filepath.Join(dir, "croft.db")
	dataFile(t, data, "old")
	before := content(t, data)
	good := filepath.Join(elsewhere, "good.db")
	dataFile(t, good, "new")
	make := func(name string, b []byte) string {
		path := filepath.Join(elsewhere, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	foreign := filepath.Join(elsewhere, "foreign.db")
	bolt, err := bbolt.Open(foreign, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := bolt.Close(); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(elsewhere, "newer.db")
	dataFile(t, newer, "new")
	if bolt, err = bbolt.Open(newer, 0o600, nil); err != nil {
		t.Fatal(err)
	}
	err = bolt.Update(func(tx *bbolt.Tx) error {
		key, version := []byte("\x00format"), []byte{0, 0, 0, 9}
		sum := crc32.Checksum(append(slices.Clone(key), version...), crc32.MakeTable(crc32.Castagnoli))
		return tx.Bucket([]byte("croft")).Put(key, append(binary.BigEndian.AppendUint32(nil, sum), version...))
	})
	if err := errors.Join(err, bolt.Close()); err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(content(t, good))
	at := bytes.LastIndex(flipped, []byte("wordnew"))
	if at < 0 {
		at = bytes.LastIndex(flipped, []byte("new"))
	}
	flipped[at] ^= 1
	hard := filepath.Join(dir, "other name.db")
	if err := os.Link(data, hard); err != nil {
		hard = data
	}
	for name, test := range map[string]struct {
		file, text string
		is         error
	}{
		"text":            {make("text.txt", []byte("milk, bread")), "text.txt can't be restored: ", store.ErrNotCroft},
		"empty":           {make("empty.db", nil), "empty.db can't be restored: ", nil},
		"cut short":       {make("short.db", content(t, good)[:9000]), "short.db can't be restored: ", store.ErrDamaged},
		"damaged":         {make("flipped.db", flipped), "flipped.db can't be restored: ", store.ErrDamaged},
		"another program": {foreign, "foreign.db can't be restored: ", store.ErrNotCroft},
		"a newer format":  {newer, "update this Croft", store.ErrNewer},
		"a folder":        {elsewhere, "is a folder", nil},
		"missing":         {filepath.Join(elsewhere, "missing.db"), "there is no file", nil},
		"itself":          {data, "the data file itself", nil},
		"itself by link":  {hard, "the data file itself", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := backup.Restore(t.Context(), test.file, data, backup.FileOptions{Verify: verify})
			if err == nil || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "partial") || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("the error: %v", err)
			}
			if !bytes.Equal(content(t, data), before) || strings.Contains(names(t, dir), "partial") || kept(t, dir) != "" {
				t.Errorf("in the folder: %s", names(t, dir))
			}
		})
	}
	t.Run("called off", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := backup.Restore(ctx, good, data, backup.FileOptions{Checking: cancel, Verify: func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		if !errors.Is(err, context.Canceled) || strings.Contains(names(t, dir), "partial") || kept(t, dir) != "" {
			t.Errorf("%v; in the folder: %s", err, names(t, dir))
		}
	})
	t.Run("in use", func(t *testing.T) {
		db, err := store.Open(data, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := backup.Restore(t.Context(), good, data, backup.FileOptions{}); !errors.Is(err, store.ErrLocked) {
			t.Errorf("restored over a file that is open: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if word(t, data) != "old" {
		t.Error("the data file was changed")
	}
}

// verify is what a server does in a process of its own.
func verify(ctx context.Context, path string) error {
	r, err := backup.CheckFile(ctx, path, nil)
	if err != nil {
		return err
	}
	// The word is in a space of nobody's.
	r.Faults = slices.DeleteFunc(r.Faults, func(f backup.Fault) bool { return f.Part != "file" })
	r.OK = len(r.Faults) == 0
	return r.Err()
}

func init() {
	roles["restore"] = func(args []string) error {
		backup.DieAt(args[2])
		_, err := backup.Restore(context.Background(), args[0], args[1], backup.FileOptions{})
		return err
	}
}

// A process that dies at any step of the swap leaves the one file or the other under the name, and the old one somewhere.
func TestRestoreKilled(t *testing.T) {
	from := filepath.Join(t.TempDir(), "b.db")
	dataFile(t, from, "new")
	for step, want := range map[string]string{"ready": "old", "kept": "old", "renamed": "new"} {
		t.Run(step, func(t *testing.T) {
			dir := t.TempDir()
			data := filepath.Join(dir, "croft.db")
			dataFile(t, data, "old")
			err := child(t, "restore", from, data, step).Run()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 9 {
				t.Fatalf("the process did not die at that step: %v", err)
			}
			if got := word(t, data); got != want {
				t.Errorf("the data file has %q, want %q", got, want)
			}
			if aside := kept(t, dir); aside != "" && word(t, aside) != "old" || aside == "" && want == "new" {
				t.Errorf("in the folder: %s", names(t, dir))
			}
			// The next one cleans up.
			if _, err := backup.Restore(t.Context(), from, data, backup.FileOptions{}); err != nil {
				t.Fatal(err)
			}
			if word(t, data) != "new" || strings.Contains(names(t, dir), "partial") {
				t.Errorf("in the folder: %s", names(t, dir))
			}
		})
	}
}

// Who waits for the lock while the file is replaced gets the new one, not what was kept.
func TestRestoreWhileOpenWaits(t *testing.T) {
	dir, from := t.TempDir(), filepath.Join(t.TempDir(), "b.db")
	data := filepath.Join(dir, "croft.db")
	dataFile(t, data, "old")
	dataFile(t, from, "new")
	got := make(chan string, 1)
	_, err := backup.Restore(t.Context(), from, data, backup.FileOptions{Verify: func(context.Context, string) error {
		go func() {
			db, err := store.Open(data, store.Options{LockTimeout: 1e12})
			if err != nil {
				got <- err.Error()
				return
			}
			err = db.View(func(tx *store.Tx) error {
				value, err := tx.Get(wordKey)
				got <- string(value)
				return err
			})
			if err := errors.Join(err, db.Close()); err != nil {
				t.Error(err)
			}
		}()
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-got; got != "new" {
		t.Errorf("who waited reads %q", got)
	}
}

// A body that ends early, as when the connection is cut, is no file.
func TestPrepareCutShort(t *testing.T) {
	dir, from := t.TempDir(), filepath.Join(t.TempDir(), "b.db")
	dataFile(t, from, "new")
	b := content(t, from)
	_, err := backup.Prepare(t.Context(), filepath.Join(dir, "croft.db"), backup.Source{Reader: bytes.NewReader(b[:len(b)/2]), Size: int64(len(b))}, backup.FileOptions{})
	if !errors.Is(err, io.ErrUnexpectedEOF) || names(t, dir) != "" {
		t.Errorf("%v; in the folder: %s", err, names(t, dir))
	}
}

// What was verified is what is restored, though another file got the name of the copy in the moment in which nothing locks it.
func TestPrepareReplaced(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "croft.db"), filepath.Join(dir, "backup.db")
	for _, path := range []string{data, file} {
		db, err := store.Open(path, store.Options{})
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	defer backup.At("unlocked", func() {
		names, err := filepath.Glob(filepath.Join(dir, ".croft-backup-*.partial"))
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		if err := os.Remove(names[0]); err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(names[0], store.Options{})
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	})()
	_, err = backup.Restore(t.Context(), file, data, backup.FileOptions{})
	if err == nil || !strings.Contains(err.Error(), "try again") {
		t.Error(err)
	}
	after, err := os.ReadFile(data)
	if err != nil || !bytes.Equal(before, after) {
		t.Error("the data file changed", err)
	}
}
