package records_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"croft/internal/records"
	"croft/internal/store"
	"croft/internal/store/storetest"
)

const checked = `{"indexes":[{"name":"by_t","fields":["t"],"unique":true},{"name":"by_n","fields":["-n","tags"]}]}`

// checkKit is a small collection and a file whose entries tests may change; it is not checked when the test ends.
func checkKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{TB: t, db: storetest.New(t)}
	var err error
	if k.Records, err = records.New(k.db, records.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Records.Close() })
	k.define("notes", checked)
	k.define("empty", `{}`)
	for i := range 20 {
		k.create(admin, "notes", fmt.Sprintf(`{"id":"n%02d","t":"t%d","n":%d,"tags":["a","b%d"]}`, i, i, i%3, i))
	}
	// Those that a unique index lets be alike.
	k.create(admin, "notes", `{"id":"null1","t":null}`)
	k.create(admin, "notes", `{"id":"null2","t":null}`)
	k.create(admin, "notes", `{"id":"none1"}`)
	k.create(admin, "notes", `{"id":"none2"}`)
	return k
}

// faults is what Check reports.
func (k *kit) faults() (found []records.Checked, faults []string) {
	k.Helper()
	err := k.db.View(func(tx *store.Tx) (err error) {
		found, err = records.Check(context.Background(), tx, func(where, what string) { faults = append(faults, where+": "+what) })
		return err
	})
	if err != nil {
		k.Fatal(err)
	}
	return found, faults
}

// change changes the file behind the package's back.
func (k *kit) change(fn func(tx *store.Tx) error) {
	k.Helper()
	if err := k.db.Update(context.Background(), fn); err != nil {
		k.Fatal(err)
	}
}

// keys are those of a space that hold all of some parts.
func (k *kit) keys(space store.Space, parts ...string) (keys [][]byte) {
	k.Helper()
	err := k.db.View(func(tx *store.Tx) error {
		c := tx.Scan(store.Prefix(space.Key()))
		for c.Next() {
			if !slices.ContainsFunc(parts, func(part string) bool { return !bytes.Contains(c.Key(), []byte(part)) }) {
				keys = append(keys, bytes.Clone(c.Key()))
			}
		}
		return c.Err()
	})
	if err != nil || len(keys) == 0 {
		k.Fatalf("keys of %s with %q: %d, %v", space, parts, len(keys), err)
	}
	return keys
}

func TestCheck(t *testing.T) {
	k := checkKit(t)
	found, faults := k.faults()
	want := []records.Checked{{Name: "empty"}, {Name: "notes", Records: 24}}
	if !slices.Equal(found, want) || faults != nil {
		t.Errorf("a good file: %+v, %q", found, faults)
	}
}

