package expr_test

import (
	"bytes"
	"testing"

	"croft/internal/records/expr"
)

// stored stands for a record whose top-level fields are found by a directory.
type stored struct{ fields [][]byte }

func (s *stored) Field(slot int) []byte { return s.fields[slot] }

func storedEnv(t testing.TB, p *expr.Program, record string) *expr.Env {
	o := expr.Object{Names: p.Fields(), JSON: compact(t, record)}
	s := new(stored)
	for slot := range p.Fields() {
		s.fields = append(s.fields, o.Field(slot))
	}
	return &expr.Env{Record: s, Auth: ann, Now: now}
}

// These match no record, each for another reason.
var unmatched = map[string]string{
	"compare":   `status == "rare"`,
	"number":    `rank > 100`,
	"missing":   `missing == "x"`,
	"and-or":    `(status == "open" && rank > 10 || done) && price < 3`,
	"in-starts": `status in ["open", "done"] && title.startsWith("Milk") && address.city == "Basel"`,
	"contains":  `title.contains("tea") || title.endsWith("x") || size(title) > 100`,
	"matches":   `title.matches("^[0-9]+$")`,
	"lists":     `tags.exists(t, t == "work") || items.all(i, i.n > 1) || "x" in tags || tags[0] == "b"`,
	"types":     `status < 3 || rank.startsWith("x")`,
	"caller":    `owner == auth.id && rank < 0 || auth.roles.exists(r, r == "boss" || status in auth.roles)`,
	"times":     `timestamp(due) < now || timestamp(created) > now - duration("1h")`,
	"escaped":   `esc == "closed" || title > "N" || "x" in title.lowerAscii() + "y"`,
	"many":      `status in ["a","b","c","d","e","f","g","h","i"] || rank in [1,2,3,4,5,6]`,
}

func TestNoAllocations(t *testing.T) {
	for name, text := range unmatched {
		p := expr.Compile(parse(t, text, expr.Filter))
		env := storedEnv(t, p, document)
		if p.Match(env) {
			t.Errorf("%s: it matches", name)
		}
		if raceEnabled && name == "matches" {
			continue // the race detector drops what regexp keeps in its pools
		}
		if n := testing.AllocsPerRun(100, func() { p.Match(env) }); n > 0 {
			t.Errorf("%s: %v allocations for each record", name, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, name := range []string{"compare", "number", "missing", "and-or", "in-starts", "contains", "matches", "lists", "times", "many"} {
		b.Run(name, func(b *testing.B) {
			p := expr.Compile(parse(b, unmatched[name], expr.Filter))
			env := storedEnv(b, p, document)
			b.ReportAllocs()
			for b.Loop() {
				p.Match(env)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, name := range []string{"compare", "and-or", "in-starts"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e, err := expr.Parse(unmatched[name], expr.Filter)
				if err != nil {
					b.Fatal(err)
				}
				expr.Compile(expr.Bind(e, ann, now))
			}
		})
	}
}

// TestSourceOnce: a Source is asked once for each field and record, and not at all for what isn't needed.
func TestSourceOnce(t *testing.T) {
	p := expr.Compile(parse(t, `a == 1 && a < 2 && a in [1] && (b == 2 || a == c)`, expr.Filter))
	source := &counting{Object: expr.Object{Names: p.Fields(), JSON: []byte(`{"a":1,"b":2,"c":3}`)}}
	for range 3 {
		if !p.Match(&expr.Env{Record: source}) {
			t.Error(p.Err())
		}
	}
	if got := source.asked.String(); got != "ababab" {
		t.Errorf("asked for %s", got)
	}
}

type counting struct {
	expr.Object
	asked bytes.Buffer
}

func (c *counting) Field(slot int) []byte {
	c.asked.WriteString(c.Names[slot])
	return c.Object.Field(slot)
}
