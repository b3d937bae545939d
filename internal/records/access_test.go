package records_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/records"
)

var update = flag.Bool("update", false, "write the golden files anew")

// accessCallers are who asks. Ada owns the records. Those for whom the answers are certain are not in access.golden.
var accessCallers = []struct {
	name    string
	certain bool
	*identity.Caller
}{
	{"anonymous", false, nobody},
	{"owner", false, ada},
	{"other", false, &identity.Caller{Kind: identity.User, ID: "u-hopper", Email: "hopper@example.com"}},
	{"editor", false, grace},
	{"token", false, token(ada, "*", identity.Actions...)},
	{"readonly", true, token(ada, "notes", identity.Read)},
	{"elsewhere", true, token(ada, "others", identity.Actions...)},
	{"admintoken", true, token(admin, "notes", identity.Read, identity.Update)},
	{"admin", true, admin},
	{"local", true, operator},
}

func token(c *identity.Caller, collection string, actions ...string) *identity.Caller {
	by := *c
	by.Token = &identity.Token{ID: "t", Scopes: []identity.Scope{{Collection: collection, Actions: actions}}}
	return &by
}

// shapes are the rules of access.golden; those with before work in updates and deletes only.
var shapes = []struct{ name, rule string }{
	{"null", ""},
	{"everyone", "true"},
	{"signed in", "has(auth.id)"},
	{"the owner", "record.owner == auth.id"},
	{"a role", `"editor" in auth.roles`},
	{"a role, safely", `has(auth.roles) && "editor" in auth.roles`},
	{"a member", "auth.id in record.members"},
	{"public or the owner", "record.public || record.owner == auth.id"},
	{"always an error", `1 < "a"`},
	{"an error by the record", "record.title > 1"},
	{"a missing field", "record.missing == auth.id"},
	{"a missing field, not equal", "record.missing != auth.id"},
	{"a null field", "record.nothing == auth.id"},
	{"a null field, not equal", "record.nothing != auth.id"},
	{"null is null", "record.nothing == null"},
	{"not the stranger", `auth.id != "u-hopper"`},
	{"no bool", "record.title"},
	{"verified", "auth.verified"},
	{"a token's scopes", `has(auth.token) && auth.token.scopes.exists(s, s.collection == "*")`},
	{"past", `now < timestamp("2000-01-01T00:00:00Z")`},
	{"the former owner", "before.owner == auth.id"},
	{"unchanged", "before.title == record.title"},
}

const accessRecord = `{"title":"t","members":["u-hopper"],"nothing":null,"owner":"u-ada"}`

// TestAccess asks everything as everybody under each shape of rule, and compares with access.golden: where the shape is the
// rule of the action itself and all may read, and where it is the read rule and all may do the rest.
func TestAccess(t *testing.T) {
	t.Parallel()
	k := newKit(t, records.Options{CallerByID: callerByID})
	var b strings.Builder
	fmt.Fprintln(&b, "What each caller gets for each request, under each shape of rule. ok: allowed; list: how many of the\none record; taken: a create of its id; blind: created, and the answer holds only id and rev. token is the owner's, for everything.")
	for _, shape := range shapes {
		for _, block := range []string{"action", "read"} {
			if block == "read" && strings.Contains(shape.rule, "before") {
				continue
			}
			a := &accessTable{kit: k, shape: shape.rule, reading: block == "read"}
			text := shape.rule
			if text == "" {
				text = "null"
			}
			if a.reading {
				fmt.Fprintf(&b, "\n%s: read %s, all else true\n", shape.name, text)
			} else {
				fmt.Fprintf(&b, "\n%s: %s, read true\n", shape.name, text)
			}
			a.write(&b)
			if a.id != "" {
				t.Fatal("the last request left the record: an admin's delete should not have")
			}
		}
	}
	golden(t, "access.golden", regexp.MustCompile(` +\n`).ReplaceAllString(b.String(), "\n"))
}

// golden compares with a file in testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", name, diff)
	}
}