// TestCheckFinds does one thing to a file that the package never does, and wants to hear of just that.
func TestCheckFinds(t *testing.T) {
	record := func(id string) func(*kit) []byte {
		return func(k *kit) []byte { return k.keys(store.Records, id)[0] }
	}
	// stored is a record as it is stored.
	stored := func(k *kit, key []byte) (value []byte) {
		k.change(func(tx *store.Tx) error {
			v, err := tx.Get(key)
			value = bytes.Clone(v)
			return err
		})
		return value
	}
	for name, test := range map[string]struct {
		change func(k *kit)
		want   []string
	}{
		"an entry is missing": {
			func(k *kit) {
				key := k.keys(store.Indexes, "t7\x00")[0]
				k.change(func(tx *store.Tx) error { return tx.Delete(key) })
			},
			[]string{"record n07 of notes: it misses an entry in the index by_t"},
		},
		"an entry of a record that is not there": {
			func(k *kit) {
				key := append(k.keys(store.Indexes, "t7\x00")[0], "77"...)
				k.change(func(tx *store.Tx) error { return tx.Put(key, nil) })
			},
			[]string{"index by_t of notes: it has an entry that record n0777 of notes does not make"},
		},
		"an entry with another value": {
			func(k *kit) {
				key := k.keys(store.Indexes, "t7\x00")[0]
				other := bytes.Replace(key, []byte("t7"), []byte("u7"), 1)
				k.change(func(tx *store.Tx) error {
					if err := tx.Delete(key); err != nil {
						return err
					}
					return tx.Put(other, nil)
				})
			},
			[]string{"record n07 of notes: it misses an entry in the index by_t", "index by_t of notes: it has an entry that record n07 of notes does not make"},
		},
		"two with one unique value": {
			func(k *kit) {
				// Record n08 becomes like n07, and so do its entries: only that is wrong.
				key := record("n08")(k)
				value := bytes.Replace(stored(k, key), []byte(`"t8"`), []byte(`"t7"`), 1)
				// The hash in the directory is that of the value.
				like := stored(k, record("n07")(k))
				at := 3 + int(value[2]) + 5 // the hash of the first field behind the system's
				value[at] = like[at]
				entry := k.keys(store.Indexes, "t8\x00")[0]
				other := bytes.Replace(entry, []byte("t8"), []byte("t7"), 1)
				k.change(func(tx *store.Tx) error {
					if err := tx.Put(key, value); err != nil {
						return err
					}
					if err := tx.Delete(entry); err != nil {
						return err
					}
					return tx.Put(other, nil)
				})
			},
			[]string{"index by_t of notes: records n07 and n08 have the same t"},
		},
		"a record that is malformed": {
			func(k *kit) {
				key := record("n09")(k)
				k.change(func(tx *store.Tx) error { return tx.Put(key, []byte("\x02\x00\x00[]")) })
			},
			[]string{"record n09 of notes: it is not as Croft stores records"},
		},
		"a record under another id": {
			func(k *kit) {
				key := record("n09")(k)
				value := stored(k, key)
				k.change(func(tx *store.Tx) error { return tx.Put(bytes.Replace(key, []byte("n09"), []byte("m09"), 1), value) })
			},
			[]string{"record m09 of notes: it says that it is another one", "collection notes: it counts 24 records and has 25"},
		},
		"a record that is gone": {
			func(k *kit) {
				key := record("none2")(k)
				k.change(func(tx *store.Tx) error { return tx.Delete(key) })
			},
			[]string{
				"collection notes: it counts 24 records and has 23",
				"index by_t of notes: it has an entry that record none2 of notes does not make",
				"index by_n of notes: it has an entry that record none2 of notes does not make",
			},
		},
		"records of no collection": {
			func(k *kit) {
				k.change(func(tx *store.Tx) error { return tx.Put([]byte("\x40\x00\x00\x00\x63id"), []byte("x")) })
			},
			[]string{"records: there are records of a collection that is not there"},
		},
		"entries of no index": {
			func(k *kit) {
				k.change(func(tx *store.Tx) error { return tx.Put([]byte("\x50\x00\x00\x00\x01\x00\x00\x00\x63\x00"), nil) })
			},
			[]string{"indexes: there are entries of an index that is not there"},
		},
		"a definition that can't be used": {
			func(k *kit) {
				key := k.keys(store.Catalog, "cempty")[0]
				k.change(func(tx *store.Tx) error { return tx.Put(key, []byte(`{"number":2,"definition":7}`)) })
			},
			[]string{"collection empty: its definition can't be used: the data file is damaged: the definition of empty: json: cannot unmarshal number into Go value of type records.definition"},
		},
		"a count of nothing": {
			func(k *kit) {
				k.change(func(tx *store.Tx) error { return tx.Put([]byte("\x30n\x00\x00\x00\x63"), make([]byte, 16)) })
			},
			[]string{"collections: there is a count of records for a collection that is not there"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := checkKit(t)
			test.change(k)
			_, got := k.faults()
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// What is being deleted or built is no fault.
func TestCheckUnderWay(t *testing.T) {
	k := newKit(t, records.Options{})
	k.define("notes", checked)
	var bodies []string
	for i := range 3000 {
		bodies = append(bodies, fmt.Sprintf(`{"t":"t%d"}`, i))
	}
	k.createAll("notes", bodies...)
	k.define("notes", `{"indexes":[{"name":"by_n","fields":["t","n"]}]}`)
	for range 8 {
		if _, faults := k.faults(); faults != nil {
			t.Fatal(faults)
		}
	}
	if err := k.Drop(context.Background(), admin, "notes", records.Condition{}); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		if _, faults := k.faults(); faults != nil {
			t.Fatal(faults)
		}
	}
}

func TestCheckEnds(t *testing.T) {
	k := checkKit(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := k.db.View(func(tx *store.Tx) error {
		_, err := records.Check(ctx, tx, func(string, string) {})
		return err
	})
	if err != context.Canceled {
		t.Errorf("a check that was cancelled: %v", err)
	}
}

// A Count finds what Check does on a file without faults.
func TestCount(t *testing.T) {
	k := checkKit(t)
	var count records.Count
	keys := k.keys(store.Records)
	k.change(func(tx *store.Tx) error {
		for c := tx.Scan(store.Range{}); c.Next(); {
			count.Entry(c.Key(), c.Value())
		}
		return nil
	})
	found, _ := k.faults()
	if got := count.Collections(); !slices.Equal(got, found) {
		t.Errorf("counted %+v, checked %+v", got, found)
	}
	for key, want := range map[string]string{
		string(keys[0]):                  "record n00 of notes",
		"\x40\x00\x00\x00\x01\x00secret": "a record of notes",
		"\x40\x00\x00\x00\x63abc":        "record abc of a collection that can't be read",
		"\x40":                           "a record of a collection that can't be read",
		"\x50\x00\x00\x00\x01secret":     "an index of notes",
		"\x30cnotes":                     "the definition of notes",
		"\x20ssecret":                    "auth",
	} {
		if got := count.Name([]byte(key)); got != want {
			t.Errorf("%q is told as %q, want %q", key, got, want)
		}
	}
}
