package records_test

import (
	"fmt"
	"strings"
	"testing"

	"croft/internal/records"
)

// TestCountByElements counts by indexes over arrays, whose entries are more than their records.
func TestCountByElements(t *testing.T) {
	k := newKit(t, records.Options{})
	k.define("notes", `{"indexes":[{"name":"by_tags","fields":["tags"]},{"name":"by_a","fields":["a","-tags"]}]}`)
	for i := range 24 {
		tags := []string{}
		for bit, tag := range []string{`"a"`, `"ab"`, `1`, `null`} {
			if i>>bit&1 == 1 {
				tags = append(tags, tag)
			}
		}
		k.create(admin, "notes", string(rawOf(object{"a": i % 3, "tags": objectOf(fmt.Appendf(nil, `{"t":%s}`, "["+strings.Join(tags, ",")+"]"))["t"]})))
	}
	k.create(admin, "notes", `{"a":0,"tags":{"a":1,"ab":2}}`)
	k.create(admin, "notes", `{"a":0,"tags":"a"}`)
	terms := []string{`"a" in tags`, `"ab" in tags`, `1 in tags`, `null in tags`, `"zz" in tags`, `tags == "a"`, `tags.exists(t, t == "a")`,
		`tags.exists(t, t.startsWith("a"))`, `tags.exists(t, t > "a")`, `tags.exists(t, t == "a" || t == "ab")`, `a == 0`, `a in [0, 1]`, `a > 0`}
	byIndex := 0
	for _, x := range terms {
		for _, y := range terms {
			for _, op := range []string{"||", "&&"} {
				filter := x + " " + op + " " + y
				p := k.list(admin, "notes", records.Query{Filter: filter, Count: true, Explain: true, Limit: 500})
				if *p.Count != len(p.Items) {
					t.Errorf("%s: counted %d of %d, plan %v", filter, *p.Count, len(p.Items), p.Plan)
				}
				if p.Plan["index"] != nil {
					byIndex++
				}
			}
		}
	}
	if byIndex < 200 {
		t.Errorf("only %d lists were by an index", byIndex)
	}
}
