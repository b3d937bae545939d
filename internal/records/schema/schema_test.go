package schema_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"croft/internal/errs"
	"croft/internal/records/expr"
	"croft/internal/records/rawjson"
	"croft/internal/records/schema"
)

func TestApplyDefaults(t *testing.T) {
	for _, tt := range []struct{ schema, in, want string }{
		{`{}`, `{"a":1}`, `{"a":1}`},
		{`true`, `{"a":1}`, `{"a":1}`},
		{`{"properties":{"a":{"default":1},"b":{"default":"x"},"c":{"type":"string"}}}`, `{}`, `{"a":1,"b":"x"}`},
		{`{"properties":{"a":{"default":1},"b":{"default":"x"}}}`, `{"z":0,"b":null}`, `{"z":0,"b":null,"a":1}`},
		{`{"properties":{"a":{"default": 1.50 },"b":{"default":[ {"x" : 1} ]}}}`, `{}`, `{"a":1.5,"b":[{"x":1}]}`},
		// Nested: only where the object is, or is a default itself.
		{`{"properties":{"o":{"properties":{"a":{"default":1}}}}}`, `{}`, `{}`},
		{`{"properties":{"o":{"properties":{"a":{"default":1}}}}}`, `{"o":{}}`, `{"o":{"a":1}}`},
		{`{"properties":{"o":{"properties":{"a":{"default":1}}}}}`, `{"o":[{}]}`, `{"o":[{}]}`},
		{`{"properties":{"o":{"default":{},"properties":{"a":{"default":1},"b":{}}}}}`, `{}`, `{"o":{"a":1}}`},
		{`{"properties":{"o":{"default":{"b":2},"required":["a"],"properties":{"a":{"default":1},"b":{}}}}}`, `{}`, `{"o":{"b":2,"a":1}}`},
		// In lists of objects.
		{`{"properties":{"l":{"items":{"properties":{"n":{"default":0}}}}}}`, `{"l":[{},{"n":5},7]}`, `{"l":[{"n":0},{"n":5},7]}`},
		{`{"properties":{"l":{"prefixItems":[{"properties":{"n":{"default":0}}}],"items":{"properties":{"m":{"default":1}}}}}}`, `{"l":[{},{}]}`, `{"l":[{"n":0},{"m":1}]}`},
		// Through references and allOf, not through choices.
		{`{"$ref":"#/$defs/base","properties":{"b":{"default":2}},"$defs":{"base":{"properties":{"a":{"$ref":"#/$defs/one"}}},"one":{"default":1}}}`, `{}`, `{"b":2,"a":1}`},
		{`{"allOf":[{"properties":{"a":{"default":1}}},{"properties":{"a":{"default":2},"b":{"default":3}}}]}`, `{}`, `{"a":1,"b":3}`},
		{`{"allOf":[{"properties":{"a":{}}},{"properties":{"a":{"default":2}}}]}`, `{}`, `{"a":2}`},
		{`{"anyOf":[{"properties":{"a":{"default":1}}}],"default":{"b":1}}`, `{}`, `{}`},
		// Recursion goes as far as the record does.
		{`{"properties":{"n":{"default":0},"next":{"$ref":"#"}}}`, `{"next":{"next":{"n":1}}}`, `{"next":{"next":{"n":1},"n":0},"n":0}`},
		{`{"properties":{"a\"b":{"default":"c\nd"}}}`, `{}`, `{"a\"b":"c\nd"}`},
	} {
		s := compile(t, tt.schema)
		got, err := s.ApplyDefaults([]byte("before"), canonical(t, tt.in))
		if err != nil || string(got) != "before"+tt.want {
			t.Errorf("%s of %s: %s, %v; want %s", tt.schema, tt.in, got, err, tt.want)
			continue
		}
		if raw := got[len("before"):]; string(canonical(t, string(raw))) != string(raw) {
			t.Errorf("%s is not canonical", raw)
		}
	}

	// Small records can't be blown up without end.
	s := compile(t, `{"properties":{"l":{"items":{"properties":{"x":{"default":"`+strings.Repeat("x", 10_000)+`"}}}}}}`)
	raw := []byte(`{"l":[` + strings.TrimSuffix(strings.Repeat("{},", 1000), ",") + `]}`)
	var e *errs.Error
	if _, err := s.ApplyDefaults(nil, raw); !asError(err, &e) || e.Code != errs.TooLarge {
		t.Errorf("10 MB of defaults: %v", err)
	}
}

