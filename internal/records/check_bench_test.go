package records

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"croft/internal/identity"
	"croft/internal/records/index"
	"croft/internal/store"
)

// fillFile makes a data file of so many records of 300 bytes with two indexes, quicker than by creating them.
func fillFile(tb testing.TB, path string, n int) {
	tb.Helper()
	ctx := context.Background()
	db, err := store.Open(path, store.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	r, err := New(db, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	const definition = `{"indexes":[{"name":"by_email","fields":["email"],"unique":true},{"name":"by_list","fields":["list","-due"]}]}`
	if _, err := r.Define(ctx, &identity.Caller{Kind: identity.Local}, "notes", []byte(definition), DefineOptions{}); err != nil {
		tb.Fatal(err)
	}
	coll := r.catalog.Load().byName["notes"]
	random := rand.New(rand.NewPCG(1, 2))
	const slice = 10_000
	for from := 0; from < n; from += slice {
		err := db.Update(ctx, func(tx *store.Tx) error {
			var keys index.Keys
			for i := from; i < min(n, from+slice); i++ {
				id := fmt.Sprintf("01939c2e-7f3a-7000-8000-%012d", i)
				rest := fmt.Sprintf(`{"email":"user%d@example.com","list":"list%d","due":%d,"text":"%s"}`, i, random.IntN(1000), random.IntN(1e6), strings.Repeat("words ", 16))
				s := &system{id: []byte(`"` + id + `"`), created: []byte(`"2026-11-20T09:30:00.000Z"`), updated: []byte(`"2026-11-20T09:30:00.000Z"`), owner: []byte("null")}
				value := appendStored(nil, appendRecord(nil, s, []byte(rest)))
				seq, err := tx.NextSeq()
				if err != nil {
					return err
				}
				setRev(value, id, seq)
				opened, err := openStored(value)
				if err != nil {
					return err
				}
				if err := tx.Put(recordKey(coll.number, id), value); err != nil {
					return err
				}
				keys.Reset()
				for _, ix := range coll.indexes {
					if err := ix.appendEntries(&keys, coll, &opened, id); err != nil {
						return err
					}
				}
				for j := range keys.Len() {
					if err := tx.Put(keys.Key(j), nil); err != nil {
						return err
					}
				}
			}
			return state{coll.generation, uint64(min(n, from+slice))}.write(tx, coll.number)
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := errors.Join(r.Close(), db.Close()); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkCheck checks records of 300 bytes with two indexes, each an operation.
func BenchmarkCheck(b *testing.B) {
	const n = 100_000
	path := filepath.Join(b.TempDir(), "croft.db")
	fillFile(b, path, n)
	db, err := store.Open(path, store.Options{ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += n {
		err := db.View(func(tx *store.Tx) error {
			_, err := Check(context.Background(), tx, func(where, what string) { b.Errorf("%s: %s", where, what) })
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
