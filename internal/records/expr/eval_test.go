package expr_test

import (
	"errors"
	"strings"
	"testing"

	"croft/internal/records/expr"
)

const document = `{"id":"r1","rev":"1","created":"2026-01-02T03:04:05.678Z","owner":"u1","title":"Milk & \"eggs\"","status":"open",
	"rank":7,"price":2.5,"done":false,"nothing":null,"due":"2026-12-01T00:00:00+01:00","took":"90m","tags":["home","caf\u00e9","a\/b"],
	"address":{"city":"Bern","zip":3011,"in":{"x":1},"\u0061b":2},"items":[{"name":"a","n":1},{"name":"b","n":2}],"empty":[],"text":"","big":9007199254740992,
	"esc":"\u006fpen"}`

func TestEval(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		// Comparisons of fields with literals, the fast ways.
		{`status == "open"`, `true`},
		{`"open" == status`, `true`},
		{`status != "open"`, `false`},
		{`esc == "open" && esc in ["open"] && esc in ["a", 1, "open"]`, `true`},
		{`esc < "opeo" && esc >= "open"`, `true`},
		{`rank == 7 && rank == 7.0 && rank != 8`, `true`},
		{`rank > 6 && rank >= 7.0 && rank < 7.5 && 8 > rank`, `true`},
		{`rank == "7"`, `false`},
		{`rank != "7" && nothing != false && done == false && nothing == null`, `true`},
		{`rank < "8"`, `column 6: a number and a string have no order`},
		{`status < 8`, `column 8: a string and a number have no order`},
		{`nothing < null`, `column 9: null and another have no order`},
		{`done < true`, `true`},
		{`missing == 1`, `column 1: record.missing is missing: test has(record.missing) first`},
		{`missing != 1`, `column 1: record.missing is missing: test has(record.missing) first`},
		{`missing in ["a"]`, `column 1: record.missing is missing: test has(record.missing) first`},
		{`missing < 1`, `column 1: record.missing is missing: test has(record.missing) first`},
		{`!has(missing) || missing != 1`, `true`},
		{`address.city == "Bern" && address["in"].x == 1 && address.ab == 2 && address["zip"] > 3000`, `true`},
		{`address.street == "x"`, `column 1: record.address.street is missing: test has(record.address.street) first`},
		{`status.x == "x"`, `column 1: record.status.x is missing: test has(record.status.x) first`},
		{`status in ["done", "open"]`, `true`},
		{`status in ["done", "closed", 1, null]`, `false`},
		{`rank in [1, 2.0, 7]`, `true`},
		{`nothing in [null] && done in [false] && rank in [7.0, "x"]`, `true`},
		{`status in ["a","b","c","d","e","f","g","h","i","open"]`, `true`},
		{`esc in ["a","b","c","d","e","f","g","h","i","open"]`, `true`},
		{`created == timestamp("2026-01-02T03:04:05.678Z")`, `false`},
		{`timestamp(created) == timestamp("2026-01-02T03:04:05.678Z")`, `true`},

		// Errors and what absorbs them.
		{`missing == 1 && false`, `false`},
		{`missing == 1 || true`, `true`},
		{`missing == 1 || false`, `column 1: record.missing is missing: test has(record.missing) first`},
		{`missing == 1 || lost && false || gone`, `column 1: record.missing is missing: test has(record.missing) first`},
		{`rank && true`, `column 1: expected true or false here, not a number`},
		{`rank && false`, `false`},
		{`!rank`, `column 2: expected true or false here, not a number`},
		{`rank ? 1 : 2`, `column 1: expected true or false here, not a number`},
		{`done ? missing : rank`, `7`},

		// Numbers.
		{`1 + 2 * 3 - 7 / 2 % 4`, `4`},
		{`rank * 2 + 1`, `15`},
		{`price * 2 == 5 && 5 / price == 2 && 5 - price == 2.5`, `true`},
		{`rank % 4`, `3`},
		{`-7 % 4`, `-3`},
		{`price % 2`, `column 7: % works on whole numbers only`},
		{`rank % 0`, `column 6: division by zero`},
		{`1 / 0`, `column 3: division by zero`},
		{`1 % 0`, `column 3: division by zero`},
		{`1.0 / 0 > 1e300`, `true`},
		{`0.0 / 0 == 0.0 / 0`, `false`},
		{`0.0 / 0 < 1 || 0.0 / 0 >= 1`, `false`},
		{`9223372036854775807 + 1`, `column 21: the result is out of range`},
		{`-9223372036854775808 - 1`, `column 22: the result is out of range`},
		{`-(-9223372036854775808)`, `column 1: the result is out of range`},
		{`-9223372036854775808 / -1`, `column 22: the result is out of range`},
		{`9223372036854775807 * 2`, `column 21: the result is out of range`},
		{`big == 9007199254740992 && big < 9007199254740993 && big != 9007199254740993`, `true`},
		{`9223372036854775807 < 9223372036854775808.0`, `true`},
		{`big in [9007199254740993]`, `false`},
		{`9007199254740993 in [9007199254740992.0, 9007199254740993]`, `true`},
		{`-status`, `column 1: a string cannot be negated`},
		{`rank + "1"`, `column 6: "+" does not work on a number and a string`},

		// Strings.
		{`title == "Milk & \"eggs\"" && title.startsWith("Milk") && title.endsWith("\"") && title.contains("& \"")`, `true`},
		{`title.lowerAscii() + "!"`, `"milk & \"eggs\"!"`},
		{`size(title) == 13 && title.size() == 13 && tags[1].size() == 4`, `true`},
		{`title.matches("^M.*s\"$") && !title.matches("^ilk")`, `true`},
		{`rank.startsWith("7")`, `column 6: startsWith does not work on a number`},
		{`status.contains(rank)`, `column 8: contains does not work on a number`},
		{`status[0]`, `column 7: a string has no members`},

		// Lists and objects.
		{`"home" in tags && "café" in tags && "a/b" in tags && !("b" in tags) && !(1 in tags)`, `true`},
		{`"city" in address && "ab" in address && !("town" in address) && !(1 in address)`, `true`},
		{`"x" in status`, `column 5: "in" does not work on a string and a string`},
		{`size(tags) == 3 && size(empty) == 0 && size(address) == 4 && items.size() == 2`, `true`},
		{`size(rank)`, `column 1: size does not work on a number`},
		{`tags[0] == "home" && tags[2.0] == "a/b" && items[1].name == "b" && items[rank - 6].n == 2`, `true`},
		{`tags[3]`, `column 5: there is nothing at this index`},
		{`tags[-1]`, `column 5: there is nothing at this index`},
		{`tags[0.5]`, `column 5: there is nothing at this index`},
		{`tags["x"]`, `column 1: record.tags.x is missing: test has(record.tags.x) first`},
		{`items[0].m`, `column 10: record.items[0].m is missing: test has(record.items[0].m) first`},
		{`address["ci" + "ty"]`, `"Bern"`},
		{`items.exists(i, i.name == "b" && i.n > 1)`, `true`},
		{`items.all(i, i.n > 1)`, `false`},
		{`empty.all(i, i.n > 1) && !empty.exists(i, true)`, `true`},
		{`items.exists(i, i.m == 1)`, `column 19: i.m is missing: test has(i.m) first`},
		{`items.exists(i, i.m == 1 || i.n == 2)`, `true`},
		{`items.all(i, i.n == 1 && i.m != 1)`, `false`},
		{`items.exists(i, i)`, `column 17: expected true or false here, not an object`},
		{`address.exists(k, k == "zip") && address.all(k, size(k) < 5)`, `true`},
		{`rank.exists(x, true)`, `column 6: expected a list to go through, not a number`},
		{`items.all(i, tags.exists(t, t.contains(i.name)))`, `true`},
		{`items.all(i, has(i.name) && !has(i.name2))`, `true`},
		{`[1, 2] == [1.0, 2] && [1] != [1, 2] && tags == ["home", "café", "a/b"] && [] == empty`, `true`},
		{`items[0] == items[0] && items[0] != items[1] && [items[0]] == [items[0]]`, `true`},
		{`(tags + ["x"])[3] == "x" && size(tags + tags) == 6`, `true`},
		{`[[1, 2], [3]].exists(l, 3 in l)`, `true`},

		// has.
		{`has(rank) && has(nothing) && !has(missing) && has(address.city) && !has(address.x) && has(address["in"].x)`, `true`},
		{`has(missing.x)`, `column 5: record.missing is missing: test has(record.missing) first`},
		{`has(rank.x)`, `column 5: a number has no members`},

		// Times.
		{`timestamp(due) > now && timestamp(due) - now == duration("253h30m")`, `true`},
		{`now + duration(took) == timestamp("2026-11-20T11:00:00Z")`, `true`},
		{`duration(took) * 2`, `column 16: "*" does not work on a duration and a number`},
		{`now > created`, `column 5: a timestamp and a string have no order`},
		{`timestamp(status)`, `column 1: timestamp: the text is not written as "2026-11-20T09:30:00Z"`},
		{`timestamp(rank)`, `column 1: timestamp does not work on a number`},
		{`duration(status)`, `column 1: duration: the text is not written as "90s" or "1h30m"`},
		{`timestamp("9999-12-31T23:59:59Z") + duration("1s")`, `column 35: the result is out of range`},
		{`timestamp("9999-12-31T23:59:59Z") - timestamp("0001-01-01T00:00:00Z")`, `column 35: the result is out of range`},
		{`timestamp(now) == now && duration(duration("1s")) == duration("1000ms")`, `true`},

		// The caller.
		{`owner == auth.id && auth.email.endsWith("@example.org") && auth.verified && "admin" in auth.roles`, `true`},
		{`auth.roles`, `["editor","admin"]`},
		{`has(auth.id) && !has(auth.token)`, `true`},
		{`auth.token.scopes`, `column 1: auth.token.scopes is missing: test has(auth.token.scopes) first`},
		{`has(auth.token.scopes)`, `column 5: auth.token is missing: test has(auth.token) first`},
	} {
		e := parse(t, test.text, expr.Filter)
		if got := eval(t, e, document, "", ann); got != test.want {
			t.Errorf("%s\n\t%s\nwant\t%s", test.text, got, test.want)
		}
	}
}

