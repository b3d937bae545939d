package records

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"croft/internal/errs"
	"croft/internal/records/plan"
	"croft/internal/store"
)

// page is what a list shows, and where the pages beside it begin.
type page struct {
	rows       []stored
	next, prev *position
}

// page finds the rows of the page that is wanted.
func (l *list) page(ctx context.Context, tx *store.Tx) (*page, error) {
	rows, err := l.rows(ctx, tx)
	if err != nil {
		return nil, err
	}
	p := &page{rows: rows[:l.fit(rows)]}
	more := len(p.rows) < len(rows)
	backward := l.from != nil && l.from.backward
	if backward {
		slices.Reverse(p.rows)
	}
	// Beside a page that a cursor led to there is another one.
	if more || backward {
		p.next = l.beside(p.rows, false)
	}
	if more && backward || !backward && l.from != nil {
		p.prev = l.beside(p.rows, true)
	}
	return p, nil
}

// maxPage is how many bytes of records a page has at most, but for a single one that is larger: as much as the body of a request.
// It bounds the memory of answers that wait for their clients.
const maxPage = 1 << 20

// fit returns how many of the rows a page holds.
func (l *list) fit(rows []stored) int {
	n := min(len(rows), l.q.Limit)
	size := 0
	var scratch []byte
	for i := range rows[:n] {
		switch {
		case l.only == nil && len(l.coll.hidden) == 0:
			size += len(rows[i].json)
		case l.only == nil: // what the caller does not see must not count
			scratch = l.coll.appendVisible(scratch[:0], l.c, &rows[i])
			size += len(scratch)
		default:
			scratch = l.only.append(scratch[:0], &rows[i])
			size += len(scratch)
		}
		if size > maxPage && i > 0 {
			return i
		}
	}
	return n
}

// beside is the position before the first of some rows, or after the last.
func (l *list) beside(rows []stored, backward bool) *position {
	if len(rows) == 0 {
		// The page behind the last is empty: before it are the last rows, and after one before the first are the first.
		return &position{backward: backward}
	}
	row := &rows[0]
	if !backward {
		row = &rows[len(rows)-1]
	}
	p := &position{backward: backward, id: idOf(row)}
	for i := range l.values {
		p.values = append(p.values, bytes.Clone(l.values[i].of(row)))
	}
	return p
}

// idOf is a stored record's id, which stands first in its JSON.
func idOf(s *stored) string { return string(idBytes(s)) }

func idBytes(s *stored) []byte {
	id := s.json[len(`{"id":"`):]
	return id[:bytes.IndexByte(id, '"')]
}

// rows returns at most one row more than the page holds, in the order of the plan.
func (l *list) rows(ctx context.Context, tx *store.Tx) ([]stored, error) {
	l.tested = 0
	if narrow := l.plan.Narrow; narrow != nil && l.few(tx, narrow) {
		l.plan = narrow
	}
	if !l.plan.Ordered {
		return l.sorted(ctx, tx)
	}
	if l.from.placed() {
		l.plan.After(l.from.values, l.from.id)
	}
	rows := make([]stored, 0, l.q.Limit+1)
	err := l.walk(ctx, tx, l.plan, func(s stored) bool {
		rows = append(rows, s)
		return len(rows) <= l.q.Limit
	})
	var e *errs.Error
	if errors.As(err, &e) && e.Code == errs.NeedsIndex && l.plan.Narrow != nil {
		l.plan, l.tested = l.plan.Narrow, 0
		return l.sorted(ctx, tx)
	}
	return rows, err
}

// fewEntries is how many entries of a narrower index are worth being sorted rather than reading another in order: as many as
// can be counted in the time that two pages take.
const fewEntries = 300

// few reports whether a plan reads but few entries.
func (l *list) few(tx *store.Tx, p *plan.Plan) bool {
	n := 0
	for _, r := range p.Ranges {
		for c := tx.Scan(l.keys(p, r)); c.Next(); {
			if n++; n > fewEntries {
				return false
			}
		}
	}
	return true
}

// sorted finds the rows of the page among all that match. It keeps no more than two pages.
func (l *list) sorted(ctx context.Context, tx *store.Tx) ([]stored, error) {
	type row struct {
		key    []byte
		stored stored
	}
	most := l.q.Limit + 1
	rows := make([]row, 0, min(2*most, 64))
	values := make([][]byte, len(l.values))
	keep := func() {
		slices.SortFunc(rows, func(a, b row) int { return bytes.Compare(a.key, b.key) })
		rows = rows[:min(most, len(rows))]
	}
	var from, last, key []byte // the position's key; the greatest that is still of use
	if l.from.placed() {
		from = l.plan.Sort.AppendKey(nil, l.from.values, []byte(l.from.id))
	}
	err := l.walk(ctx, tx, l.plan, func(s stored) bool {
		for i := range l.values {
			values[i] = l.values[i].of(&s)
		}
		key = l.plan.Sort.AppendKey(key[:0], values, idBytes(&s))
		if c := bytes.Compare(key, from); from != nil && c <= 0 {
			return true
		}
		if last != nil && bytes.Compare(key, last) >= 0 {
			return true
		}
		// The memory of a row that keep dropped is used again.
		if n := len(rows); n < cap(rows) {
			rows = rows[:n+1]
		} else {
			rows = append(rows, row{})
		}
		r := &rows[len(rows)-1]
		r.key, r.stored = append(r.key[:0], key...), s
		if len(rows) == 2*most {
			keep()
			last = rows[most-1].key
		}
		return true
	})
	keep()
	found := make([]stored, len(rows))
	for i := range rows {
		found[i] = rows[i].stored
	}
	return found, err
}

