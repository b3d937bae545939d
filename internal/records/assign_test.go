package records_test

import (
	"context"
	"testing"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records"
)

// TestMassAssignment sends system fields along with every method, as every kind of caller: Croft's own are refused from all,
// another owner from all but admins.
func TestMassAssignment(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{})
	ctx := context.Background()
	k.define("notes", open)
	for _, c := range []*identity.Caller{nobody, ada, token(ada, "*", identity.Actions...), admin, operator} {
		for _, test := range []struct {
			fields  string
			pointer string // of what is refused; "" if nothing is
			others  bool   // refused only from those who are no admins
		}{
			{`"rev":"000000000001"`, "/rev", false},
			{`"rev":null`, "/rev", false},
			{`"created":"2020-01-01T00:00:00.000Z"`, "/created", false},
			{`"updated":"2020-01-01T00:00:00.000Z"`, "/updated", false},
			{`"\u0072ev":"000000000001"`, "/rev", false},
			{`"owner":"u-grace"`, "/owner", true},
			{`"\u006fwner":"u-grace"`, "/owner", true},
			{`"owner":"u-admin"`, "/owner", true},
			{`"owner":["u-grace"]`, "/owner", false},
			{`"owner":{}`, "/owner", false},
			{`"Owner":"u-grace","OWNER":"u-grace"`, "", false}, // just fields
			{`"x":{"owner":"u-grace","rev":"1","id":"y"}`, "", false},
		} {
			doc := k.create(admin, "notes", `{"owner":"u-ada","x":1}`)
			refused := test.pointer != "" && (!test.others || !c.IsAdmin())
			hold := func(what string, err error) {
				t.Helper()
				f := fields(err)
				switch {
				case refused && (code(err) != errs.Invalid || len(f) != 1 || f[0].Pointer != test.pointer):
					t.Errorf("%s of %s by %q: %v %+v, want a fault at %s", what, test.fields, c.ID, err, f, test.pointer)
				case !refused && err != nil:
					t.Errorf("%s of %s by %q: %v", what, test.fields, c.ID, err)
				}
			}
			_, err := k.Create(ctx, c, "notes", []byte(`{`+test.fields+`}`))
			hold("create", err)
			_, _, err = k.Put(ctx, c, "notes", "new-"+doc.ID, []byte(`{`+test.fields+`}`), records.Condition{})
			hold("put of a new one", err)
			_, err = k.Patch(ctx, c, "notes", doc.ID, []byte(`{`+test.fields+`}`), records.Condition{})
			hold("patch", err)
			_, _, err = k.Put(ctx, c, "notes", doc.ID, []byte(`{`+test.fields+`}`), records.Condition{})
			hold("put", err)
			now, err := k.Get(ctx, admin, "notes", doc.ID, "", records.Condition{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if refused && string(now.JSON) != string(doc.JSON) {
				t.Errorf("%s by %q was refused and left %s of %s", test.fields, c.ID, now.JSON, doc.JSON)
			}
			if o := objectOf(now.JSON); o["created"] != objectOf(doc.JSON)["created"] || !c.IsAdmin() && o["owner"] != "u-ada" {
				t.Errorf("%s by %q made %s of %s", test.fields, c.ID, now.JSON, doc.JSON)
			}
		}
	}
	// Nobody takes a record over, and nobody makes one in another's name; one's own name may be said.
	for _, test := range []struct {
		c     *identity.Caller
		owner string
		want  errs.Code
	}{
		{ada, `"u-ada"`, ""}, {nobody, `""`, errs.Invalid}, {nobody, `"u-ada"`, errs.Invalid}, {ada, `null`, errs.Invalid},
		{admin, `null`, ""}, {admin, `"u-ada"`, ""}, {operator, `"u-ada"`, ""},
	} {
		if _, err := k.Create(ctx, test.c, "notes", []byte(`{"owner":`+test.owner+`}`)); code(err) != test.want {
			t.Errorf("create with the owner %s by %q: %v", test.owner, test.c.ID, err)
		}
	}
}

// TestOwners tells who owns what each kind of caller creates.
func TestOwners(t *testing.T) {
	k := newKit(t, records.Options{})
	k.define("notes", open)
	for _, test := range []struct {
		c     *identity.Caller
		owner any
	}{{nobody, nil}, {ada, "u-ada"}, {token(ada, "*", identity.Actions...), "u-ada"}, {admin, "u-admin"}, {operator, nil}} {
		doc := k.create(test.c, "notes", `{}`)
		if got := objectOf(doc.JSON)["owner"]; got != test.owner {
			t.Errorf("what %q creates belongs to %v, want %v", test.c.ID, got, test.owner)
		}
		// A change by another leaves it so.
		changed, err := k.Patch(context.Background(), grace, "notes", doc.ID, []byte(`{"x":1}`), records.Condition{})
		if err != nil || objectOf(changed.JSON)["owner"] != test.owner {
			t.Errorf("after another's change it is %s, %v", changed.JSON, err)
		}
	}
}
