package records

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// DefineOptions say how to define a collection.
type DefineOptions struct {
	DryRun bool // change nothing, and say what would change and which records would not fit
	Keep   bool // leave records that do not fit the new schema as they are
	Cond   Condition
}

// DefineResult is the collection as it is now, or what a dry run found.
type DefineResult struct {
	Rev     string
	JSON    []byte
	Created bool
}

// Define makes a collection, or changes its definition. To define it as it is changes nothing.
func (r *Records) Define(ctx context.Context, c *identity.Caller, name string, body []byte, o DefineOptions) (DefineResult, error) {
	if err := manages(c); err != nil {
		return DefineResult{}, err
	}
	if err := checkCollectionName(name); err != nil {
		return DefineResult{}, err
	}
	def, rev, err := parseDefinition(body)
	if err != nil {
		return DefineResult{}, err
	}
	d := &defining{r: r, name: name, def: &def, o: o, basedOn: rev}
	if d.json, err = def.encode(); err != nil {
		return DefineResult{}, fmt.Errorf("encode the definition: %w", err)
	}
	// Compiled once before the writer is asked, to tell what is wrong with it.
	if _, err := newCollection(name, &storedCollection{}, &def); err != nil {
		return DefineResult{}, err
	}
	if err := r.db.View(func(tx *store.Tx) error { return d.look(ctx, tx) }); err != nil || o.DryRun {
		return d.result, err
	}
	if err := d.refuseMisfits(); err != nil {
		return DefineResult{}, err
	}
	err = r.db.Update(ctx, func(tx *store.Tx) error { return d.store(ctx, tx) })
	return d.result, err
}

func manages(c *identity.Caller) error {
	switch {
	case c.Manages():
		return nil
	case c.SignedIn():
		return errs.New(errs.Forbidden, "only admins may do this")
	default:
		return errs.New(errs.Unauthenticated, "sign in as an admin to do this")
	}
}

// defining is one request to define a collection.
type defining struct {
	r       *Records
	name    string
	def     *definition
	json    []byte
	basedOn string // the rev in the body
	o       DefineOptions

	misfits misfits
	result  DefineResult
}

// look finds the records that would not fit, outside the writer, and answers a dry run.
func (d *defining) look(ctx context.Context, tx *store.Tx) error {
	old, err := d.old(tx)
	if err != nil {
		return err
	}
	if old != nil && !bytes.Equal(old.def.Schema, d.def.Schema) {
		next, err := newCollection(d.name, old.kept, d.def)
		if err != nil {
			return err
		}
		next.live = old.live
		if err := d.misfits.find(ctx, tx, next, 0); err != nil {
			return err
		}
	}
	if d.o.DryRun {
		return d.answerDryRun(old)
	}
	return nil
}

// old returns the collection as it is, nil if there is none, and holds the request's conditions to it.
func (d *defining) old(tx *store.Tx) (*collection, error) {
	old, err := d.r.load(tx, d.name)
	if err != nil {
		return nil, err
	}
	rev := ""
	if old != nil {
		rev = old.rev()
	}
	if d.basedOn != "" && d.basedOn != rev {
		return nil, errs.At(errs.Stale, "/rev", "stale", "the definition was changed since you read it: read it again")
	}
	return old, d.o.Cond.check(rev)
}

func (d *defining) refuseMisfits() error {
	if d.misfits.Count == 0 || d.o.Keep {
		return nil
	}
	return &errs.Error{
		Code: errs.Conflict,
		Text: fmt.Sprintf("%d records would not fit the new schema: change them first, or say existing=keep to leave them as they are", d.misfits.Count),
		Members: map[string]any{
			"misfits": &d.misfits,
		},
	}
}

