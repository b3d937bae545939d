// Package records is the heart of Croft: collections, and the records in them.
//
// A collection is defined by its owner: a JSON Schema, indexes, access rules, checks and hidden fields. A record is a
// JSON object with five system fields. Every method takes the caller, and decides in the transaction that acts whether the
// caller may.
//
// It promises:
//   - A caller learns nothing of a record that the read rule does not give it, and nothing of a hidden field: not by a
//     filter, a sort, an error or a conflict.
//   - What is stored fits the schema and the checks as they were when it was written.
//   - Index entries are written with their record, in one transaction.
//   - A list gives no record twice and misses none that was there all along, while others write.
//
// It writes the keys of the spaces Catalog, Records and Indexes (store/keys.go):
//
//	Catalog 'c' name                       JSON: storedCollection
//	Catalog 'n' collection                 u64 generation, u64 records: see state
//	Catalog 'x'                            u32: the number of the newest collection
//	Catalog 'b' collection index           JSON: buildState, while an index is not ready
//	Catalog 'd' prefix                     nothing: a prefix whose keys are to be deleted
//	Records collection id                  directory and JSON: see stored
//	Indexes collection index values… id    nothing: see package index
package records

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// Options are what New can be told.
type Options struct {
	// Scan is how many records one query may test; 0 is DefaultScan.
	Scan int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log gets what happens in the background: the building of indexes; nil is slog.Default.
	Log *slog.Logger
	// CallerByID finds who a user would be, for Try; nil means that Try knows only the anonymous caller.
	CallerByID func(ctx context.Context, id string) (*identity.Caller, error)
}

// DefaultScan is how many records a query may test: some 50 ms of work on a small server.
const DefaultScan = 250_000

// Records holds the collections of a data file.
type Records struct {
	db      *store.DB
	o       Options
	catalog atomic.Pointer[catalog] // replaced in the writer, after a commit that changed it
	upkeep  *upkeep
}

// New reads the collections and goes on with what was under way: indexes to be built, entries to be deleted.
func New(db *store.DB, o Options) (*Records, error) {
	if o.Scan == 0 {
		o.Scan = DefaultScan
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	r := &Records{db: db, o: o}
	err := db.View(func(tx *store.Tx) error {
		c, err := r.loadCatalog(tx)
		r.catalog.Store(c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the collections: %w", err)
	}
	r.upkeep = startUpkeep(r)
	return r, nil
}

// Close stops the work in the background. It goes on at the next start.
func (r *Records) Close() error {
	r.upkeep.close()
	return nil
}

// find returns a collection by its name.
func (r *Records) find(name string) (*collection, error) {
	if c := r.catalog.Load().byName[name]; c != nil {
		return c, nil
	}
	return nil, errs.New(errs.NotFound, "there is no collection of this name")
}

// current returns a collection as a transaction sees it. In the writer that can differ from the catalog: a function that
// ran earlier in the same commit may have changed it.
func (r *Records) current(tx *store.Tx, coll *collection) (*collection, error) {
	s, err := readState(tx, coll.number)
	if err != nil || s.generation == coll.generation {
		return coll, err
	}
	c, err := r.load(tx, coll.name)
	if err == nil && c == nil {
		err = errs.New(errs.NotFound, "there is no collection of this name")
	}
	return c, err
}

// seen returns a collection as a reading transaction sees it. The catalog is read before the transaction begins, and replaced
// after the commit that changes it, so the definition in hand may be older than the records that the transaction sees.
func (r *Records) seen(tx *store.Tx, coll *collection) (*collection, error) {
	if coll.live.defined.Load() == coll.generation {
		return coll, nil
	}
	now, err := r.current(tx, coll)
	if err == nil && now != coll {
		now.settle()
	}
	return now, err
}

// state is what changes about a collection with its records.
type state struct {
	generation uint64 // the number of the change that defined it as it is
	records    uint64 // how many it has
}

func stateKey(collection uint32) []byte {
	return binary.BigEndian.AppendUint32(store.Catalog.Key([]byte{'n'}), collection)
}

// readState reads a collection's state; it is zero when the collection is gone.
func readState(tx *store.Tx, collection uint32) (state, error) {
	value, err := tx.Get(stateKey(collection))
	if value == nil || err != nil {
		return state{}, err
	}
	if len(value) != 16 {
		return state{}, fmt.Errorf("%w: the state of a collection", store.ErrDamaged)
	}
	return state{binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:])}, nil
}

func (s state) write(tx *store.Tx, collection uint32) error {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, 16), s.generation)
	return tx.Put(stateKey(collection), binary.BigEndian.AppendUint64(value, s.records))
}

// recordPrefix is the beginning of the keys of a collection's records; the id follows.
func recordPrefix(collection uint32) []byte {
	return binary.BigEndian.AppendUint32(store.Records.Key(), collection)
}

func recordKey(collection uint32, id string) []byte {
	return append(recordPrefix(collection), id...)
}

// getRecord reads a record; ok is false if there is none.
func getRecord(tx *store.Tx, collection uint32, id string) (s stored, ok bool, err error) {
	var buf [5 + 64]byte
	key := append(buf[:0], byte(store.Records))
	key = binary.BigEndian.AppendUint32(key, collection)
	value, err := tx.Get(append(key, id...))
	if value == nil || err != nil {
		return stored{}, false, err
	}
	s, err = openStored(value)
	return s, err == nil, err
}