func callerByID(_ context.Context, id string) (*identity.Caller, error) {
	for _, c := range accessCallers {
		if c.ID == id && c.Token == nil && c.Kind == identity.User {
			return c.Caller, nil
		}
	}
	return nil, errs.New(errs.NotFound, "no such user")
}

// accessTable is one shape of rule.
type accessTable struct {
	*kit
	shape   string
	reading bool   // it is the read rule
	n       int    // of ids that were used
	id      string // of the one record that there is, "" if it was deleted
}

// rules defines the collection with the shape as the rule of what the request needs.
func (a *accessTable) rules(action string) {
	access := object{}
	for _, each := range identity.Actions {
		access[each] = "true"
	}
	ruled := action
	if a.reading {
		ruled = identity.Read
	}
	access[ruled] = a.shape
	if a.shape == "" {
		access[ruled] = nil
	}
	a.define("notes", string(rawOf(object{"access": access})))
}

func (a *accessTable) write(b *strings.Builder) {
	cells := map[string][]string{} // by caller, in the order of requests
	fmt.Fprintf(b, "%-10s", "")
	for _, request := range accessRequests {
		if strings.Contains(a.shape, "before") && (request.action == identity.Read || request.action == identity.Create) {
			continue
		}
		fmt.Fprintf(b, " %-8s", request.name)
		a.rules(request.action)
		for i, cell := range a.column(request) {
			name := accessCallers[i].name
			cells[name] = append(cells[name], cell)
			a.certain(name, request, cell)
		}
	}
	fmt.Fprintln(b)
	for _, c := range accessCallers {
		if c.certain {
			continue
		}
		fmt.Fprintf(b, "%-10s", c.name)
		for _, cell := range cells[c.name] {
			fmt.Fprintf(b, " %-8s", cell)
		}
		fmt.Fprintln(b)
	}
}

// column does a request as each caller.
func (a *accessTable) column(request accessRequest) (cells []string) {
	for _, c := range accessCallers {
		if a.id == "" {
			a.n++
			a.id = fmt.Sprintf("r%d", a.n)
			a.create(admin, "notes", `{"id":"`+a.id+`",`+accessRecord[1:])
		}
		cell, err := request.do(a, c.Caller, a.id)
		if err != nil {
			cell = status(err)
		}
		cells = append(cells, cell)
		if c.Token == nil && c.Kind != identity.Local {
			a.tried(request.action, c.Caller, a.id, cell)
		}
		if request.action == identity.Delete && err == nil {
			a.id = ""
		}
	}
	return cells
}

// certain holds the callers for whom no rule makes a difference to what they must get.
func (a *accessTable) certain(caller string, request accessRequest, cell string) {
	want := map[string]string{identity.Read: "ok", identity.Create: "ok", identity.Update: "ok", identity.Delete: "ok"}[request.action]
	switch {
	case request.name == "list":
		want = "1"
	case request.name == "taken":
		want = "409"
	}
	switch caller {
	case "elsewhere":
		want = "403"
	case "admintoken":
		if request.name == "put new" { // may update, so it learns that there is nothing to update
			want = "404"
		} else if request.action == identity.Create || request.action == identity.Delete {
			want = "403"
		}
	case "readonly":
		if request.action == identity.Read {
			return
		}
		want = "403"
	case "admin", "local":
	default:
		return
	}
	if cell != want {
		a.Errorf("%s as %s, read %v, rule %s: %s, want %s", request.name, caller, a.reading, a.shape, cell, want)
	}
}

// tried asks Try the same, which must give the answer that the request got.
func (a *accessTable) tried(action string, c *identity.Caller, id, cell string) {
	if action == identity.Delete && cell == "ok" {
		return // it is gone
	}
	var as any
	if c.ID != "" {
		as = c.ID
	}
	record := object{"id": id}
	if action == identity.Create {
		record = objectOf([]byte(accessRecord))
		record["owner"] = as
	}
	raw, tryErr := a.Try(context.Background(), admin, "notes", rawOf(object{"as": as, "action": action, "record": record}))
	var answer struct {
		Allowed bool
		Because string
	}
	if tryErr == nil {
		tryErr = json.Unmarshal(raw, &answer)
	}
	if tryErr != nil || answer.Because == "" || answer.Allowed != (cell == "ok" || cell == "blind" || cell == "1") && cell != "409" {
		a.Errorf("try %s as %q, read %v, rule %s: %s %v; the request got %s", action, c.ID, a.reading, a.shape, raw, tryErr, cell)
	}
}