func asError(err error, e **errs.Error) bool {
	var ok bool
	*e, ok = err.(*errs.Error)
	return ok
}

func TestReadOnly(t *testing.T) {
	for raw, want := range map[string]string{
		`{}`: "",
		`{"properties":{"a":{"readOnly":true},"b":{"readOnly":false},"c":{"properties":{"d":{"readOnly":true},"e":{}}}}}`:               "a c.d",
		`{"properties":{"a":{"readOnly":true,"properties":{"b":{"readOnly":true}}}}}`:                                                   "a",
		`{"properties":{"a":{"$ref":"#/$defs/x"},"b":{"allOf":[{"$ref":"#/$defs/x"}]}},"$defs":{"x":{"readOnly":true}}}`:                "a b",
		`{"allOf":[{"properties":{"a":{"readOnly":true}}},{"properties":{"a":{"readOnly":true}}}]}`:                                     "a",
		`{"properties":{"tree":{"$ref":"#/$defs/t"},"a":{"readOnly":true}},"$defs":{"t":{"properties":{"kids":{"$ref":"#/$defs/t"}}}}}`: "a",
	} {
		var got []string
		for _, path := range compile(t, raw).ReadOnly() {
			got = append(got, strings.Join(path, "."))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
	// Very many paths of few properties.
	defs := ""
	for i := range 30 {
		defs += fmt.Sprintf(`"d%d":{"properties":{"a":{"$ref":"#/$defs/d%d"},"b":{"$ref":"#/$defs/d%d"}}},`, i, i+1, i+1)
	}
	_, err := schema.Compile([]byte(`{"$ref":"#/$defs/d0","$defs":{` + defs + `"d30":{"readOnly":true}}}`))
	if err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("2^30 read-only paths: %v", err)
	}
}

func TestShape(t *testing.T) {
	s := compile(t, `{
		"type":"object","additionalProperties":false,
		"properties":{
			"title":{"type":"string"},"rank":{"type":["integer","null"]},"flag":{"enum":[true,false]},"kind":{"const":"x"},
			"any":{},"open":{"type":"object","properties":{"x":{"type":"number"}}},
			"address":{"$ref":"#/$defs/address"},"tags":{"type":"array","items":{"type":"string"}},
			"choice":{"anyOf":[{"type":"string"},{"$ref":"#/$defs/nothing"}]},
			"tree":{"$ref":"#/$defs/tree"},"no":false,"mix":{"allOf":[{"type":["string","number"]},{"type":["number","boolean"]}]}},
		"$defs":{"address":{"allOf":[{"properties":{"city":{"type":"string"}}}],"properties":{"zip":{}},"unevaluatedProperties":false,"type":"object"},
			"nothing":{"type":"null"},"tree":{"type":"object","properties":{"left":{"$ref":"#/$defs/tree"}},"additionalProperties":false}}}`)
	if !s.Closed() {
		t.Error("not closed")
	}
	for path, want := range map[string]expr.TypeSet{
		"title": expr.Strings, "rank": expr.Numbers | expr.Nulls, "flag": expr.Bools, "kind": expr.Strings, "any": 0,
		"open": expr.Maps, "open.x": expr.Numbers, "address.city": expr.Strings, "address.zip": 0, "tags": expr.Lists,
		"choice": expr.Strings | expr.Nulls, "tree.left.left.left": expr.Maps, "mix": expr.Numbers,
	} {
		at := s.Shape()
		for _, name := range strings.Split(path, ".") {
			at = at.Properties[name]
		}
		if at == nil || at.Types != want {
			t.Errorf("%s: %+v, want %v", path, at, want)
		}
	}
	if items := s.Shape().Properties["tags"].Items; items == nil || items.Types != expr.Strings {
		t.Errorf("tags has items of %+v", items)
	}
	for path, want := range map[string]bool{
		"title": false, "titel": true, "title.x": true, "any.x.y": false, "open.y": false, "open.x.y": true, "no": true, "no.x": true,
		"address.city": false, "address.street": true, "tree.left.left": false, "tree.left.right": true, "tags.x": true,
		"id": false, "rev": false, "created": false, "updated": false, "owner": false, "owner.name": true, "": true,
	} {
		if got := s.Forbids(strings.Split(path, ".")); got != want {
			t.Errorf("Forbids(%s) is %v", path, got)
		}
	}
	for raw, closed := range map[string]bool{
		`{}`: false, `true`: false, `{"additionalProperties":false}`: true, `{"additionalProperties":{}}`: false,
		`{"additionalProperties":false,"patternProperties":{"^x":{}}}`:      false,
		`{"unevaluatedProperties":false,"anyOf":[{"properties":{"a":{}}}]}`: false,
		`{"allOf":[{"additionalProperties":false,"properties":{"a":{}}}]}`:  true,
	} {
		if s := compile(t, raw); s.Closed() != closed || s.Forbids([]string{"x1"}) != closed {
			t.Errorf("%s: closed is %v", raw, s.Closed())
		}
	}
}

// Recursion that ends with the record is fine. Where it branches at the same
// value, depth is bounded instead of time.
func TestRecursion(t *testing.T) {
	s := compile(t, `{"properties":{"name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#"}}},"required":["name"]}`)
	deep := func(n int, wrap, leaf string) string {
		before, after, _ := strings.Cut(wrap, "@")
		return strings.Repeat(before, n) + leaf + strings.Repeat(after, n)
	}
	if got := s.Validate(canonical(t, deep(31, `{"name":"x","children":[@]}`, `{"name":"x"}`))); got != nil {
		t.Errorf("a tree: %v", got)
	}
	if got := s.Validate(canonical(t, deep(31, `{"name":"x","children":[@]}`, `{"name":1}`))); len(got) != 1 || got[0].Code != "type" {
		t.Errorf("a tree with a fault: %v", got)
	}

	// Both choices look at "left", so the library's work doubles with each level: 2^60 at the deepest.
	s = compile(t, `{"$defs":{"e":{"oneOf":[
		{"type":"object","properties":{"op":{"const":"+"},"left":{"$ref":"#/$defs/e"},"right":{"$ref":"#/$defs/e"}},"required":["op"]},
		{"type":"object","properties":{"op":{"const":"-"},"left":{"$ref":"#/$defs/e"},"right":{"$ref":"#/$defs/e"}},"required":["op"]},
		{"type":"number"}]}},"properties":{"formula":{"$ref":"#/$defs/e"}}}`)
	if got := s.Validate(canonical(t, `{"formula":`+deep(4, `{"op":"+","left":1,"right":@}`, `2`)+`}`)); got != nil {
		t.Errorf("a small formula: %v", got)
	}
	if got := s.Validate(canonical(t, `{"formula":`+deep(62, `{"op":"+","left":1,"right":@}`, `2`)+`}`)); len(got) != 1 || got[0].Code != "too_deep" {
		t.Errorf("a deep formula: %v", got)
	}
	// The same without recursion, and in the plain way.
	defs := ""
	for i := range 60 {
		defs += fmt.Sprintf(`"d%d":{"$ref":"#/$defs/e%d","properties":{"x":{"$ref":"#/$defs/d%d"}}},"e%d":{"properties":{"x":{"$ref":"#/$defs/d%d"}}},`, i, i, i+1, i, i+1)
	}
	s = compile(t, `{"$ref":"#/$defs/d0","$defs":{`+defs+`"d60":{}}}`)
	if got := s.Validate(canonical(t, deep(60, `{"x":@}`, `1`))); len(got) != 1 || got[0].Code != "too_deep" {
		t.Errorf("doubling references: %v", got)
	}
}

// Values never reach the texts, whatever the keyword.
func TestNoValuesInTexts(t *testing.T) {
	const secret = "hunter2"
	s := compile(t, `{"properties":{"a":{"type":"number"},"b":{"const":1},"c":{"enum":["x"]},"d":{"format":"uuid"},"e":{"maxLength":1},"f":{"pattern":"^x$"},
		"g":{"not":{"type":"string"}},"h":{"anyOf":[{"type":"string","maxLength":2},{"const":5}]},"i":{"format":"regex"},"j":{"format":"uri"}}}`)
	raw := "{"
	for c := 'a'; c <= 'j'; c++ {
		raw += fmt.Sprintf("%q:%q,", string(c), "(://"+secret)
	}
	got := s.Validate(canonical(t, strings.TrimSuffix(raw, ",")+"}"))
	if len(got) < 10 {
		t.Errorf("too few faults: %v", got)
	}
	for _, f := range got {
		if strings.Contains(f.Message, secret) {
			t.Errorf("%+v", f)
		}
	}
}

// However many faults there are, a hundred are told.
func TestManyFaults(t *testing.T) {
	raw := canonical(t, `{"l":[`+strings.TrimSuffix(strings.Repeat("1,", 300_000), ",")+`]}`)
	small := canonical(t, `{"l":[`+strings.TrimSuffix(strings.Repeat("1,", 300), ",")+`]}`)
	plain := compile(t, `{"properties":{"l":{"items":{"type":"string"}}}}`)
	involved := compile(t, `{"properties":{"l":{"items":{"allOf":[{"type":"string"}]}}}}`)
	for _, tt := range []struct {
		s    *schema.Schema
		raw  []byte
		want int
	}{{plain, raw, 100}, {plain, small, 100}, {involved, small, 100}, {involved, raw, 1}} {
		if got := tt.s.Validate(tt.raw); len(got) != tt.want {
			t.Errorf("%d faults told of %d bytes, want %d", len(got), len(tt.raw), tt.want)
		}
	}
	fits := canonical(t, `{"l":[`+strings.TrimSuffix(strings.Repeat(`"x",`, 30_000), ",")+`]}`)
	if got := involved.Validate(fits); got != nil {
		t.Errorf("a large record that fits: %v", got)
	}
}

func TestManyProperties(t *testing.T) {
	var props, members, required []string
	for i := range 100 {
		props = append(props, fmt.Sprintf(`"p%d":{"type":"integer"}`, i))
		members = append(members, fmt.Sprintf(`"p%d":%d`, i, i))
		required = append(required, fmt.Sprintf(`"p%d"`, i))
	}
	slices.Reverse(members)
	s := compile(t, `{"properties":{`+strings.Join(props, ",")+`},"required":[`+strings.Join(required, ",")+`],"additionalProperties":false}`)
	if got := s.Validate(canonical(t, "{"+strings.Join(members, ",")+"}")); got != nil {
		t.Errorf("%v", got)
	}
	if got := s.Validate(canonical(t, "{"+strings.Join(members[1:], ",")+`,"q":1}`)); len(got) != 2 || got[0].Pointer != "/p99" || got[1].Pointer != "/q" {
		t.Errorf("%v", got)
	}
}

// Compile takes any JSON, not just canonical; $schema and a root $id are fine.
func TestCompileAccepts(t *testing.T) {
	for _, raw := range []string{
		`true`, `false`, ` { "type" : "object" } `,
		`{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"https://example.org/note","properties":{"a":{"$ref":"https://example.org/note#/$defs/x"},"b":{"$ref":"#y"}},"$defs":{"x":{"$anchor":"y","type":"string"}}}`,
		`{"properties":{"a b/c~d%":{"type":"string"},"e":{"$ref":"#/properties/a%20b~1c~0d%25"}},"anyOf":[{"$ref":"#/properties/e"},{}]}`,
		`{"title":"Note","description":"…","$comment":"x","examples":[{}],"x-order":1,"deprecated":false,"properties":{"a":{"contentEncoding":"base64","contentMediaType":"image/png","writeOnly":true}}}`,
		`{"properties":{"meta":{"properties":{"id":{},"owner":{}}}}}`, // only the record's own are the system's
	} {
		compile(t, raw)
	}
	if got := compile(t, `{"properties":{"a":{"contentEncoding":"base64"}}}`).Validate([]byte(`{"a":"not base64!"}`)); got != nil {
		t.Errorf("contentEncoding is a note only: %v", got)
	}
}

func TestFormats(t *testing.T) {
	for format, values := range map[string][2][]string{
		"date-time": {{"2026-11-20T09:30:00Z", "2026-11-20t09:30:00.123456789+05:30", "2024-02-29T23:59:60Z", "1990-12-31T15:59:60-08:00", "0000-01-01T00:00:00Z"},
			{"2026-11-20T09:30:00", "2026-11-20 09:30:00Z", "2026-02-29T00:00:00Z", "2026-11-20T24:00:00Z", "2026-11-20T09:30:00+1Z:00", "2026-11-20T12:59:60Z", "2026-11-20T09:30:00.Z", "2026-13-01T00:00:00Z", "২026-11-20T09:30:0Z", "2026-11-20T09:30:00+24:00"}},
		"date":     {{"2000-02-29", "2026-12-31"}, {"1900-02-29", "2026-00-01", "2026-04-31", "2026-1-1", "20261120", "2026-11-200"}},
		"time":     {{"00:00:00Z", "23:59:59.5-00:00"}, {"9:30:00Z", "09:30Z", "09:60:00Z", "09:30:61Z", "-9:30:00Z"}},
		"duration": {{"P1Y2M3DT4H5M6S", "P3W", "PT1S", "P1D"}, {"", "P", "PT", "1D", "P1", "P1S", "PT1D", "P1D2M", "P1Y1D", "P1W1D", "P1DT", "P-1D"}},
		"email":    {{"joe@example.org", "a.b+c@x", `"a b"@example.org`, "joe@[127.0.0.1]", "joe@[IPv6:::1]"}, {"", "@", "@x.org", "joe", "joe@", ".a@x", "a.@x", "a..b@x", "a b@x", "joe@-x", "joe@[1]", strings.Repeat("a", 65) + "@x"}},
		"uuid":     {{"0193a1f0-7c3e-7aaa-bbbb-0123456789AB"}, {"0193a1f07c3e7aaabbbb0123456789ab", "0193a1f0-7c3e-7aaa-bbbb-0123456789ag", "0193a1f0-7c3e-7aaa-bbbb-0123456789abc"}},
		"uri":      {{"https://example.org/a?b#c", "mailto:joe@example.org", "urn:isbn:1", "http://[::1]:80/"}, {"", "/a", "//x", "http://a b/", "http://x/{", "http://x/%zz", "http://[::1", "é:x", "1:x", `http:\\x`}},
		"hostname": {{"a", "example.org", "xn--nxasmq6b.example", "1.2"}, {"", ".", "a..b", "-a", "a-", "a_b", "ab--c", "é", "example.org.", strings.Repeat("a", 64)}},
		"ipv4":     {{"1.2.3.4"}, {"1.2.3", "01.2.3.4", "1.2.3.256", "+1.2.3.4", "1.2.3.4.5"}},
		"ipv6":     {{"::", "::ffff:1.2.3.4", "fe80::1"}, {"1.2.3.4", "fe80::1%eth0", ":::", "12345::"}},
		"regex":    {{"^a+$", `\d`}, {"(", "(?=x)", strings.Repeat("a", 1001)}},
	} {
		s := compile(t, fmt.Sprintf(`{"format":%q}`, format))
		for i, list := range values {
			for _, v := range list {
				if got := s.Validate(rawjson.AppendString(nil, v)); (got == nil) != (i == 0) {
					t.Errorf("%s: %q: %v", format, v, got)
				}
			}
		}
	}
}

// One Schema serves many goroutines at once.
func TestConcurrent(t *testing.T) {
	for _, raw := range []string{tenFields, `{"anyOf":[` + tenFields + `,{"type":"null"}]}`} {
		s := compile(t, raw)
		good, bad := canonical(t, tenFieldRecord), canonical(t, `{"title":"x"}`)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					if got := s.Validate(good); got != nil {
						t.Error(got)
					}
					if got := s.Validate(bad); got == nil {
						t.Error("a bad record fits")
					}
					if _, err := s.ApplyDefaults(nil, good); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// A schema of ten fields, and a record of 300 bytes.
const (
	tenFields = `{"type":"object","additionalProperties":false,"required":["title","status","due"],"properties":{
		"title":{"type":"string","minLength":1,"maxLength":200},
		"text":{"type":"string","maxLength":10000},
		"status":{"enum":["open","doing","done"],"default":"open"},
		"rank":{"type":"integer","minimum":0,"maximum":1000},
		"price":{"type":"number","minimum":0},
		"done":{"type":"boolean"},
		"due":{"type":"string","format":"date-time"},
		"list":{"type":"string","format":"uuid"},
		"tags":{"type":"array","items":{"type":"string","maxLength":40},"maxItems":20,"uniqueItems":true},
		"address":{"type":"object","properties":{"city":{"type":"string"},"zip":{"type":"string","pattern":"^[0-9]{4,5}$"}}}}}`
	tenFieldRecord = `{"title":"Buy a new fence for the garden","text":"The old one has been falling apart since last winter","status":"open","rank":17,"price":129.5,"done":false,` +
		`"due":"2026-12-01T09:30:00.000Z","list":"0193a1f0-7c3e-7aaa-bbbb-0123456789ab","tags":["garden","wood","spring"],"address":{"city":"Oslo","zip":"0150"}}`
)

func BenchmarkValidate(b *testing.B) {
	s := compile(b, tenFields)
	raw := canonical(b, tenFieldRecord)
	b.ReportAllocs()
	for b.Loop() {
		if s.Validate(raw) != nil {
			b.Fatal("does not fit")
		}
	}
}

// The same through the library.
func BenchmarkValidateInvolved(b *testing.B) {
	s := compile(b, `{"allOf":[`+tenFields+`]}`)
	raw := canonical(b, tenFieldRecord)
	b.ReportAllocs()
	for b.Loop() {
		if s.Validate(raw) != nil {
			b.Fatal("does not fit")
		}
	}
}

func BenchmarkApplyDefaults(b *testing.B) {
	s := compile(b, tenFields)
	raw := canonical(b, tenFieldRecord)
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.ApplyDefaults(dst, raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		compile(b, tenFields)
	}
}

// No schema and no record make it panic, and defaults keep a record canonical.
func FuzzSchema(f *testing.F) {
	f.Add([]byte(tenFields), []byte(tenFieldRecord))
	f.Add([]byte(`{"$ref":"#/$defs/a","$defs":{"a":{"properties":{"x":{"$ref":"#/$defs/a","default":{"y":1}}},"propertyNames":{"maxLength":3}}}}`), []byte(`{"x":{"long name":1}}`))
	f.Add([]byte(`{"oneOf":[{"prefixItems":[{"enum":[1]}],"contains":{"not":{}}},{"if":{},"then":false}],"unevaluatedItems":false}`), []byte(`[1,2]`))
	f.Add([]byte(`{"patternProperties":{"^a":{"readOnly":true}},"dependentRequired":{"a":["b"]},"required":["c"],"multipleOf":0.1,"format":"uri"}`), []byte(`{"a":1}`))
	f.Fuzz(func(t *testing.T, definition, record []byte) {
		raw, err := rawjson.Canonical(nil, record, rawjson.Limits{})
		if err != nil {
			return
		}
		s, err := schema.Compile(definition)
		if err != nil {
			faultsOf(t, err)
			return
		}
		s.Validate(raw)
		s.Forbids([]string{"a", "b"})
		s.ReadOnly()
		out, err := s.ApplyDefaults(nil, raw)
		if err == nil && string(canonical(t, string(out))) != string(out) {
			t.Errorf("with defaults: %s", out)
		}
		again, err := s.ApplyDefaults(nil, out)
		if err == nil && string(again) != string(out) {
			t.Errorf("defaults twice: %s, then %s", out, again)
		}
	})
}
