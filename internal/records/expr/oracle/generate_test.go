package oracle

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
)

func reflectType[T any]() reflect.Type { return reflect.TypeFor[T]() }

// A generator makes random expressions, mostly well typed, and records for them.
type generator struct {
	*rand.Rand
	depth int
	vars  []string
}

func pick[T any](g *generator, choices ...T) T { return choices[g.IntN(len(choices))] }

// below runs one of the makers a level deeper, or leaf where it is deep enough.
func (g *generator) below(leaf func() string, makers ...func() string) string {
	if g.depth >= 5 || g.IntN(4) == 0 {
		return leaf()
	}
	g.depth++
	defer func() { g.depth-- }()
	s := pick(g, makers...)()
	if g.IntN(3) == 0 {
		return "(" + s + ")"
	}
	return s
}

func (g *generator) condition() string {
	return g.below(g.boolLeaf,
		func() string { return g.condition() + g.space("&&") + g.condition() },
		func() string { return g.condition() + g.space("&&") + g.condition() + g.space("&&") + g.condition() },
		func() string { return g.condition() + g.space("||") + g.condition() },
		func() string { return g.condition() + g.space("||") + g.condition() + g.space("||") + g.condition() },
		func() string { return strings.Repeat("!", 1+g.IntN(3)) + "(" + g.condition() + ")" },
		func() string { return "(" + g.choice(g.condition) + ")" },
		func() string { return g.choice(g.condition) },
		func() string { return g.any() + g.space(pick(g, "==", "!=")) + g.any() },
		func() string { return g.any() + g.space(g.ordering()) + g.any() },
		func() string { return g.number() + g.space(g.ordering()) + g.number() },
		func() string { return g.text() + g.space(g.ordering()) + g.text() },
		func() string { return g.timestamp() + g.space(g.ordering()) + g.timestamp() },
		func() string { return g.duration() + g.space(g.ordering()) + g.duration() },
		func() string { return g.any() + " in " + g.list() },
		func() string { return g.text() + " in " + g.textList() },
		func() string { return g.any() + " in " + g.any() },
		func() string {
			return g.text() + pick(g, ".startsWith(", ".endsWith(", ".contains(") + g.text() + ")"
		},
		func() string {
			return g.text() + ".matches(" + pick(g, `"a+b"`, `"^[a-c]*$"`, `r"\d"`, `"é|z"`, `""`, `"(?i)AB"`) + ")"
		},
		func() string { return "has(" + g.path("record", 1+g.IntN(3)) + ")" },
		func() string {
			return "has(auth." + pick(g, "id", "email", "roles", "verified", "token", "token.scopes") + ")"
		},
		g.comprehension, g.comprehension,
	)
}

// choice is c ? a : b. Only b may be another one without parentheses.
func (g *generator) choice(of func() string) string {
	parts := [2]string{g.condition(), of()}
	for i, part := range parts {
		if strings.Contains(part, "?") {
			parts[i] = "(" + part + ")"
		}
	}
	return parts[0] + " ? " + parts[1] + " : " + of()
}

func (g *generator) space(op string) string { return pick(g, " "+op+" ", op, "\n"+op+"\t") }
func (g *generator) ordering() string       { return pick(g, "<", "<=", ">", ">=", "==", "!=") }

func (g *generator) comprehension() string {
	v := pick(g, "x", "y", "z")
	over := pick(g, g.list, g.textList, g.list, func() string { return g.path("record", 1+g.IntN(2)) })()
	if !strings.HasSuffix(over, "]") && !strings.HasSuffix(over, ")") {
		over = "(" + over + ")"
	}
	g.vars = append(g.vars, v)
	defer func() { g.vars = g.vars[:len(g.vars)-1] }()
	return over + pick(g, ".exists(", ".all(") + v + ", " + g.condition() + ")"
}

func (g *generator) boolLeaf() string {
	return pick(g, "true", "false", "record.yes", "record.no", "auth.verified", "record.status == \"open\"", g.any(), "has(auth.id)",
		"record.owner == auth.id", "\"admin\" in auth.roles", "record.n > 3.0")
}