// status is the HTTP status of the errors that access is about.
func status(err error) string {
	switch c := code(err); c {
	case errs.Unauthenticated:
		return "401"
	case errs.Forbidden:
		return "403"
	case errs.NotFound:
		return "404"
	case errs.IDTaken:
		return "409"
	default:
		return string(c)
	}
}

type accessRequest struct {
	name, action string
	do           func(a *accessTable, c *identity.Caller, id string) (string, error)
}

var accessRequests = []accessRequest{
	{"get", identity.Read, func(a *accessTable, c *identity.Caller, id string) (string, error) {
		_, err := a.Get(context.Background(), c, "notes", id, "", records.Condition{}, nil)
		return "ok", err
	}},
	{"list", identity.Read, func(a *accessTable, c *identity.Caller, id string) (string, error) {
		p, err := a.tryList(c, "notes", records.Query{Count: true})
		if err != nil {
			return "", err
		}
		if len(p.Items) != *p.Count {
			a.Errorf("%d items, count %d", len(p.Items), *p.Count)
		}
		return fmt.Sprint(len(p.Items)), nil
	}},
	{"create", identity.Create, func(a *accessTable, c *identity.Caller, _ string) (string, error) {
		a.n++
		doc, err := a.Create(context.Background(), c, "notes", fmt.Appendf(nil, `{"id":"n%d","title":"t","members":["u-hopper"],"nothing":null}`, a.n))
		return a.made(c, doc, err)
	}},
	{"taken", identity.Create, func(a *accessTable, c *identity.Caller, id string) (string, error) {
		_, err := a.Create(context.Background(), c, "notes", fmt.Appendf(nil, `{"id":%q,"title":"t","members":["u-hopper"],"nothing":null}`, id))
		return "ok", err
	}},
	{"put new", identity.Create, func(a *accessTable, c *identity.Caller, _ string) (string, error) {
		a.n++
		doc, _, err := a.Put(context.Background(), c, "notes", fmt.Sprintf("n%d", a.n), []byte(`{"title":"t","members":["u-hopper"],"nothing":null}`), records.Condition{})
		return a.made(c, doc, err)
	}},
	{"put", identity.Update, func(a *accessTable, c *identity.Caller, id string) (string, error) {
		_, _, err := a.Put(context.Background(), c, "notes", id, []byte(`{"title":"t","members":["u-hopper"],"nothing":null}`), records.Condition{})
		return "ok", err
	}},
	{"patch", identity.Update, func(a *accessTable, c *identity.Caller, id string) (string, error) {
		_, err := a.Patch(context.Background(), c, "notes", id, []byte(`{}`), records.Condition{})
		return "ok", err
	}},
	{"delete", identity.Delete, func(a *accessTable, c *identity.Caller, id string) (string, error) {
		return "ok", a.Delete(context.Background(), c, "notes", id, records.Condition{})
	}},
}

// made looks at the answer to a create, and removes the record again: who may not read it gets its id and rev alone.
func (a *accessTable) made(c *identity.Caller, doc records.Document, err error) (string, error) {
	if err != nil {
		return "", err
	}
	cell := "ok"
	_, unreadable := a.Get(context.Background(), c, "notes", doc.ID, "", records.Condition{}, nil)
	if unreadable != nil {
		cell = "blind"
		if want := fmt.Sprintf(`{"id":%q,"rev":%q}`, doc.ID, doc.Rev); string(doc.JSON) != want {
			a.Errorf("the answer to who may not read it is %s, want %s", doc.JSON, want)
		}
	} else if !strings.Contains(string(doc.JSON), `"title":"t"`) {
		a.Errorf("the answer to who may read it is %s", doc.JSON)
	}
	return cell, a.Delete(context.Background(), admin, "notes", doc.ID, records.Condition{})
}
