package records_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"croft/internal/records"
	"croft/internal/store"
)

// Whatever entries are lost, the file is in order after Repair, and every record that is left can be read.
func TestRepair(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			k := checkKit(t)
			k.define("gone", `{}`)
			k.create(admin, "gone", `{}`)
			if err := k.Drop(t.Context(), admin, "gone", records.Condition{}); err != nil {
				t.Fatal(err)
			}
			if err := k.Records.Close(); err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(seed, 1))
			left := 0
			var made []string
			k.change(func(tx *store.Tx) error {
				var lost [][]byte
				c := tx.Scan(store.Range{Lo: store.Catalog.Key()})
				for c.Next() {
					key := bytes.Clone(c.Key())
					switch {
					case records.Derived(key) || seed > 0 && r.IntN(3) == 0:
						lost = append(lost, key)
					case key[0] == byte(store.Records):
						left++
					}
				}
				if c.Err() != nil {
					return c.Err()
				}
				for _, key := range lost {
					if err := tx.Delete(key); err != nil {
						return err
					}
				}
				var err error
				made, err = records.Repair(tx, time.Now())
				return err
			})
			if _, faults := k.faults(); faults != nil {
				t.Errorf("after the repair: %q", faults)
			}
			var err error
			if k.Records, err = records.New(k.db, records.Options{}); err != nil {
				t.Fatal(err)
			}
			var names []string
			k.swept()
			found, _ := k.faults()
			n := 0
			for _, coll := range found {
				k.built(coll.Name)
				names = append(names, coll.Name)
				n += len(k.list(admin, coll.Name, records.Query{}).ids())
			}
			if n != left && n != left-1 { // the dropped collection's record may be deleted by now
				t.Errorf("%d records can be read of %d, in %v", n, left, names)
			}
			for _, name := range made {
				if !strings.HasPrefix(name, "recovered_") || k.count(store.Catalog.Key([]byte("c"+name))) != 1 {
					t.Errorf("made %v; there are %v", made, names)
				}
			}
			if _, faults := k.faults(); faults != nil {
				t.Errorf("with the indexes built: %q", faults)
			}
			// The next collection gets a number of its own.
			k.define("next", `{}`)
			if ids := k.list(admin, "next", records.Query{}).ids(); len(ids) > 0 {
				t.Errorf("a new collection has records: %v", ids)
			}
			if err := k.Records.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestSeqOf(t *testing.T) {
	k := checkKit(t)
	var key, before, after []byte
	read := func(into *[]byte) {
		k.change(func(tx *store.Tx) error {
			c := tx.Scan(store.Prefix(store.Records.Key()))
			c.Next()
			key, *into = bytes.Clone(c.Key()), bytes.Clone(c.Value())
			return c.Err()
		})
	}
	read(&before)
	if _, _, err := k.Put(t.Context(), admin, "notes", "n00", []byte(`{"t":"other"}`), records.Condition{}); err != nil {
		t.Fatal(err)
	}
	read(&after)
	if records.SeqOf(key, after) <= records.SeqOf(key, before) || records.SeqOf(key, before) == 0 {
		t.Errorf("changes %d and %d", records.SeqOf(key, before), records.SeqOf(key, after))
	}
	if n := records.SeqOf(key, []byte("no record")) + records.SeqOf(store.Auth.Key([]byte("x")), after); n != 0 {
		t.Errorf("what tells no change tells %d", n)
	}
}