// any is a value of any type, never an operand of arithmetic.
func (g *generator) any() string {
	return g.below(func() string {
		if len(g.vars) > 0 && g.IntN(2) == 0 {
			return pick(g, g.vars...)
		}
		return pick(g, "null", "true", "1", "-1", "2.5", "1.0", `"a"`, "[]", "now", "record.a", "record.b", "record.c", "record.m", "record.l",
			"record.missing", "auth.id", "auth.roles", "record.n", "record.s", "record.m.a", "record.m.b.c", "auth.token.scopes")
	},
		g.number, g.text, g.list, g.timestamp, g.duration, g.condition,
		func() string { return g.path("record", 1+g.IntN(4)) },
		func() string { return g.path(g.variable(), g.IntN(3)) },
		func() string { return "(" + g.list() + ")[" + g.integer() + "]" },
		func() string { return "record.l[" + pick(g, "0", "1", "1.0", "0.5", "-1", `"a"`, "record.i") + "]" },
		func() string { return "record.m[" + g.text() + "]" },
		func() string { return "auth.token.scopes[0].actions" },
	)
}

func (g *generator) variable() string {
	if len(g.vars) > 0 && g.IntN(4) > 0 {
		return pick(g, g.vars...)
	}
	return "record.m"
}

var names = []string{"a", "b", "c", "m", "l", "n", "s", "missing", "package"}

func (g *generator) path(root string, n int) string {
	for range n {
		if name := pick(g, names...); g.IntN(5) > 0 || n == 1 || true {
			root += "." + name
		}
	}
	return root
}

func (g *generator) number() string {
	if g.IntN(2) == 0 {
		return g.integer()
	}
	return g.double()
}

func (g *generator) integer() string {
	return g.below(func() string {
		return pick(g, "0", "1", "-1", "7", "0x1F", "9223372036854775807", "-9223372036854775808", strconv.Itoa(g.IntN(20)-10))
	},
		func() string { return g.integer() + g.space(pick(g, "+", "-", "*", "/", "%")) + g.integer() },
		func() string { return g.integer() + g.space(pick(g, "+", "-", "*")) + g.integer() },
		func() string { return "-(" + g.integer() + ")" },
		func() string { return "- -(" + g.integer() + ")" },
		func() string { return "size(" + pick(g, g.list, g.text, g.textList)() + ")" },
		func() string { return "(" + pick(g, g.list, g.text)() + ").size()" },
		func() string { return "(" + g.choice(g.integer) + ")" },
	)
}

func (g *generator) double() string {
	return g.below(func() string {
		return pick(g, "0.0", "1.0", "2.5", "-0.5", "1e3", ".5", "1e300", "record.n", "record.i", "record.n", "record.m.n", "record.missing",
			fmt.Sprintf("%d.%d", g.IntN(9), g.IntN(99)))
	},
		func() string { return g.double() + g.space(pick(g, "+", "-", "*", "/")) + g.double() },
		func() string { return "-(" + g.double() + ")" },
		func() string { return "(" + g.choice(g.double) + ")" },
	)
}

func (g *generator) text() string {
	return g.below(func() string {
		return pick(g, `""`, `"a"`, `'ab'`, `"A\u00e9\n\"b"`, `r'\d'`, `"\x41\101"`, `"""a"b"""`, `"open"`, "record.s", "record.s", "record.status",
			"record.owner", "auth.id", "auth.email", "record.esc", "record.empty", "record.a", "record.m.s")
	},
		func() string { return g.text() + g.space("+") + g.text() },
		func() string { return "(" + g.text() + ").lowerAscii()" },
		func() string { return "(" + g.choice(g.text) + ")" },
		func() string { return g.textList() + "[" + pick(g, "0", "1", "2") + "]" },
	)
}

func (g *generator) list() string {
	return g.below(func() string {
		return pick(g, "record.l", "record.m", "auth.roles", "[]", "[1, 2.0, \"a\", null]", "record.tags", "record.a")
	},
		func() string {
			parts := make([]string, g.IntN(4))
			for i := range parts {
				parts[i] = g.any()
			}
			return "[" + strings.Join(parts, ", ") + "]"
		},
		func() string { return g.list() + g.space("+") + g.list() },
		g.textList,
	)
}