func TestCallers(t *testing.T) {
	for _, test := range []struct {
		text, anonymous, ann, visitor string
	}{
		{`record.owner == auth.id`, `column 17: nobody is signed in, so there is no auth.id: test has(auth.id) first`, `true`, `false`},
		{`record.owner != auth.id`, `column 17: nobody is signed in, so there is no auth.id: test has(auth.id) first`, `false`, `true`},
		{`has(auth.id)`, `false`, `true`, `true`},
		{`!has(auth.id) || record.owner == auth.id`, `true`, `true`, `false`},
		{`"admin" in auth.roles`, `column 12: nobody is signed in, so there is no auth.roles: test has(auth.roles) first`, `true`, `false`},
		{`has(auth.token)`, `false`, `false`, `true`},
		{`has(auth.token) && auth.token.scopes.exists(s, s.collection == "notes" && "read" in s.actions)`, `false`, `false`, `true`},
	} {
		e := parse(t, test.text, expr.Rule)
		for _, caller := range []struct {
			auth *expr.Auth
			want string
		}{{nil, test.anonymous}, {&expr.Auth{}, test.anonymous}, {ann, test.ann}, {visitor, test.visitor}} {
			if got := eval(t, e, document, "", caller.auth); got != caller.want {
				t.Errorf("%s\n\t%s\nwant\t%s", test.text, got, caller.want)
			}
		}
	}
}