// count counts all that match, wherever the page is.
func (l *list) count(ctx context.Context, tx *store.Tx) (uint64, error) {
	if l.match == nil {
		s, err := readState(tx, l.coll.number)
		return s.records, err
	}
	n := uint64(0)
	if l.plan.Exact && !l.plan.Distinct && l.plan.Index != nil {
		for _, r := range l.plan.Ranges {
			c := tx.Scan(l.keys(l.plan, r))
			for ; c.Next(); n++ {
				if n%1024 == 0 && ctx.Err() != nil {
					return 0, ctx.Err()
				}
			}
			if c.Err() != nil {
				return 0, c.Err()
			}
		}
		return n, nil
	}
	l.tested = 0
	err := l.walk(ctx, tx, l.plan, func(stored) bool { n++; return true })
	return n, err
}

// keys is the range of the store's keys that a range of a plan stands for.
func (l *list) keys(p *plan.Plan, r plan.Range) store.Range {
	var prefix []byte
	if p.Index == nil {
		prefix = recordPrefix(l.coll.number)
	} else {
		prefix = binary.BigEndian.AppendUint32(indexesPrefix(l.coll.number), p.Index.Number)
	}
	keys := store.Range{Lo: append(prefix[:len(prefix):len(prefix)], r.Lo...), Reverse: p.Reverse}
	if r.Hi != nil {
		keys.Hi = append(prefix[:len(prefix):len(prefix)], r.Hi...)
	} else {
		keys.Hi = store.After(prefix)
	}
	return keys
}

// walk calls visit with each record of a plan that matches, in the plan's order, until it returns false.
func (l *list) walk(ctx context.Context, tx *store.Tx, p *plan.Plan, visit func(stored) bool) error {
	w := &walker{list: l, ctx: ctx, tx: tx, visit: visit, equal: l.equalities()}
	if p.Distinct {
		w.seen = map[string]bool{}
	}
	for _, id := range p.IDs {
		if err := w.id([]byte(id)); err != nil || w.done {
			return err
		}
	}
	for i, r := range p.Ranges {
		if p.Reverse {
			r = p.Ranges[len(p.Ranges)-1-i]
		}
		keys := l.keys(p, r)
		if p.Index == nil {
			if err := w.records(keys); err != nil || w.done {
				return err
			}
			continue
		}
		var scratch [64]byte
		c := tx.Scan(keys)
		for c.Next() {
			if err := w.id(p.Index.ID(c.Key()[prefixLen:], scratch[:])); err != nil || w.done {
				return err
			}
		}
		if c.Err() != nil {
			return c.Err()
		}
	}
	return nil
}

// walker tests records.
type walker struct {
	*list
	ctx   context.Context
	tx    *store.Tx
	visit func(stored) bool
	equal []equality
	seen  map[string]bool // the ids that were met; nil where none is met twice
	done  bool
	s     stored // the record that is tested; here, so that it is not allocated for each
}

// equality is a condition that a stored record's directory can rule out.
type equality struct {
	name  *name
	value byte // the hash of what the field must be
}

func (l *list) equalities() []equality {
	if l.match == nil {
		return nil
	}
	var all []equality
	for _, e := range l.match.Equalities() {
		all = append(all, equality{&l.match.record.names[e.Slot], hash(e.JSON)})
	}
	return all
}

// id tests the record of an id.
func (w *walker) id(id []byte) error {
	if w.seen != nil {
		if w.seen[string(id)] {
			return nil
		}
		w.seen[string(id)] = true
	}
	var buf [5 + 64]byte
	key := append(binary.BigEndian.AppendUint32(append(buf[:0], byte(store.Records)), w.coll.number), id...)
	value, err := w.tx.Get(key)
	if value == nil || err != nil {
		return err
	}
	_, err = w.test(value)
	return err
}

// usualRecord is how long most records are, in bytes.
const usualRecord = 512

// records tests all records in a range. Checksums are verified only of those that match.
func (w *walker) records(keys store.Range) error {
	keys.Unchecked = w.match != nil
	if len(w.equal) == 0 {
		keys.Reads = usualRecord // else the directory decides, which stands in front
	}
	c := w.tx.Scan(keys)
	for !w.done && c.Next() {
		matched, err := w.test(c.Value())
		if matched && keys.Unchecked {
			err = firstError(c.Verify(), err)
		}
		if err != nil {
			return err
		}
	}
	return c.Err()
}

// test counts a record, and shows it to visit if it matches.
func (w *walker) test(value []byte) (matched bool, err error) {
	w.tested++
	if w.tested > w.r.o.Scan {
		return false, w.needsIndex()
	}
	if w.tested%256 == 0 && w.ctx.Err() != nil {
		return false, w.ctx.Err()
	}
	if w.s, err = openStored(value); err != nil {
		return false, err
	}
	for i := range w.equal {
		if !w.s.mayEqual(w.equal[i].name, w.equal[i].value) {
			return false, nil
		}
	}
	if w.match != nil && !w.match.match(&w.s, nil) {
		if w.budget <= 0 { // a record that takes too much by itself just doesn't match
			return false, errs.New(errs.TooCostly, "the filter or the collection's read rule takes too much work for so many records: make it simpler, or narrow it by an indexed field")
		}
		return false, nil
	}
	w.done = !w.visit(w.s)
	return true, nil
}
