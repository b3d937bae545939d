package expr_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"croft/internal/records/expr"
)

func TestParseErrors(t *testing.T) {
	for _, test := range []struct {
		text string
		mode expr.Mode
		want string
	}{
		{``, expr.Filter, `expected a value or a name but found end of text`},
		{`  `, expr.Filter, `column 3: expected a value or a name but found end of text`},
		{`(a == 1`, expr.Filter, `column 8: expected ")" but found end of text`},
		{`a == `, expr.Filter, `column 6: expected a value or a name but found end of text`},
		{`a == 1 b`, expr.Filter, `column 8: expected an operator or the end of the expression but found "b"`},
		{`a == 1 and b == 2`, expr.Filter, `column 8: found "and": write "&&"`},
		{`a == 1 or b == 2`, expr.Filter, `column 8: found "or": write "||"`},
		{`a == 1)`, expr.Filter, `column 7: expected an operator or the end of the expression but found ")"`},
		{`a = 1`, expr.Filter, `column 3: found "=": write "==" to compare`},
		{`a & b`, expr.Filter, `column 3: found "&": write "&&"`},
		{`a | b`, expr.Filter, `column 3: found "|": write "||"`},
		{`a # b`, expr.Filter, `column 3: found '#', which means nothing here`},
		{"a &&\n\té >= 1", expr.Filter, `line 2, column 2: found 'é', which means nothing here`},
		{`{"a": 1}`, expr.Filter, `column 1: found "{": this language has no way to write objects`},
		{`a ? b`, expr.Filter, `column 6: expected ":" but found end of text`},
		{`[1, 2`, expr.Filter, `column 6: expected "," or "]" but found end of text`},
		{`[1 2]`, expr.Filter, `column 4: expected "," or "]" but found "2"`},
		{`!-a`, expr.Filter, `column 2: expected a value or a name but found "-"`},
		{`a.`, expr.Filter, `column 3: expected a name but found end of text`},
		{`a.1`, expr.Filter, `column 2: expected an operator or the end of the expression but found ".1"`},
		{`"abc`, expr.Filter, `column 1: this string does not end: expected "`},
		{`'''abc'`, expr.Filter, `column 1: this string does not end: expected '''`},
		{`"a\qb"`, expr.Filter, `column 3: found an escape that does not exist: write \\ for a backslash`},
		{`"\ud800"`, expr.Filter, `column 2: found an escape that does not exist: write \\ for a backslash`},
		{`b"abc"`, expr.Filter, `column 1: a string cannot begin with b: the only prefix there is is r, for raw strings`},
		{`1u`, expr.Filter, `column 1: there are no unsigned numbers here: write 1`},
		{`12abc`, expr.Filter, `column 3: expected the number 12 to end, but found 'a'`},
		{`0x`, expr.Filter, `column 1: expected hexadecimal digits behind "0x"`},
		{`9223372036854775808`, expr.Filter, `column 1: the number 9223372036854775808 is too large: use a double, 9223372036854775808.0`},
		{`99999999999999999999`, expr.Filter, `column 1: the number 99999999999999999999 is too large`},
		{`1e999`, expr.Filter, `column 1: the number 1e999 is too large`},
		{"a == \xff", expr.Filter, `column 6: the text is not valid UTF-8`},

		{`record == 1`, expr.Rule, `column 1: record alone is not a value: write record.name for one of its fields`},
		{`size(record)`, expr.Rule, `column 6: record alone is not a value: write record.name for one of its fields`},
		{`record.exists(k, k == "pin")`, expr.Rule, `column 1: record alone is not a value: write record.name for one of its fields`},
		{`"pin" in record`, expr.Rule, `column 10: record alone is not a value: write record.name for one of its fields`},
		{`[record].exists(r, r.pin == 1)`, expr.Rule, `column 2: record alone is not a value: write record.name for one of its fields`},
		{`(true ? record : before).pin == 1`, expr.RuleUpdate, `column 9: record alone is not a value: write record.name for one of its fields`},
		{`has(record)`, expr.Rule, `column 5: record alone is not a value: write record.name for one of its fields`},
		{`record["p" + "in"] == 1`, expr.Rule, `column 12: a field's name cannot be computed: write record["name"]`},
		{`record[auth.id]`, expr.Rule, `column 8: a field's name cannot be computed: write record["name"]`},
		{`auth[record.a]`, expr.Rule, `column 6: a field's name cannot be computed: write auth["name"]`},
		{`auth.idd == "x"`, expr.Rule, `column 6: auth has no "idd": it has id, email, roles, verified and token`},
		{`auth.token.x`, expr.Rule, `column 12: auth.token has no "x": it has scopes`},
		{`auth.id.x`, expr.Rule, `column 9: auth.id has no "x": it is no object`},
		{`owner == auth.id`, expr.Rule, `column 1: unknown name "owner": write record.owner for the field`},
		{`before.a == 1`, expr.Rule, `column 1: before exists only in the rules of update and delete`},
		{`package == 1`, expr.Filter, `column 1: "package" is a reserved word: write record["package"] for the field`},
		{`record.in == 1`, expr.Filter, `column 8: "in" is a reserved word: write ["in"] in place of .in`},
		{`in == 1`, expr.Filter, `column 1: "in" is a reserved word: write record["in"] for the field`},

		{`startswith(a, "b")`, expr.Filter, `column 1: unknown function "startswith": did you mean "startsWith"?`},
		{`a.map(x, x + 1)`, expr.Filter, `column 3: unknown function "map"`},
		{`startsWith(a, "b")`, expr.Filter, `column 1: startsWith is called on a value: write x.startsWith(…)`},
		{`a.timestamp()`, expr.Filter, `column 3: timestamp is not called on a value: write timestamp(…)`},
		{`a.startsWith()`, expr.Filter, `column 14: expected another argument of startsWith but found ")"`},
		{`size(a, b)`, expr.Filter, `column 9: size takes no further argument: expected ")"`},
		{`has(1 + 2)`, expr.Filter, `column 7: has() asks for a field: write has(record.name)`},
		{`has(a[0])`, expr.Filter, `column 6: has() asks for a field: write has(record.name)`},
		{`a.exists(x.y, true)`, expr.Filter, `column 10: exists takes a name and a condition: write exists(x, x > 0)`},
		{`a.all(auth, true)`, expr.Filter, `column 7: "auth" has a meaning already: choose another name`},
		{`a.exists(in, true)`, expr.Filter, `column 10: "in" is a reserved word: choose another name`},
		{`a.exists(x, true) && x == 1`, expr.Rule, `column 1: unknown name "a": write record.a for the field`},
		{`record.a.exists(x, true) && x == 1`, expr.Rule, `column 29: unknown name "x": write record.x for the field`},
		{`a.matches(b)`, expr.Filter, `column 11: the pattern of matches must be a string in quotes`},
		{`a.matches("(")`, expr.Filter, "column 11: the pattern is broken: missing closing ): `(`"},
		{`a.matches("(a{1000}){1000}")`, expr.Filter, "column 11: the pattern is broken: invalid repeat count: `{1000}`"},
		{`a.matches("(((a{10}){10}){10}b){3}")`, expr.Filter, "column 11: the pattern is broken: invalid repeat count: `{3}`"},
		{`a.matches("((a|b|c|d){500}){2}")`, expr.Filter, `column 11: the pattern repeats too much: it has 3004 steps, 2000 are allowed`},
		{`a.matches("` + strings.Repeat("a", 513) + `")`, expr.Filter, `column 11: the pattern is too long: it has 513 bytes, 512 are allowed`},
		{`timestamp("2026-02-30T00:00:00Z")`, expr.Filter, `column 11: this is not a timestamp: write it as "2026-11-20T09:30:00Z"`},
		{`duration("5 minutes")`, expr.Filter, `column 10: this is not a duration: write it as "90s" or "1h30m"`},

		{strings.Repeat("(", 51) + "1" + strings.Repeat(")", 51), expr.Filter, `column 52: the expression is nested too deeply: 50 levels are allowed`},
		{strings.Repeat("!", 51) + "true", expr.Filter, `column 51: the expression is nested too deeply: 50 levels are allowed`},
		{strings.Repeat("-", 60) + "a", expr.Filter, `column 51: the expression is nested too deeply: 50 levels are allowed`},
		{strings.Repeat("[", 4000), expr.Filter, `column 52: the expression is nested too deeply: 50 levels are allowed`},
		{strings.Repeat("a?b:", 300) + "c", expr.Filter, `column 205: the expression is nested too deeply: 50 levels are allowed`},
		{"a" + strings.Repeat("[a", 300), expr.Filter, `column 103: the expression is nested too deeply: 50 levels are allowed`},
		{"1" + strings.Repeat("+1", 100), expr.Filter, `column 200: the expression is too large: 200 names, values and operators are allowed`},
		{"a" + strings.Repeat(" ", 4096), expr.Filter, `column 4097: the expression is too long: it has 4097 bytes, 4096 are allowed`},
		{"a in [" + strings.Repeat("1,", 1001) + "]", expr.Filter, `column 2007: the list is too long: 1000 elements are allowed`},
	} {
		_, err := expr.Parse(test.text, test.mode)
		if err == nil || err.Error() != test.want {
			t.Errorf("%.60s\n\t%v\nwant\t%s", test.text, err, test.want)
		}
		if e := (*expr.Error)(nil); err != nil && !errors.As(err, &e) {
			t.Errorf("%.60s: %T is no *Error", test.text, err)
		}
	}
}