func TestBefore(t *testing.T) {
	e := parse(t, `record.owner == before.owner && record.n >= before.n`, expr.RuleUpdate)
	for _, test := range []struct{ record, before, want string }{
		{`{"owner":"a","n":2}`, `{"owner":"a","n":1}`, `true`},
		{`{"owner":"b","n":2}`, `{"owner":"a","n":1}`, `false`},
		{`{"owner":"a","n":2}`, `{"n":1}`, `column 17: before.owner is missing: test has(before.owner) first`},
		{`{"owner":"a","n":2}`, ``, `column 17: before.owner is missing: test has(before.owner) first`},
	} {
		if got := eval(t, e, test.record, test.before, nil); got != test.want {
			t.Errorf("%s, %s: %s, want %s", test.record, test.before, got, test.want)
		}
	}
}

func TestBudget(t *testing.T) {
	list := `[` + strings.Repeat(`1,`, 5000) + `1]`
	long := `"` + strings.Repeat("a", 200_000) + `"`
	for _, text := range []string{
		`l.all(x, l.all(y, l.all(z, x + y + z > 0)))`,
		`l.all(x, l[5000] == 1)`,
		`l.all(x, size(l) > x)`,
		`l.all(x, l == l)`,
		`l.all(x, l + l != l)`,
		`l.all(x, !(2 in l))`,
		`l.all(x, !s.matches("(a|b)*c"))`,
		`l.all(x, !s.contains("ab"))`,
		`l.all(x, s == t && s >= t)`,
		`l.all(x, s + s != t)`,
		`l.all(x, o.x == 1)`,
		`l.all(x, has(o.x))`,
		`l.all(x, s.lowerAscii() == t)`,
		`l.exists(x, l.exists(y, l.exists(z, x + y + z < 0))) || true`,
	} {
		e := parse(t, text, expr.Filter)
		record := `{"l":` + list + `,"s":` + long + `,"t":` + long + `,"o":{"a":` + list + `,"x":1}}`
		if got := eval(t, e, record, "", nil); got != expr.ErrBudget.Error() {
			t.Errorf("%s: %s, want %v", text, got, expr.ErrBudget)
		}
	}
}