// store writes the definition.
func (d *defining) store(ctx context.Context, tx *store.Tx) error {
	old, err := d.old(tx)
	if err != nil {
		return err
	}
	if old != nil && bytes.Equal(old.kept.Definition, d.json) && !old.failedIndex() {
		return d.answer(tx, old)
	}
	seq, err := tx.NextSeq()
	if err != nil {
		return err
	}
	kept := &storedCollection{Generation: seq, Definition: d.json, Updated: d.r.o.Now().UTC().Format(timeLayout)}
	var s state
	if old == nil {
		d.result.Created = true
		kept.Created = kept.Updated
		if kept.Number, err = nextNumber(tx); err != nil {
			return err
		}
	} else {
		kept.Created, kept.Number, kept.LastIndex = old.kept.Created, old.number, old.kept.LastIndex
		if s, err = readState(tx, old.number); err != nil {
			return err
		}
	}
	next, err := newCollection(d.name, kept, d.def)
	if err != nil {
		return err
	}
	if old != nil {
		next.live = old.live
		if err := d.fitSince(ctx, tx, old, next); err != nil {
			return err
		}
	}
	s.generation = seq
	next.live.defined.Store(seq)
	if err := s.write(tx, kept.Number); err != nil {
		return err
	}
	if err := d.indexes(tx, old, next, s.records); err != nil {
		return err
	}
	value, err := encode(kept)
	if err != nil {
		return err
	}
	if err := tx.Put(catalogKey(d.name), value); err != nil {
		return err
	}
	tx.OnCommit(func() { d.r.replace(d.name, next) })
	return d.answer(tx, next)
}

// replace changes the catalog. It runs in the writer, after the commit.
func (r *Records) replace(name string, coll *collection) {
	r.catalog.Store(r.catalog.Load().with(name, coll))
	r.upkeep.wake()
}

// fitSince holds to the new schema the records that were written since look.
func (d *defining) fitSince(ctx context.Context, tx *store.Tx, old, next *collection) error {
	if bytes.Equal(old.def.Schema, d.def.Schema) || d.o.Keep || old.live.touched.Load() <= d.misfits.seen {
		return nil
	}
	if err := d.misfits.find(ctx, tx, next, d.misfits.seen); err != nil {
		return err
	}
	return d.refuseMisfits()
}

// indexes gives each index a number, has new ones built and what is left of old ones deleted. An index that is defined as
// before goes on as it is.
func (d *defining) indexes(tx *store.Tx, old, next *collection, records uint64) error {
	reused := map[uint32]bool{}
	for i, ix := range next.indexes {
		if was := old.sameIndex(next.def.Indexes[i]); was != nil {
			ix.Number, ix.build = was.Number, was.build
			reused[ix.Number] = true
		} else {
			next.kept.LastIndex++
			ix.Number = next.kept.LastIndex
			ix.build = &buildState{Of: records}
			if err := buildFirst(tx, next, ix); err != nil {
				return err
			}
		}
		next.kept.IndexNumbers = append(next.kept.IndexNumbers, ix.Number)
	}
	if old == nil {
		return nil
	}
	for _, ix := range old.indexes {
		if reused[ix.Number] {
			continue
		}
		if err := firstError(tx.Delete(buildKey(old.number, ix.Number)), discard(tx, ix.prefix(old))); err != nil {
			return err
		}
	}
	return nil
}

// sameIndex returns the index that is defined as d, unless it could not be built.
func (coll *collection) sameIndex(d indexDefinition) *builtIndex {
	if coll == nil {
		return nil
	}
	for i, was := range coll.def.Indexes {
		if sameIndex(was, d) && coll.indexes[i].upkept() {
			return coll.indexes[i]
		}
	}
	return nil
}

func (coll *collection) failedIndex() bool {
	return slices.ContainsFunc(coll.indexes, func(ix *builtIndex) bool { return !ix.upkept() })
}

func (d *defining) answer(tx *store.Tx, coll *collection) error {
	var err error
	d.result.Rev = coll.rev()
	d.result.JSON, err = coll.describe(tx)
	return err
}

// answerDryRun says what Define would do.
func (d *defining) answerDryRun(old *collection) error {
	if d.misfits.Records == nil {
		d.misfits.Records = []misfit{}
	}
	a := struct {
		Would    string       `json:"would"` // create, change or nothing
		Build    []string     `json:"build"` // indexes that would be built
		Remove   []string     `json:"remove"`
		Misfits  *misfits     `json:"misfits"`
		Warnings []errs.Field `json:"warnings"`
	}{Would: "change", Build: []string{}, Remove: []string{}, Misfits: &d.misfits, Warnings: []errs.Field{}}
	switch {
	case old == nil:
		a.Would = "create"
	case bytes.Equal(old.kept.Definition, d.json):
		a.Would = "nothing"
	}
	next, err := newCollection(d.name, &storedCollection{}, d.def)
	if err != nil {
		return err
	}
	a.Warnings = append(a.Warnings, next.warnings...)
	for _, ix := range d.def.Indexes {
		if old.sameIndex(ix) == nil {
			a.Build = append(a.Build, ix.Name)
		}
	}
	if old != nil {
		for _, ix := range old.def.Indexes {
			if next.sameIndex(ix) == nil {
				a.Remove = append(a.Remove, ix.Name)
			}
		}
	}
	d.result.JSON, err = encode(a)
	return err
}

