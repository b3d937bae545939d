// Package storetest opens data files for tests, and verifies them when the test ends.
package storetest

import (
	"errors"
	"path/filepath"
	"testing"

	"croft/internal/store"
)

// New opens a new data file in a folder of the test's own. When the test ends, the file is checked and closed, and a
// fault in it fails the test.
func New(t testing.TB) *store.DB {
	t.Helper()
	return Open(t, filepath.Join(t.TempDir(), "croft.db"))
}

// Open opens a data file as New does, and makes it if there is none.
func Open(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatalf("open a data file: %v", err)
	}
	t.Cleanup(func() { finish(t, db) })
	return db
}

// Reopen checks and closes a data file, and opens it again.
func Reopen(t testing.TB, db *store.DB) *store.DB {
	t.Helper()
	finish(t, db)
	return Open(t, db.Path())
}

// finish checks and closes a data file, unless the test has closed it.
func finish(t testing.TB, db *store.DB) {
	t.Helper()
	if err := db.Check(); err != nil && !errors.Is(err, store.ErrClosed) {
		t.Errorf("check the data file: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("close the data file: %v", err)
	}
}
