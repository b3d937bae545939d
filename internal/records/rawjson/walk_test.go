package rawjson_test

import (
	"math/big"
	"slices"
	"strings"
	"testing"

	"croft/internal/records/rawjson"
)

func sameDecimal(a, b string) bool {
	x, ok1 := new(big.Rat).SetString(a)
	y, ok2 := new(big.Rat).SetString(b)
	return ok1 && ok2 && x.Cmp(y) == 0
}

// walkAll decodes by walking, as encoding/json would.
func walkAll(raw []byte) any {
	switch rawjson.KindOf(raw) {
	case rawjson.True, rawjson.False:
		return raw[0] == 't'
	case rawjson.Num:
		f, _ := rawjson.Number(raw)
		return f
	case rawjson.String:
		return rawjson.Text(raw)
	case rawjson.Array:
		list := []any{}
		for it := rawjson.Elements(raw); it.Next(); {
			list = append(list, walkAll(it.Value()))
		}
		return list
	case rawjson.Object:
		m := map[string]any{}
		for it := rawjson.Members(raw); it.Next(); {
			m[it.Name()] = walkAll(it.Value())
		}
		return m
	}
	return nil
}

func TestWalk(t *testing.T) {
	raw := []byte(`{"a":1,"b\"c\\":"x\"y\\","d":{"e":[1,"],}",{"f":null}],"é":true},"":-1.5}`)
	var names, values []string
	for it := rawjson.Members(raw); it.Next(); {
		names = append(names, it.Name())
		values = append(values, string(it.Value()))
		if !it.Is(it.Name()) || it.Is(it.Name()+"x") || it.Is("zz") {
			t.Errorf("Is is wrong for %s", it.Key())
		}
		if o := it.Offset(); !strings.HasPrefix(string(raw[o:]), string(it.Value())) || raw[o-1] != ':' {
			t.Errorf("Offset of %s is %d", it.Key(), o)
		}
	}
	if want := []string{"a", `b"c\`, "d", ""}; !slices.Equal(names, want) {
		t.Errorf("names %q", names)
	}
	if want := []string{"1", `"x\"y\\"`, `{"e":[1,"],}",{"f":null}],"é":true}`, "-1.5"}; !slices.Equal(values, want) {
		t.Errorf("values %q", values)
	}
	for _, tt := range []struct{ path, want string }{
		{"a", "1"}, {"d/é", "true"}, {"d/e", `[1,"],}",{"f":null}]`}, {"d/x", ""}, {"a/x", ""}, {`b"c\`, `"x\"y\\"`}, {"nope/deep", ""},
	} {
		if got := rawjson.Path(raw, strings.Split(tt.path, "/")...); string(got) != tt.want {
			t.Errorf("Path(%s) = %s", tt.path, got)
		}
	}
	if got := rawjson.Path(raw); string(got) != string(raw) {
		t.Errorf("the empty path gives %s", got)
	}
	var elements []string
	for it := rawjson.Elements(rawjson.Path(raw, "d", "e")); it.Next(); {
		elements = append(elements, string(it.Value()))
	}
	if want := []string{"1", `"],}"`, `{"f":null}`}; !slices.Equal(elements, want) {
		t.Errorf("elements %q", elements)
	}
	for _, raw := range []string{"", "{}", "[]", "1", `"x"`, "null"} {
		m, e := rawjson.Members([]byte(raw)), rawjson.Elements([]byte(raw))
		if m.Next() || e.Next() {
			t.Errorf("%q has members", raw)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		for it := rawjson.Members(raw); it.Next(); {
			_ = it.Is(`b"c\`)
		}
		_ = rawjson.Path(raw, "d", "é")
	}); n != 0 {
		t.Errorf("walking allocates %v times", n)
	}
}

func TestStrings(t *testing.T) {
	for text, quoted := range map[string]string{
		"":               `""`,
		"plain é 😀":      `"plain é 😀"`,
		"a\"b\\c\nd\x01": `"a\"b\\c\nd\u0001"`,
		"<&>\u2028\x7f":  "\"<&>\u2028\x7f\"",
	} {
		if got := rawjson.AppendString(nil, text); string(got) != quoted {
			t.Errorf("AppendString(%q) = %s", text, got)
		}
		if got := rawjson.AppendKey([]byte("{"), text); string(got) != "{"+quoted+":" {
			t.Errorf("AppendKey(%q) = %s", text, got)
		}
		if got := rawjson.UnquoteTo([]byte("x"), []byte(quoted)); string(got) != "x"+text {
			t.Errorf("UnquoteTo(%s) = %q", quoted, got)
		}
		if rawjson.Text([]byte(quoted)) != text || !rawjson.TextIs([]byte(quoted), text) {
			t.Errorf("Text(%s) = %q", quoted, rawjson.Text([]byte(quoted)))
		}
	}
	if got := rawjson.AppendString(nil, "a\xffb"); string(got) != `"a`+"\ufffd"+`b"` {
		t.Errorf("invalid UTF-8 became %s", got)
	}
}

func TestPointer(t *testing.T) {
	for pointer, path := range map[string][]string{
		"":             nil,
		"/":            {""},
		"/a/0/b":       {"a", "0", "b"},
		"/a~1b/m~0n/é": {"a/b", "m~n", "é"},
		"/~01":         {"~1"},
	} {
		if got := rawjson.Pointer(path...); got != pointer {
			t.Errorf("Pointer(%q) = %q", path, got)
		}
		if got, ok := rawjson.SplitPointer(pointer); !ok || !slices.Equal(got, path) {
			t.Errorf("SplitPointer(%q) = %q, %v", pointer, got, ok)
		}
	}
	for _, bad := range []string{"a", "/~", "/a~2", "/~0~"} {
		if _, ok := rawjson.SplitPointer(bad); ok {
			t.Errorf("%q passes as a pointer", bad)
		}
	}
}

func TestEqual(t *testing.T) {
	big1, big2 := "{", "{"
	for i := range 20 {
		big1 += `"` + string(rune('a'+i)) + `":1,`
		big2 += `"` + string(rune('t'-i)) + `":1,`
	}
	big1, big2 = big1[:len(big1)-1]+"}", big2[:len(big2)-1]+"}"
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{`1`, `1`, true}, {`1`, `2`, false}, {`"1"`, `1`, false}, {`true`, `null`, false},
		{`{"a":1,"b":[{"c":1,"d":2}]}`, `{"b":[{"d":2,"c":1}],"a":1}`, true},
		{`{"a":1,"b":2}`, `{"a":2,"b":1}`, false}, {`{"a":1,"b":2}`, `{"a":1,"c":2}`, false},
		{`[1,2]`, `[2,1]`, false}, {`[1,2,3]`, `[1,22]`, false}, {`[]`, `{}`, false},
		{`{"a":1,"bb":2}`, `{"aaaaa":11}`, false}, {big1, big2, true}, {big1, strings.Replace(big2, "1", "2", 1), false},
	} {
		if rawjson.Equal([]byte(tt.a), []byte(tt.b)) != tt.want || rawjson.Equal([]byte(tt.b), []byte(tt.a)) != tt.want {
			t.Errorf("Equal(%s, %s) is not %v", tt.a, tt.b, tt.want)
		}
	}
}
