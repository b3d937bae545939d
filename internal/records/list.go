package records

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records/expr"
	"croft/internal/records/index"
	"croft/internal/records/plan"
	"croft/internal/store"
)

// Query is what a list is asked for.
type Query struct {
	Filter  string   // an expression; "" is all
	Sort    []string // fields, with a - in front for descending; nil is newest first
	Limit   int      // of a page; 0 is DefaultLimit
	Cursor  string   // next or prev of another page; "" begins
	Fields  []string // of each record; nil is all
	Count   bool     // count all that match
	Explain bool     // tell the plan
}

// The sizes of a page.
const (
	DefaultLimit = 30
	MaxLimit     = 500
)

// queryBudget is the most work that the filter and the rule may take in one query, in steps of expr.MaxSteps' kind: some
// seconds. A plain filter takes some ten steps a record, so limits.scan comes first.
const queryBudget = 50_000_000

// list is one query while it is answered.
type list struct {
	r    *Records
	coll *collection
	c    *identity.Caller
	q    Query

	grant  grant
	sort   plan.Order  // total; of the whole list, whichever way this page is read
	values []field     // of the sort, but for the id at its end
	only   *projection // nil takes all fields
	filter *expr.Expr  // bound; nil if there is none
	match  *program    // the filter and the read rule; nil lets all pass
	from   *position   // nil begins
	plan   *plan.Plan
	tested int
	budget int64
}

// List appends the answer to a query to dst:
// {"items":[…],"next":"…"|null,"prev":"…"|null} and, when asked for, "count" and "plan".
func (r *Records) List(ctx context.Context, c *identity.Caller, collection string, q Query, dst []byte) ([]byte, error) {
	coll, err := r.find(collection)
	if err != nil {
		return dst, err
	}
	l := &list{r: r, coll: coll, c: c, q: q, budget: queryBudget}
	if q.Explain && !c.IsAdmin() {
		// A plan shows what the read rule asks of the caller, hidden fields included.
		return dst, errs.At(errs.Forbidden, "/explain", "forbidden", "only admins may have a list explained")
	}
	err = r.db.View(func(tx *store.Tx) error {
		if l.coll, err = r.seen(tx, coll); err != nil {
			return err
		}
		if err := l.read(); err != nil {
			return err
		}
		dst, err = l.answer(ctx, tx, dst)
		return err
	})
	return dst, err
}

// read takes the query apart and plans it.
func (l *list) read() error {
	l.grant = grant{coll: l.coll, caller: l.c, now: l.r.o.Now()}
	if err := l.grant.ever(identity.Read); err != nil {
		return err
	}
	switch {
	case l.q.Limit == 0:
		l.q.Limit = DefaultLimit
	case l.q.Limit < 0 || l.q.Limit > MaxLimit:
		return errs.At(errs.Invalid, "/limit", "out_of_range", fmt.Sprintf("limit is from 1 to %d", MaxLimit))
	}
	if err := l.readSort(); err != nil {
		return err
	}
	if l.q.Fields != nil {
		var err error
		if l.only, err = l.coll.projection(l.c, l.q.Fields); err != nil {
			return err
		}
	}
	var err error
	if l.filter, err = l.readFilter(); err != nil {
		return err
	}
	if l.q.Cursor != "" {
		if l.from, err = l.parseCursor(l.q.Cursor); err != nil {
			return err
		}
	}
	all := l.filter
	if r := l.coll.access[identity.Read]; !l.c.IsAdmin() && !r.always {
		all = expr.Both(all, expr.Bind(r.expr, l.grant.bound(), l.grant.now))
	}
	if all != nil && all.AlwaysTrue() {
		all = nil
	}
	if all != nil {
		l.match = newProgram(all)
		l.match.env.Auth, l.match.env.Now = l.grant.bound(), l.grant.now
		l.match.Budget = &l.budget
	}
	sort := l.sort
	if l.from != nil && l.from.backward {
		sort = sort.Flip()
	}
	l.plan = plan.Make(plan.Input{Filter: all, Sort: sort, Indexes: l.coll.ready, Count: l.q.Count})
	return nil
}

