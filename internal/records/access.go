package records

import (
	"sync"
	"time"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records/expr"
	"croft/internal/records/rawjson"
)

// rule is an access rule or the expression of a check.
type rule struct {
	expr     *expr.Expr
	always   bool      // it is just "true"
	programs sync.Pool // of *program
}

func newRule(e *expr.Expr) *rule {
	return &rule{expr: e, always: e.AlwaysTrue()}
}

// program is an expression ready to run over stored records. It belongs to one goroutine at a time.
type program struct {
	*expr.Program
	record, before source
	env            expr.Env
}

// source gives an expression the fields of a stored record.
type source struct {
	names []name // by slot
	of    *stored
}

// Field implements expr.Source.
func (s *source) Field(slot int) []byte { return s.of.field(&s.names[slot]) }

func newProgram(e *expr.Expr) *program {
	p := &program{Program: expr.Compile(e)}
	names := make([]name, len(p.Fields()))
	for i, field := range p.Fields() {
		names[i] = nameOf(field)
	}
	p.record.names, p.before.names = names, names
	p.env.Record = &p.record
	return p
}

// match reports whether the expression holds. before may be nil.
func (p *program) match(record, before *stored) bool {
	p.record.of, p.before.of = record, before
	if before != nil {
		p.env.Before = &p.before
	}
	return p.Match(&p.env)
}

// holds runs a rule.
func (r *rule) holds(g *grant, record, before *stored) bool {
	if r.always {
		return true
	}
	p, _ := r.programs.Get().(*program)
	if p == nil {
		p = newProgram(r.expr)
	}
	p.env.Auth, p.env.Now = g.bound(), g.now
	ok := p.match(record, before)
	p.record.of, p.before.of, p.env.Auth, p.env.Before = nil, nil, nil, nil
	r.programs.Put(p)
	return ok
}

// grant answers what a caller may do in a collection.
type grant struct {
	coll   *collection
	caller *identity.Caller
	now    time.Time
	auth   *expr.Auth // made when a rule asks
}

func (coll *collection) grant(c *identity.Caller, now time.Time) *grant {
	return &grant{coll: coll, caller: c, now: now}
}

// bound is what expressions see of the caller.
func (g *grant) bound() *expr.Auth {
	if g.auth == nil {
		g.auth = authOf(g.caller)
	}
	return g.auth
}

func authOf(c *identity.Caller) *expr.Auth {
	a := &expr.Auth{SignedIn: c.Kind == identity.User, ID: c.ID, Email: c.Email, Roles: c.Roles, Verified: c.Verified}
	if c.Token == nil {
		return a
	}
	b := []byte(`{"scopes":[`)
	for i, s := range c.Token.Scopes {
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(append(b, `{"collection":`...), s.Collection)
		b = append(b, `,"actions":[`...)
		for j, action := range s.Actions {
			if j > 0 {
				b = append(b, ',')
			}
			b = rawjson.AppendString(b, action)
		}
		b = append(b, `]}`...)
	}
	a.Token = append(b, `]}`...)
	return a
}

// ever refuses an action that the caller can never do here, whatever the record.
func (g *grant) ever(action string) error {
	if !g.caller.InScope(g.coll.name, action) {
		return errs.New(errs.Forbidden, "this API token has no scope to "+action+" in "+g.coll.name)
	}
	if g.caller.IsAdmin() {
		return nil
	}
	r := g.coll.access[action]
	if r != nil && (r.always || !expr.Bind(r.expr, g.bound(), g.now).AlwaysFalse()) {
		return nil
	}
	return g.denied(action)
}

// everAny refuses a request that may turn out to be either of two actions if the caller can do neither.
func (g *grant) everAny(a, b string) error {
	if err := g.ever(a); err == nil {
		return nil
	}
	return g.ever(b)
}

// allow refuses an action that the rule does not give the caller.
func (g *grant) allow(action string, record, before *stored) error {
	if g.caller.IsAdmin() {
		return nil
	}
	if r := g.coll.access[action]; r != nil && r.holds(g, record, before) {
		return nil
	}
	return g.denied(action)
}

// reads reports whether the read rule gives the caller a record. Scopes are asked apart, by ever.
func (g *grant) reads(record *stored) bool {
	return g.allow(identity.Read, record, nil) == nil
}

func (g *grant) denied(action string) error {
	if g.caller.SignedIn() {
		return errs.New(errs.Forbidden, "you may not "+action+" this in "+g.coll.name)
	}
	return errs.New(errs.Unauthenticated, "sign in to "+action+" in "+g.coll.name)
}
