package expr_test

import (
	"strings"
	"testing"

	"croft/internal/records/expr"
)

var shape = &expr.Shape{
	Types: expr.Maps, Closed: true,
	Properties: map[string]*expr.Shape{
		"status": {Types: expr.Strings},
		"rank":   {Types: expr.Numbers},
		"done":   {Types: expr.Bools},
		"due":    {Types: expr.Strings | expr.Nulls},
		"any":    nil,
		"tags":   {Types: expr.Lists, Items: &expr.Shape{Types: expr.Strings}},
		"items": {Types: expr.Lists, Items: &expr.Shape{Types: expr.Maps, Closed: true, Properties: map[string]*expr.Shape{
			"name": {Types: expr.Strings}, "count": {Types: expr.Numbers},
		}}},
		"address": {Types: expr.Maps, Closed: true, Properties: map[string]*expr.Shape{"city": {Types: expr.Strings}}},
		"open":    {Types: expr.Maps},
	},
}

func TestCheck(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`status == "open" && rank > 3 && done && any.x.y == 1 && open.x == 2 && address.city != ""`, ``},
		{`id == "x" && rev != "y" && created > "2026" && updated < "2027" && owner == auth.id && owner == null`, ``},
		{`items.exists(i, i.name == "x" && i.count > 1) && "a" in tags && tags[0].startsWith("a") && items[0].count < 2`, ``},
		{`timestamp(due) > now && now - timestamp(created) < duration("1h") && due == null`, ``},
		{`any > 1 && any > "x" && any.exists(x, x == 1) && any + 1 > 2 && [1, "a"][0] == "a"`, ``},

		{`statsu == "open"`, `column 1: unknown field "statsu": did you mean "status"?`},
		{`has(nothing) && rank > 1`, `column 5: unknown field "nothing"`},
		{`address.cty == "x"`, `column 1: unknown field "cty": did you mean "city"?`},
		{`items.exists(i, i.nam == "x")`, `column 19: unknown field "nam": did you mean "name"?`},
		{`items[0].counts == 1`, `column 10: unknown field "counts": did you mean "count"?`},
		{`ownr == auth.id`, `column 1: unknown field "ownr": did you mean "owner"?`},

		{`status == 1`, `warning: column 8: this is never true: a string never equals a number`},
		{`rank != "1"`, `warning: column 6: this is never false: a number never equals a string`},
		{`rank == null`, `warning: column 6: this is never true: a number never equals null`},
		{`rank < "1"`, `warning: column 6: this is always an error: a number and a string have no order`},
		{`now > 5`, `warning: column 5: this is always an error: a timestamp and a number have no order`},
		{`due < now`, `warning: column 5: this is always an error: null or a string and a timestamp have no order; a field holds a time as text: write timestamp(record.name)`},
		{`status < "x" && 1 < "x"`, `warning: column 19: this is always an error: a number and a string have no order`},
		{`any && rank`, `warning: column 8: this is always an error: expected true or false, not a number`},
		{`rank ? true : done`, `warning: column 1: this is always an error: expected true or false, not a number`},
		{`rank + status == 1`, `warning: column 6: this is always an error: "+" does not work on a number and a string`},
		{`-status == 1`, `warning: column 1: this is always an error: a string cannot be negated`},
		{`rank.startsWith("1")`, `warning: column 1: this is always an error: a number is nothing that startsWith works on`},
		{`rank.x == 1`, `warning: column 1: this is always an error: a number has no members`},
		{`status.exists(x, true)`, `warning: column 8: this is always an error: a string is nothing to go through`},
		{`rank in status`, `warning: column 6: this is always an error: in looks into lists and objects, not into a string`},
		{`rank in ["1", "2"]`, `warning: column 6: this is never true: a number is never in a list of a string`},
		{`1 in tags`, `warning: column 3: this is never true: a number is never in a list of a string`},
		{`tags["x"] == 1`, `warning: column 1: this is always an error: a list has no members`},
		{`tags[done] == "x"`, `warning: column 5: this is always an error: a list has no element at a bool`},
		{`false && rank > 1`, `warning: column 7: this expression is never true`},
		{`!true`, `warning: column 1: this expression is never true`},
		{`rank`, `warning: column 1: this is always an error: expected true or false, not a number`},
		{`statsu == 1 && rank == "x"`, `column 1: unknown field "statsu": did you mean "status"?; warning: column 21: this is never true: a number never equals a string`},
	} {
		var got []string
		for _, p := range expr.Check(parse(t, test.text, expr.Filter), shape) {
			text := p.Error.Error()
			if p.Warning {
				text = "warning: " + text
			}
			got = append(got, text)
		}
		if strings.Join(got, "; ") != test.want {
			t.Errorf("%s\n\t%s\nwant\t%s", test.text, strings.Join(got, "; "), test.want)
		}
	}
	if problems := expr.Check(parse(t, `a.b == 1 && c.exists(x, x.y > 1)`, expr.Filter), nil); len(problems) > 0 {
		t.Errorf("without a schema: %v", problems)
	}
}