func (g *generator) textList() string {
	n := g.IntN(4)
	if g.IntN(4) == 0 {
		n = 7 + g.IntN(5)
	}
	parts := make([]string, n)
	for i := range parts {
		parts[i] = pick(g, `"a"`, `"ab"`, `"open"`, `"é"`, `"a\nb"`, `"u1"`, strconv.Quote(fmt.Sprint("s", i)))
		if g.IntN(12) == 0 {
			parts[i] = g.any()
		}
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func (g *generator) timestamp() string {
	return g.below(func() string {
		return pick(g, "now", `timestamp("2026-11-20T09:30:00Z")`, `timestamp("0001-01-01T00:00:00Z")`, `timestamp("9999-12-31T23:59:59.999999999Z")`,
			`timestamp("2024-02-29T23:59:59.5+05:30")`, "timestamp(record.t)", "timestamp(record.s)", "record.t")
	},
		func() string { return g.timestamp() + g.space(pick(g, "+", "-")) + g.duration() },
		func() string { return g.duration() + g.space("+") + g.timestamp() },
		func() string { return `timestamp("" + ` + g.text() + ")" }, // a literal alone would have to be right
	)
}

func (g *generator) duration() string {
	return g.below(func() string {
		return pick(g, `duration("1h30m")`, `duration("-1.5s")`, `duration("2562047h47m16.854775807s")`, `duration("1ns")`, "duration(record.d)", "duration(record.s)")
	},
		func() string { return g.duration() + g.space(pick(g, "+", "-")) + g.duration() },
		func() string { return g.timestamp() + g.space("-") + g.timestamp() },
		func() string { return "-(" + g.duration() + ")" },
	)
}

// record makes a record, as cel-go and as expr read it. None but the field empty is an empty string: cel-go goes
// through those as through empty lists, and makes an error of other strings.
func (g *generator) record() (map[string]any, []byte) {
	m := map[string]any{}
	put := func(name string, v any) {
		if g.IntN(6) > 0 {
			m[name] = v
		}
	}
	for _, name := range []string{"a", "b", "c", "package"} {
		put(name, g.value(0))
	}
	put("m", map[string]any{"a": g.value(1), "b": map[string]any{"c": g.value(2)}, "n": 2.0, "s": g.string()})
	put("l", []any{g.value(1), g.value(1), g.value(1)}[:g.IntN(4)])
	put("n", pick(g, 0, 1.0, 2.5, -3, 1e300, 7))
	put("i", pick(g, 0.0, 1, 2, -1))
	put("s", g.string())
	put("esc", g.string())
	put("status", pick(g, "open", "done", "é"))
	put("owner", pick(g, "u1", "abc", "u2"))
	put("tags", []any{"a", g.string(), "open"}[:g.IntN(4)])
	put("t", pick(g, "2026-11-20T09:30:00Z", "2026-11-20T09:30:00.123456789Z", "2026-02-30T00:00:00Z", "2024-02-29T00:00:00+23:59",
		"0001-01-01T00:00:00+00:01", "1969-12-31T23:59:59.999Z", "2026-1-2T00:00:00Z", "2026-11-20T09:30:00,5Z"))
	put("d", pick(g, "1s", "-2h3m", "1.5h", "x", "300000000h"))
	put("empty", "")
	put("yes", true)
	put("no", false)
	raw := marshal(m)
	if g.IntN(4) == 0 { // other spellings of the same strings
		raw = []byte(strings.NewReplacer("open", `\u006fpen`, "é", `\u00e9`, "/", `\/`, `"u1"`, `"\u00751"`, `"a":`, `"\u0061":`).Replace(string(raw)))
	}
	var decoded map[string]any
	if err := json.Unmarshal(raw, &decoded); err != nil {
		panic(err)
	}
	return decoded, raw
}

func (g *generator) string() string {
	return pick(g, "a", "ab", "abc", "A/b", "open", "a\nb", "é\"\\", "日本\U0001F600", "1s", "2026-11-20T09:30:00Z", "u1")
}

func (g *generator) value(depth int) any {
	if depth > 2 {
		return nil
	}
	return pick[func() any](g,
		func() any { return nil },
		func() any { return g.IntN(2) == 0 },
		func() any { return float64(g.IntN(5)) },
		func() any { return g.Float64() },
		func() any { return g.string() },
		func() any { return []any{g.value(depth + 1), g.value(depth + 1)}[:g.IntN(3)] },
		func() any { return map[string]any{"a": g.value(depth + 1), "b": g.value(depth + 1)} },
		func() any { return map[string]any{} },
	)()
}