// Definition is a collection as its admins see it.
type Definition struct {
	Name string
	Rev  string
	JSON []byte
}

// indexState is how far an index is built.
type indexState struct {
	Name  string `json:"name"`
	State string `json:"state"` // ready, building or failed
	Done  uint64 `json:"done,omitempty"`
	Of    uint64 `json:"of,omitempty"`
	Error string `json:"error,omitempty"`
}

// describe returns the collection as JSON: what can be put again, and what is only told.
func (coll *collection) describe(tx *store.Tx) ([]byte, error) {
	s, err := readState(tx, coll.number)
	if err != nil {
		return nil, err
	}
	states := []indexState{}
	for _, ix := range coll.indexes {
		is := indexState{Name: ix.Name, State: "ready"}
		switch b := ix.build; {
		case b == nil:
		case b.Error != "":
			is.State, is.Error = "failed", b.Error
		default:
			is.State, is.Done, is.Of = "building", b.Done, max(b.Of, b.Done)
		}
		states = append(states, is)
	}
	told, err := encode(struct {
		Records  uint64       `json:"records"`
		States   []indexState `json:"index_states"`
		Warnings []errs.Field `json:"warnings"`
	}{s.records, states, append([]errs.Field{}, coll.warnings...)})
	if err != nil {
		return nil, err
	}
	b := fmt.Appendf(nil, `{"name":%s,"rev":"%s","created":"%s","updated":"%s",`,
		strconv.Quote(coll.name), coll.rev(), coll.kept.Created, coll.kept.Updated)
	b = append(b, coll.kept.Definition[1:len(coll.kept.Definition)-1]...)
	return append(append(b, ','), told[1:]...), nil
}

// Collection returns a collection's definition.
func (r *Records) Collection(ctx context.Context, c *identity.Caller, name string) (Definition, error) {
	if err := manages(c); err != nil {
		return Definition{}, err
	}
	coll, err := r.find(name)
	if err != nil {
		return Definition{}, err
	}
	d := Definition{Name: name}
	err = r.db.View(func(tx *store.Tx) error {
		if coll, err = r.seen(tx, coll); err != nil {
			return err
		}
		d.Rev = coll.rev()
		d.JSON, err = coll.describe(tx)
		return err
	})
	return d, err
}

// Collections returns all definitions, by name, as {"items":[…]}.
func (r *Records) Collections(ctx context.Context, c *identity.Caller) ([]byte, error) {
	if err := manages(c); err != nil {
		return nil, err
	}
	b := []byte(`{"items":[`)
	err := r.db.View(func(tx *store.Tx) error {
		catalog, err := r.loadCatalog(tx)
		if err != nil {
			return err
		}
		for i, name := range slices.Sorted(maps.Keys(catalog.byName)) {
			if i > 0 {
				b = append(b, ',')
			}
			item, err := catalog.byName[name].describe(tx)
			if err != nil {
				return err
			}
			b = append(b, item...)
		}
		return nil
	})
	return append(b, `]}`...), err
}

// Drop removes a collection and all its records.
func (r *Records) Drop(ctx context.Context, c *identity.Caller, name string, cond Condition) error {
	if err := manages(c); err != nil {
		return err
	}
	return r.db.Reclaim(ctx, func(tx *store.Tx) error {
		coll, err := r.load(tx, name)
		if err != nil {
			return err
		}
		if coll == nil {
			return errs.New(errs.NotFound, "there is no collection of this name")
		}
		if err := cond.check(coll.rev()); err != nil {
			return err
		}
		coll.live.defined.Store(^uint64(0))
		for _, ix := range coll.indexes {
			if err := tx.Delete(buildKey(coll.number, ix.Number)); err != nil {
				return err
			}
		}
		err = firstError(tx.Delete(catalogKey(name)), tx.Delete(stateKey(coll.number)),
			discard(tx, recordPrefix(coll.number)), discard(tx, indexesPrefix(coll.number)))
		if err != nil {
			return err
		}
		_, err = tx.NextSeq()
		tx.OnCommit(func() { r.replace(name, nil) })
		return err
	})
}