func TestParseLimits(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("(", 50) + "1" + strings.Repeat(")", 50),
		strings.Repeat("!", 50) + "true",
		"1" + strings.Repeat("+1", 99),
		"a in [" + strings.Repeat("1,", 1000) + "]",
		"a == 1" + strings.Repeat("&& b == 1", 49),
	} {
		parse(t, text, expr.Filter)
	}
}

// TestString shows each tree as its text, which must parse to the same text again.
func TestString(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`rank>10`, `record.rank > 10`},
		{`record.a["b"].c`, `record.a.b.c`},
		{`record["in"]["a b"]`, `record["in"]["a b"]`},
		{`a.b[0].c["d"]`, `record.a.b[0].c["d"]`},
		{`(a && b) && (c && d)`, `record.a && record.b && record.c && record.d`},
		{`a || (b || c) && d`, `record.a || (record.b || record.c) && record.d`},
		{`a - (b - c) - d * (e + f)`, `record.a - (record.b - record.c) - record.d * (record.e + record.f)`},
		{`a ? b : c ? d : e`, `record.a ? record.b : record.c ? record.d : record.e`},
		{`(a ? b : c) ? (d ? e : f) : g`, `(record.a ? record.b : record.c) ? (record.d ? record.e : record.f) : record.g`},
		{`!(a == b) == c`, `!(record.a == record.b) == record.c`},
		{`!!a && --b`, `record.a && record.b`},
		{`!!!a`, `!record.a`},
		{`-(1)`, `-1`},
		{`-(-9223372036854775808)`, `-(-9223372036854775808)`},
		{`(-1).size() - -2`, `(-1).size() - -2`},
		{`-a.b`, `-record.a.b`},
		{`1e3 + .5 + 0x1F + 1.0e30`, `1000.0 + 0.5 + 31 + 1e+30`},
		{`"a\"\u00e9\n" + r'\d' + '''x"y'''`, `"a\"é\n" + "\\d" + "x\"y"`},
		{"'''a\r\nb'''", `"a\nb"`},
		{`has(a.b) && has(c) && has(record["in"])`, `has(record.a.b) && has(record.c) && has(record["in"])`},
		{`[1, [2.5, "a"], null,]`, `[1, [2.5, "a"], null]`},
		{`tags.exists(x, x == y && has(x.z))`, `record.tags.exists(x, x == record.y && has(x.z))`},
		{`a.all(x, b.exists(y, x in y))`, `record.a.all(x, record.b.exists(y, x in y))`},
		{`name.lowerAscii().startsWith("a") && matches(name, "b+")`, `record.name.lowerAscii().startsWith("a") && record.name.matches("b+")`},
		{`timestamp("2026-11-20T10:30:00.5+01:00") + duration("90m") < now`, `timestamp("2026-11-20T09:30:00.5Z") + duration("1h30m0s") < now`},
		{`timestamp(due) < now // late`, `timestamp(record.due) < now`},
		{`auth.id in owners && auth["email"] != ""`, `auth.id in record.owners && auth.email != ""`},
		{`before == 1`, `record.before == 1`}, // a filter has no former state, so it is a field
		{`package.in.x`, ``},
	} {
		e, err := expr.Parse(test.text, expr.Filter)
		if err != nil {
			if test.want != "" {
				t.Errorf("%s: %v", test.text, err)
			}
			continue
		}
		if e.String() != test.want {
			t.Errorf("%s\n\t%s\nwant\t%s", test.text, e, test.want)
		}
		if again := parse(t, e.String(), expr.Filter); again.String() != test.want {
			t.Errorf("%s\n\tagain\t%s", test.want, again)
		}
	}
}

func TestFields(t *testing.T) {
	e := parse(t, `record.a.b == before.c && record.l.exists(x, x.pin == 1) && has(record["d e"].f) && auth.id == "x" && record.g[0].h > 1`, expr.RuleUpdate)
	var got []string
	for _, use := range e.Fields() {
		got = append(got, fmt.Sprint(use.Root, ".", strings.Join(use.Path, "."), "@", use.Pos))
	}
	want := "record.a.b@0 before.c@14 record.l@26 record.d e.f@64 record.g@102"
	if strings.Join(got, " ") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, " "), want)
	}
}
