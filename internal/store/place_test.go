package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"croft/internal/store"
)

// serve opens a file as a server does, and returns its id.
func serve(t *testing.T, path string, newID bool) [16]byte {
	t.Helper()
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.SetPlace(context.Background(), newID)
	id := db.FileID()
	if err := errors.Join(err, db.Check(), db.Close()); err != nil {
		t.Fatal(err)
	}
	return id
}

func placed(t *testing.T, path string) bool {
	t.Helper()
	same, err := store.Placed(path)
	if err != nil {
		t.Fatal(err)
	}
	return same
}

// copyFile copies what a file holds, into the file that is there if there is one.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPlace(t *testing.T) {
	dir := t.TempDir()
	path, moved, copied := filepath.Join(dir, "croft.db"), filepath.Join(dir, "sub", "moved.db"), filepath.Join(dir, "copy.db")
	if !placed(t, path) {
		t.Error("a file that is not there is a copy")
	}
	id := serve(t, path, false)
	if !placed(t, path) {
		t.Error("a file that was served is a copy")
	}
	if again := serve(t, path, false); again != id || !placed(t, path) {
		t.Error("a second start changes the file's id, or its place")
	}
	if err := os.Mkdir(filepath.Dir(moved), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	if !placed(t, moved) {
		t.Error("a file that was moved within its disk is a copy")
	}
	copyFile(t, moved, copied)
	if placed(t, copied) {
		t.Error("a copy is none")
	}
	copyID := serve(t, copied, true)
	if copyID == id || !placed(t, copied) {
		t.Errorf("the copy has the id of the file, or no place; %x", copyID)
	}
	if again := serve(t, copied, false); again != copyID {
		t.Error("the copy's new id was not stored")
	}
	// Back, where nothing is any more: it is a copy there again.
	if err := os.Rename(moved, path); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	copyFile(t, copied, path)
	if placed(t, path) {
		t.Error("a copy that was put back is none")
	}
	// One that keeps its id, as a compacted file does.
	if again := serve(t, path, false); again != copyID || !placed(t, path) {
		t.Error("a new place changes the id")
	}
}

// Placed reads a file of any state. What Open refuses at once is left to it; all else that is not whole is a copy.
func TestPlacedOfDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "croft.db")
	makeVersions(t, path)
	serve(t, path, false)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.db")
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(bad, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range map[string][]byte{"empty": nil, "a text": []byte("Milk, bread\n"), "zeros": make([]byte, 1<<16)} {
		write(b)
		if same, err := store.Placed(bad); err != nil {
			t.Errorf("%s: %v, %v", name, same, err)
		}
		if _, err := store.Open(bad, store.Options{}); err == nil {
			t.Errorf("%s can be opened", name)
		}
	}
	for name, path := range map[string]string{"a folder": dir, "nothing": filepath.Join(dir, "none", "croft.db")} {
		if same, err := store.Placed(path); !same || err != nil {
			t.Errorf("%s: %v, %v", name, same, err)
		}
	}
	write(whole)
	file, err := os.OpenFile(bad, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for at := 0; at < len(whole); at += max(1, len(whole)/2000) {
		_, err := file.WriteAt([]byte{whole[at] ^ 0x41}, int64(at))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Placed(bad); err != nil {
			t.Fatalf("byte %d is wrong: %v", at, err)
		}
		if _, err := file.WriteAt(whole[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
}

// A file that is open can be asked about, and is then as placed as before.
func TestPlacedWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	serve(t, path, false)
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if !placed(t, path) {
		t.Error("a file that is open is a copy")
	}
}