func TestSharedBudget(t *testing.T) {
	p := expr.Compile(parse(t, `a == 1`, expr.Filter))
	budget := int64(1000)
	p.Budget = &budget
	env := environment(t, p, `{"a":1}`, "", nil)
	matched := 0
	for p.Match(env) {
		if matched++; matched > 1000 {
			t.Fatal("the budget has no end")
		}
	}
	if !errors.Is(p.Err(), expr.ErrBudget) || matched < 100 {
		t.Errorf("%v after %d evaluations", p.Err(), matched)
	}
	if _, err := p.Eval(env); !errors.Is(err, expr.ErrBudget) {
		t.Errorf("Eval: %v", err)
	}
	budget = 1000
	if !p.Match(env) || p.Err() != nil {
		t.Errorf("with a new budget: %v", p.Err())
	}
}

func TestEqualities(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`status == "open" && rank > 3 && "x" == owner`, `status="open" owner="x"`},
		{`a == 1 && b == 2.0 && c == null && d == true && e == -3`, `a=1 b=2 c=null d=true e=-3`},
		{`a == 0 && b == 0.5 && c == "a\nb" && d.x == 1 && e != 1 && f == 9007199254740993 && g == 1e21`, ``},
		{`a == "é\"\\/"`, `a="é\"\\/"`},
		{`a == 1 || b == 1`, ``},
		{`a == b`, ``},
		{`a == 1`, `a=1`},
	} {
		p := expr.Compile(parse(t, test.text, expr.Filter))
		var got []string
		for _, q := range p.Equalities() {
			got = append(got, p.Fields()[q.Slot]+"="+string(q.JSON))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s, want %s", test.text, strings.Join(got, " "), test.want)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, test := range []struct {
		text string
		auth *expr.Auth
		want string
	}{
		{`record.owner == auth.id && record.rank > 3`, ann, ``},
		{`has(auth.id) && record.rank > 10 && record.x == 1`, ann, `record.rank > 10 is false`},
		{`record.owner == auth.id`, nil, `record.owner == auth.id: nobody is signed in, so there is no auth.id: test has(auth.id) first`},
		{`record.done || "boss" in auth.roles || record.missing`, ann,
			`record.done is false; "boss" in auth.roles is false; record.missing: record.missing is missing: test has(record.missing) first`},
		{`record.rank`, ann, `record.rank: expected true or false, not a number`},
	} {
		holds, because := expr.Explain(parse(t, test.text, expr.Rule), compact(t, document), nil, test.auth, now)
		if holds != (test.want == "") || because != test.want {
			t.Errorf("%s: %v, %s; want %s", test.text, holds, because, test.want)
		}
	}
}
