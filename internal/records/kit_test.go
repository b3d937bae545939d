package records_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records"
	"croft/internal/store"
	"croft/internal/store/storetest"
)

var (
	admin  = &identity.Caller{Kind: identity.User, ID: "u-admin", Email: "ada@example.com", Roles: []string{identity.Admin}}
	ada    = &identity.Caller{Kind: identity.User, ID: "u-ada", Email: "ada2@example.com"}
	grace  = &identity.Caller{Kind: identity.User, ID: "u-grace", Email: "grace@example.com", Roles: []string{"editor"}}
	nobody = &identity.Caller{}
)

// kit is a Records on a file of its own, and what tests do with it.
type kit struct {
	testing.TB
	*records.Records
	db *store.DB
}

func newKit(t testing.TB, o records.Options) *kit {
	t.Helper()
	k := &kit{TB: t, db: storetest.New(t)}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if k.Records, err = records.New(k.db, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Records.Check(context.Background()); err != nil {
			t.Errorf("check: %v", err)
		}
		if err := k.Records.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// define defines a collection, and fails the test if it is refused.
func (k *kit) define(name, body string) {
	k.Helper()
	if _, err := k.Define(context.Background(), admin, name, []byte(body), records.DefineOptions{}); err != nil {
		k.Fatalf("define %s: %v%v", name, err, fields(err))
	}
}

func (k *kit) create(c *identity.Caller, collection, body string) records.Document {
	k.Helper()
	doc, err := k.Create(context.Background(), c, collection, []byte(body))
	if err != nil {
		k.Fatalf("create %s: %v%v", body, err, fields(err))
	}
	return doc
}

// createAll creates many records as an admin, at once so that they share commits.
func (k *kit) createAll(collection string, bodies ...string) {
	k.Helper()
	const clients = 64
	failed := make([]error, clients)
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for i := client; i < len(bodies) && failed[client] == nil; i += clients {
				_, failed[client] = k.Create(context.Background(), admin, collection, []byte(bodies[i]))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		k.Fatal(err)
	}
}

// page is the answer of a list.
type page struct {
	Items []map[string]any
	Next  *string
	Prev  *string
	Count *int
	Plan  map[string]any
}

func (p *page) ids() []string {
	ids := []string{}
	for _, item := range p.Items {
		ids = append(ids, item["id"].(string))
	}
	return ids
}

func (k *kit) list(c *identity.Caller, collection string, q records.Query) *page {
	k.Helper()
	p, err := k.tryList(c, collection, q)
	if err != nil {
		k.Fatalf("list %s %+v: %v%v", collection, q, err, fields(err))
	}
	return p
}

func (k *kit) tryList(c *identity.Caller, collection string, q records.Query) (*page, error) {
	b, err := k.List(context.Background(), c, collection, q, nil)
	if err != nil {
		return nil, err
	}
	p := &page{}
	if err := json.Unmarshal(b, p); err != nil {
		k.Fatalf("a list's answer is not JSON: %v\n%s", err, b)
	}
	return p, nil
}

// code is the code of an error, "" for none.
func code(err error) errs.Code {
	var e *errs.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return errs.Code(err.Error())
	}
	return ""
}

func fields(err error) []errs.Field {
	var e *errs.Error
	if errors.As(err, &e) {
		return e.Fields
	}
	return nil
}
