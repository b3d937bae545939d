package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"croft/internal/store"

	"pgregory.net/rapid"
)

// machine compares a data file with a map under random operations.
type machine struct {
	t    *testing.T
	path string
	db   *store.DB
	want map[string]string
	seq  uint64
}

var errOnPurpose = errors.New("on purpose")

// genKey draws keys that are often equal, often neighbours, and of both short and long.
func genKey(t *rapid.T) []byte {
	n := rapid.IntRange(0, 400).Draw(t, "key")
	key := store.Records.Key(fmt.Appendf(nil, "%03d", n))
	if n%50 == 0 {
		key = append(key, bytes.Repeat([]byte{'k'}, 700)...)
	}
	return key
}

func genValue(t *rapid.T) []byte {
	if rapid.IntRange(0, 50).Draw(t, "large") == 0 {
		return bytes.Repeat([]byte{'v'}, rapid.IntRange(3000, 20000).Draw(t, "size"))
	}
	return fmt.Appendf(nil, "%0*d", rapid.IntRange(0, 300).Draw(t, "width"), rapid.IntRange(0, 1000).Draw(t, "value"))
}

func genRange(t *rapid.T) store.Range {
	r := store.Range{
		Lo:        store.Records.Key(),
		Reverse:   rapid.Bool().Draw(t, "reverse"),
		Unchecked: rapid.Bool().Draw(t, "unchecked"),
	}
	if rapid.Bool().Draw(t, "has lo") {
		r.Lo = genKey(t)
	}
	if rapid.Bool().Draw(t, "has hi") {
		r.Hi = genKey(t)
	}
	return r
}

// expect returns what a scan of a range must give.
func expect(want map[string]string, r store.Range) []string {
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if k >= string(r.Lo) && (r.Hi == nil || k < string(r.Hi)) {
			keys = append(keys, k)
		}
	}
	if r.Reverse {
		slices.Reverse(keys)
	}
	return keys
}

func scan(t *rapid.T, tx *store.Tx, r store.Range, want map[string]string) {
	keys := expect(want, r)
	c := tx.Scan(r)
	at := 0
	for c.Next() {
		if at == len(keys) || string(c.Key()) != keys[at] {
			t.Fatalf("scan %v: key %d is %.20q of %d", r, at, c.Key(), len(keys))
		}
		if string(c.Value()) != want[keys[at]] {
			t.Fatalf("scan: %.20q is %.20q and not %.20q", c.Key(), c.Value(), want[keys[at]])
		}
		if err := c.Verify(); err != nil {
			t.Fatal(err)
		}
		at++
	}
	if c.Err() != nil || at != len(keys) {
		t.Fatalf("scan %v ended after %d of %d: %v", r, at, len(keys), c.Err())
	}
	// From a key in between.
	from := genKey(t)
	part := slices.DeleteFunc(keys, func(k string) bool { return r.Reverse && k > string(from) || !r.Reverse && k < string(from) })
	c = tx.Scan(r)
	c.Seek(from)
	switch ok := c.Next(); {
	case c.Err() != nil:
		t.Fatal(c.Err())
	case ok != (len(part) > 0):
		t.Fatalf("seek %.20q in %v: %v of %d", from, r, ok, len(part))
	case ok && string(c.Key()) != part[0]:
		t.Fatalf("seek %.20q in %v: %.20q and not %.20q", from, r, c.Key(), part[0])
	}
}

func get(t *rapid.T, tx *store.Tx, want map[string]string, key []byte) {
	got, err := tx.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	if value, ok := want[string(key)]; ok != (got != nil) || string(got) != value {
		t.Fatalf("get %.20q: %.20q and not %.20q", key, got, value)
	}
}

func (m *machine) Update(t *rapid.T) {
	state, seq := maps.Clone(m.want), m.seq
	fails := rapid.IntRange(0, 3).Draw(t, "fails") == 0
	hooks := 0
	defer func() {
		// rapid ends a run by panics of its own.
		switch p := recover().(type) {
		case nil:
		case *store.Panic:
			panic(p.Value)
		default:
			panic(p)
		}
	}()
	err := m.db.Update(context.Background(), func(tx *store.Tx) error {
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				key, value := genKey(t), genValue(t)
				if err := tx.Put(key, value); err != nil {
					return err
				}
				state[string(key)] = string(value)
				clear(key) // the store has its own copy
				clear(value)
			case 2:
				// A run of keys, so that whole leaves become empty.
				lo, n := rapid.IntRange(0, 400).Draw(t, "from"), rapid.IntRange(0, 150).Draw(t, "count")
				for i := lo; i < lo+n; i++ {
					key := store.Records.Key(fmt.Appendf(nil, "%03d", i))
					if err := tx.Delete(key); err != nil {
						return err
					}
					delete(state, string(key))
				}
			case 3:
				get(t, tx, state, genKey(t))
			case 4:
				scan(t, tx, genRange(t), state)
			case 5:
				n, err := tx.NextSeq()
				if err != nil {
					return err
				}
				if seq++; n != seq {
					t.Fatalf("change %d and not %d", n, seq)
				}
			}
		}
		tx.OnCommit(func() { hooks++ })
		if fails {
			return errOnPurpose
		}
		return nil
	})
	if fails {
		if err != errOnPurpose || hooks != 0 {
			t.Fatalf("an update that fails: %v, %d hooks ran", err, hooks)
		}
		return
	}
	if err != nil || hooks != 1 {
		t.Fatalf("update: %v, %d hooks ran", err, hooks)
	}
	m.want, m.seq = state, seq
}

func (m *machine) Reopen(t *rapid.T) {
	m.close(t)
	m.open(t)
}

func (m *machine) open(t *rapid.T) {
	db, err := store.Open(m.path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.db = db
}

func (m *machine) close(t *rapid.T) {
	if err := errors.Join(m.db.Check(), m.db.Close()); err != nil {
		t.Fatal(err)
	}
}

// Check compares everything.
func (m *machine) Check(t *rapid.T) {
	err := m.db.View(func(tx *store.Tx) error {
		scan(t, tx, genRange(t), m.want)
		scan(t, tx, store.Prefix(store.Records.Key()), m.want)
		get(t, tx, m.want, genKey(t))
		if seq, err := tx.Seq(); err != nil || seq != m.seq {
			t.Fatalf("seq %d and not %d: %v", seq, m.seq, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestModel(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := &machine{t: t, path: filepath.Join(dir, fmt.Sprint(run)), want: map[string]string{}}
		m.open(rt)
		defer func() { m.close(rt) }()
		rt.Repeat(map[string]func(*rapid.T){
			"update": m.Update,
			"reopen": m.Reopen,
			"":       m.Check,
		})
	})
}
