package backup

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"croft/internal/identity"
	"croft/internal/store"
)

// What the check of a backup said.
const (
	CheckOK     = "ok"
	CheckFailed = "failed" // or it didn't come to that: Error says what went wrong
)

// A Result is what became of one backup that was taken into the folder.
type Result struct {
	Name    string    `json:"name"`
	Time    time.Time `json:"time"` // when it began, which is what it holds
	Size    int64     `json:"size"`
	Seq     uint64    `json:"seq"` // of the last change in it
	TookMS  int64     `json:"took_ms"`
	Check   string    `json:"check"`
	Error   string    `json:"error,omitempty"`
	Present bool      `json:"present"` // the file is there now; List looks
}

// maxResults is how many results are kept, unless more backups are.
const maxResults = 200

// Results is a list of results, newest first.
type Results struct {
	Folder string   `json:"folder"`
	Items  []Result `json:"items"`
}

// List returns what became of the backups that were taken into the folder.
func (b *Backups) List(_ context.Context, c *identity.Caller) (*Results, error) {
	if err := mayManage(c); err != nil {
		return nil, err
	}
	items, err := b.results()
	if err != nil {
		return nil, err
	}
	for i := range items {
		info, err := os.Stat(filepath.Join(b.folder, items[i].Name))
		items[i].Present = err == nil && info.Mode().IsRegular() && items[i].Check == CheckOK
	}
	return &Results{Folder: b.folder, Items: items}, nil
}

// results reads what is stored, newest first.
func (b *Backups) results() ([]Result, error) {
	items := []Result{}
	err := b.db.View(func(tx *store.Tx) error {
		return eachResult(tx, func(_ []byte, r Result) { items = append(items, r) })
	})
	slices.Reverse(items)
	return items, err
}

// eachResult calls f with each result that can be read, the oldest first. Of the others only the check of the file tells: they are no
// reason to take no backups, or not to serve.
func eachResult(tx *store.Tx, f func(key []byte, r Result)) error {
	prefix := store.Backups.Key()
	scan := tx.Scan(store.Range{Lo: prefix, Unchecked: true})
	for scan.Next() && bytes.HasPrefix(scan.Key(), prefix) {
		var r Result
		if scan.Verify() == nil && json.Unmarshal(scan.Value(), &r) == nil {
			f(scan.Key(), r)
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("read the results of backups: %w", err)
	}
	return nil
}

func resultKey(ms uint64) []byte { return store.Backups.Key(binary.BigEndian.AppendUint64(nil, ms)) }

// record stores a result, and drops the oldest when there are too many: first of those that failed, so that a disk that is full
// for months does not make the good ones forgotten.
func (b *Backups) record(ctx context.Context, r Result, keep int) error {
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// It deletes nearly as much as it writes, and that a backup failed is worth knowing on a full disk above all.
	return b.db.Reclaim(ctx, func(tx *store.Tx) error {
		var all, failed [][]byte
		err := eachResult(tx, func(key []byte, old Result) {
			key = slices.Clone(key)
			all = append(all, key)
			if old.Check != CheckOK {
				failed = append(failed, key)
			}
		})
		if err != nil {
			return err
		}
		for n := len(all) + 1 - max(maxResults, keep); n > 0; n-- {
			drop := all
			if len(failed) > 0 {
				drop = failed
			}
			key := drop[0]
			all = slices.DeleteFunc(all, func(k []byte) bool { return slices.Equal(k, key) })
			failed = slices.DeleteFunc(failed, func(k []byte) bool { return slices.Equal(k, key) })
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		key := uint64(max(0, r.Time.UnixMilli()))
		for {
			taken, err := tx.Get(resultKey(key))
			if err != nil {
				return err
			}
			if taken == nil {
				return tx.Put(resultKey(key), value)
			}
			key++
		}
	})
}

// checkResults verifies that the results can be read.
func checkResults(tx *store.Tx, report func(where, what string)) error {
	scan := tx.Scan(store.Prefix(store.Backups.Key()))
	for n := 1; scan.Next(); n++ {
		var r Result
		if err := json.Unmarshal(scan.Value(), &r); err != nil || len(scan.Key()) != 9 {
			report(fmt.Sprintf("the result of backup %d", n), "it can't be read")
		}
	}
	return scan.Err()
}