// readFilter parses the filter and holds it to what the caller may ask about.
func (l *list) readFilter() (*expr.Expr, error) {
	if strings.TrimSpace(l.q.Filter) == "" {
		return nil, nil
	}
	e, err := expr.Parse(l.q.Filter, expr.Filter)
	if err != nil {
		return nil, errs.At(errs.Invalid, "/filter", "bad_expression", err.Error())
	}
	if len(l.coll.hidden) > 0 && !l.c.IsAdmin() {
		for _, use := range e.Fields() {
			if l.coll.hidesFrom(l.c, use.Path[0]) {
				return nil, fieldNotAllowed("/filter", use.Path[0])
			}
		}
	}
	for _, p := range expr.Check(e, l.coll.shape) {
		if !p.Warning || p.Fails {
			return nil, errs.At(errs.Invalid, "/filter", "bad_expression", p.Error.Error())
		}
	}
	return expr.Bind(e, l.grant.bound(), l.grant.now), nil
}

// readSort reads the fields of the sort. Without any, the newest come first: new ids sort by time.
func (l *list) readSort() error {
	if len(l.q.Sort) > index.MaxFields {
		return errs.At(errs.Invalid, "/sort", "too_many", fmt.Sprintf("at most %d fields can be sorted by", index.MaxFields))
	}
	seen := map[string]bool{}
	for _, s := range l.q.Sort {
		field, desc := strings.CutPrefix(s, "-")
		path, err := l.coll.visiblePath(l.c, field, "/sort")
		if err != nil {
			return err
		}
		if seen[field] {
			return errs.At(errs.Invalid, "/sort", "duplicate", field+" stands in sort twice")
		}
		seen[field] = true
		if !l.coll.sortable(path) {
			return errs.At(errs.Invalid, "/sort", "not_sortable", field+" holds arrays or objects by its schema, which have no order")
		}
		l.sort = append(l.sort, index.Field{Path: path, Desc: desc})
	}
	l.sort = l.sort.Total()
	for _, f := range l.sort[:len(l.sort)-1] {
		l.values = append(l.values, fieldOf(f.Path))
	}
	return nil
}

// sortable reports whether the schema lets a field hold something that has an order.
func (coll *collection) sortable(path []string) bool {
	shape := coll.shape
	for _, name := range path {
		if shape == nil {
			return true
		}
		shape = shape.Properties[name]
	}
	return shape == nil || shape.Types == 0 || shape.Types&^(expr.Lists|expr.Maps) != 0
}

// answer appends the answer. The page is made whole here, within the transaction, and sent after it.
func (l *list) answer(ctx context.Context, tx *store.Tx, dst []byte) ([]byte, error) {
	var count uint64
	var err error
	if l.q.Count {
		if count, err = l.count(ctx, tx); err != nil {
			return dst, err
		}
	}
	page, err := l.page(ctx, tx)
	if err != nil {
		return dst, err
	}
	dst = append(dst, `{"items":[`...)
	for i := range page.rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		if l.only != nil {
			dst = l.only.append(dst, &page.rows[i])
		} else {
			dst = l.coll.appendVisible(dst, l.c, &page.rows[i])
		}
	}
	dst = append(dst, `],"next":`...)
	dst = l.appendLink(dst, page.next)
	dst = append(dst, `,"prev":`...)
	dst = l.appendLink(dst, page.prev)
	if l.q.Count {
		dst = strconv.AppendUint(append(dst, `,"count":`...), count, 10)
	}
	if l.q.Explain {
		told, err := encode(l.plan.Explain())
		if err != nil {
			return dst, err
		}
		dst = append(append(dst, `,"plan":`...), told...)
	}
	return append(dst, '}'), nil
}

func (l *list) appendLink(dst []byte, p *position) []byte {
	if p == nil {
		return append(dst, "null"...)
	}
	return l.appendCursor(dst, p)
}

// needsIndex is the error of a query that would test too many records. Of the read rule it tells nothing: the index is that of
// the filter.
func (l *list) needsIndex() error {
	e := errs.New(errs.NeedsIndex, fmt.Sprintf(
		"this list would test more than %d records: narrow its filter, or have an admin define the index that serves it", l.r.o.Scan))
	if fields := plan.Needs(plan.Input{Filter: l.filter, Sort: l.sort}); len(fields) > 0 {
		e.Members = map[string]any{"index": map[string]any{"fields": fields}}
	}
	return e
}
