package schema_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"croft/internal/errs"
	"croft/internal/records/rawjson"
	"croft/internal/records/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", file, diff)
	}
}

func compile(t testing.TB, raw string) *schema.Schema {
	t.Helper()
	s, err := schema.Compile([]byte(raw))
	if err != nil {
		for _, f := range faultsOf(t, err) {
			t.Logf("%+v", f)
		}
		t.Fatalf("Compile(%.200s): %v", raw, err)
	}
	return s
}

func faultsOf(t testing.TB, err error) []errs.Field {
	t.Helper()
	var e *errs.Error
	if !errors.As(err, &e) || e.Code != errs.Invalid || len(e.Fields) == 0 {
		t.Fatalf("odd error %#v", err)
	}
	return e.Fields
}

func canonical(t testing.TB, raw string) []byte {
	t.Helper()
	b, err := rawjson.Canonical(nil, []byte(raw), rawjson.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return b
}

func list(b *strings.Builder, fields []errs.Field) {
	for _, f := range fields {
		fmt.Fprintf(b, "  %s  %s  [%s]\n", shortened(f.Pointer), f.Message, f.Code)
	}
	if len(fields) == 0 {
		b.WriteString("  fits\n")
	}
}

func shortened(pointer string) string {
	if pointer == "" {
		return `""`
	}
	if len(pointer) > 60 {
		return pointer[:60] + "…"
	}
	return pointer
}

// Every keyword's words, the quick way and the library's.
func TestWords(t *testing.T) {
	var b strings.Builder
	for _, c := range []struct {
		schema  string
		records []string
	}{
		{`{"type":"object"}`, []string{`[]`, `{}`}},
		{`{"properties":{"s":{"type":"string"},"n":{"type":"number"},"i":{"type":"integer"},"b":{"type":"boolean"},"l":{"type":"array"},"o":{"type":"object"},"z":{"type":"null"},"sn":{"type":["string","null"]},"nis":{"type":["null","integer","number","string"]}}}`,
			[]string{`{"s":1,"n":"x","i":1.5,"b":null,"l":{},"o":[],"z":true,"sn":[],"nis":false}`, `{"s":"","n":1.5,"i":1e30,"b":false,"l":[],"o":{},"z":null,"sn":null,"nis":2}`}},
		{`{"required":["title","due"],"properties":{"title":{},"a/b":{"required":["c~d"]}}}`, []string{`{"a/b":{}}`}},
		{`{"properties":{"title":{},"status":{}},"additionalProperties":false}`, []string{`{"titel":1,"statsu":2,"something":3}`}},
		{`{"properties":{"a":{"minLength":3},"b":{"minLength":1},"c":{"maxLength":2},"d":{"pattern":"^[a-z]+$"},"e":{"pattern":"^(one|two|three|four|five|six|seven|eight|nine)$"}}}`,
			[]string{`{"a":"éé","b":"","c":"ééé","d":"A","e":"ten"}`, `{"a":"\n\"\\","b":"x","c":"\u0001é","d":"abc","e":"one"}`}},
		{`{"properties":{"a":{"minimum":1},"b":{"maximum":2.5},"c":{"exclusiveMinimum":0},"d":{"exclusiveMaximum":1e21},"e":{"multipleOf":0.01},"f":{"multipleOf":3}}}`,
			[]string{`{"a":0.5,"b":3,"c":0,"d":1e21,"e":0.015,"f":4}`, `{"a":1,"b":2.5,"c":1e-9,"d":-1,"e":19.99,"f":9007199254740990}`}},
		{`{"properties":{"a":{"enum":["open","done"]},"b":{"enum":[1]},"c":{"const":null},"d":{"const":{"a":[1,"x"]}},"e":{"enum":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,"a value so long that nobody wants to read all of it"]},"f":{"const":"a value so long that nobody wants to read all of it"}}}`,
			[]string{`{"a":"secret","b":2,"c":0,"d":{"a":[1,"y"]},"e":0,"f":""}`, `{"a":"done","b":1,"c":null,"d":{"a":[1,"x"]},"e":14}`}},
		{`{"properties":{"l":{"minItems":2,"items":{"type":"string","minLength":2}},"m":{"maxItems":1},"u":{"uniqueItems":true}}}`,
			[]string{`{"l":["x"],"m":[1,2],"u":[{"a":1,"b":2},3,{"b":2,"a":1}]}`, `{"l":["xx",1,2,3,4,5,6,7,8,9,10,"x"]}`}},
		{`{"minProperties":2,"properties":{"o":{"maxProperties":0}}}`, []string{`{"o":{"a":1}}`}},
		{`{"properties":{"a":{"format":"date-time"},"b":{"format":"date"},"c":{"format":"time"},"d":{"format":"email"},"e":{"format":"uuid"},"f":{"format":"uri"},"g":{"format":"uri-reference"},"h":{"format":"hostname"},"i":{"format":"ipv4"},"j":{"format":"ipv6"},"k":{"format":"duration"},"l":{"format":"json-pointer"},"m":{"format":"relative-json-pointer"},"n":{"format":"regex"},"o":{"format":"uri-template"},"p":{"format":"iri"},"q":{"format":"iri-reference"}}}`,
			[]string{`{"a":"x","b":"2026-02-29","c":"24:00:00Z","d":"@x.org","e":"-","f":"/a","g":"a b","h":"-","i":"+1.2.3.4","j":":","k":"P","l":"a","m":"/","n":"(","o":"{","p":"x","q":"a b"}`, `{"a":1}`}},
		{`{"properties":{"no":false,"never":{"not":{}}}}`, []string{`{"no":1,"never":2}`}},
		{`false`, []string{`{}`}},
		{`true`, []string{`{"a":1}`}},

		// From here on only the library knows them.
		{`{"anyOf":[{"required":["a"]},{"required":["b","c"]}]}`, []string{`{}`, `{"a":1}`}},
		{`{"properties":{"v":{"anyOf":[{"type":"string"},{"type":"null"}]},"w":{"anyOf":[{"type":"string","minLength":3},{"type":"null"}]},"x":{"oneOf":[{"type":"integer"},{"type":"number","minimum":5}]}}}`,
			[]string{`{"v":1,"w":"a","x":7}`, `{"v":null,"w":"abc","x":1}`}},
		{`{"oneOf":[{"properties":{"kind":{"const":"dog"},"barks":{"type":"boolean"}},"required":["kind","barks"]},{"properties":{"kind":{"const":"cat"},"lives":{"type":"integer","maximum":9}},"required":["kind","lives"]}]}`,
			[]string{`{"kind":"cat","lives":10}`, `{"kind":"cow"}`, `{"kind":"cat"}`}},
		{`{"allOf":[{"required":["a"]},{"properties":{"b":{"minimum":1}}}],"properties":{"b":{"$ref":"#/$defs/small"}},"$defs":{"small":{"maximum":-1}}}`, []string{`{"b":0}`}},
		{`{"if":{"properties":{"paid":{"const":true}},"required":["paid"]},"then":{"required":["paid_on"]},"else":{"required":["due"]}}`, []string{`{"paid":true}`, `{}`}},
		{`{"dependentRequired":{"card":["name","address"]},"dependentSchemas":{"card":{"properties":{"card":{"type":"string"}}}},"dependencies":{"card":["owner_name"]}}`, []string{`{"card":1}`}},
		{`{"properties":{"list":{"contains":{"const":1},"minContains":2,"maxContains":3},"some":{"contains":{"type":"string"}}}}`, []string{`{"list":[1,2],"some":[1]}`, `{"list":[1,1,1,1],"some":["x"]}`}},
		{`{"properties":{"a":{"propertyNames":{"pattern":"^[a-z]+$"}},"b":{"propertyNames":{"maxLength":2}},"c":{"type":"string"}}}`, []string{`{"a":{"Bad":1},"b":{"abc":1},"c":"x"}`}},
		{`{"allOf":[{"properties":{"name":{}}}],"properties":{"title":{}},"unevaluatedProperties":false}`, []string{`{"name":1,"title":2,"titel":3}`}},
		{`{"properties":{"l":{"prefixItems":[{"type":"string"},{"type":"integer"}],"unevaluatedItems":false},"p":{"patternProperties":{"^n_":{"type":"number"}},"additionalProperties":false}}}`, []string{`{"l":[1,"x",2],"p":{"n_a":"x","m":1}}`}},
		{`{"properties":{"children":{"type":"array","items":{"$ref":"#"}},"name":{"type":"string"}},"required":["name"],"additionalProperties":false}`,
			[]string{`{"name":"a","children":[{"name":"b","children":[{"nam":"c"}]}]}`}},
	} {
		s := compile(t, c.schema)
		fmt.Fprintf(&b, "%s\n", c.schema)
		for _, r := range c.records {
			fmt.Fprintf(&b, " %s\n", r)
			list(&b, s.Validate(canonical(t, r)))
		}
		b.WriteByte('\n')
	}
	golden(t, "words.golden", b.String())
}

// What can't be a collection's schema, and how its author is told.
func TestRefused(t *testing.T) {
	var b strings.Builder
	for _, raw := range []string{
		`{`, `{"type":"object","type":"object"}`, `5`, `"string"`, `[]`, `null`,
		`{"type":"strin"}`, `{"type":5,"properties":[],"required":"a","minLength":-1,"items":7}`,
		`{"properties":{"a":{"type":["string","string"]},"b":{"enum":1},"c":{"pattern":5}}}`,
		`{"requierd":["a"],"properties":{"a":{"nullable":true,"minlength":3,"x-note":1,"example":2}}}`,
		`{"$schema":"http://json-schema.org/draft-07/schema#"}`,
		`{"properties":{"a":{"$ref":"https://example.org/other.json"},"b":{"$ref":"other.json#/a"},"c":{"$dynamicRef":"https://example.org/x#y"},"d":{"$ref":"file:///etc/passwd"},"e":{"$ref":"https://json-schema.org/draft/2020-12/schema"}}}`,
		`{"properties":{"a":{"$ref":"#/$defs/nope"},"b":{"$ref":"#nope"},"c":{"$ref":"#/properties"},"d":{"$ref":"#/%zz"},"e":{"$ref":"#/~5"},"f":{"$ref":"#/properties/a/$ref"}}}`,
		`{"properties":{"a":{"$id":"https://example.org/a"}},"$id":"https://json-schema.org/draft/2020-12/schema"}`,
		`{"$defs":{"a":{"$anchor":"x"},"b":{"$anchor":"x"}}}`,
		`{"$ref":"#"}`, `{"properties":{"a":{"$ref":"#/properties/b"},"b":{"anyOf":[{"type":"string"},{"$ref":"#/properties/a"}]}}}`, `{"not":{"$ref":"#"}}`,
		`{"properties":{"a":{"format":"e-mail"},"b":{"format":"credit-card"}}}`,
		`{"properties":{"a":{"pattern":"(?=x)"},"b":{"pattern":"("},"c":{"pattern":"((a{100}){100}){100}"},"d":{"pattern":"[a-z]{900}[a-z]{900}[a-z]{900}[a-z]{900}[a-z]{900}"}},"patternProperties":{"(?!x)":{}}}`,
		`{"properties":{"a":{"pattern":"` + strings.Repeat("x", 1001) + `"}}}`,
		`{"properties":{"id":{},"rev":{},"title":{}},"required":["title","owner"],"allOf":[{"properties":{"created":{}}}]}`,
		`{"properties":{"$a":{},"b":{"default":{"$c":[{"$d":1}]}}}}`,
		`{"properties":{"a":{"type":"integer","default":"x"},"b":{"default":{},"properties":{"c":{"type":"string","default":1}}},"d":{"type":"array","items":{"default":5,"anyOf":[{"type":"string"},{"type":"null"}]}}}}`,
		`{"properties":{"a":{"$ref":"#","default":{}}}}`,
		`{"readOnly":true}`, `{"properties":{"a":{"items":{"readOnly":true}},"b":{"anyOf":[{"readOnly":true}]},"c":{"properties":{"d":{"readOnly":true}}}}}`,
		`{"properties":{"a":{"$ref":"#"},"b":{"readOnly":true}}}`,
		`{"minLength":1e10,"properties":{"a":{"minimum":9007199254740993}}}`, `{"maxItems":1e10}`,
		strings.Repeat(`{"items":`, 70) + `{}` + strings.Repeat(`}`, 70),
		`{"description":"` + strings.Repeat("x", 1<<20) + `"}`,
		`{"allOf":[` + strings.TrimSuffix(strings.Repeat(`{},`, 6000), ",") + `]}`,
		doubling(20),
	} {
		s, err := schema.Compile([]byte(raw))
		if err == nil {
			t.Errorf("%.100s: compiles to %v", raw, s)
			continue
		}
		if len(raw) > 400 {
			raw = raw[:60] + "…"
		}
		fmt.Fprintf(&b, "%s\n", raw)
		list(&b, faultsOf(t, err))
		b.WriteByte('\n')
	}
	golden(t, "refused.golden", b.String())
}

// doubling is a schema whose references multiply without recursion.
func doubling(n int) string {
	defs := ""
	for i := range n {
		defs += fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	return fmt.Sprintf(`{"$ref":"#/$defs/d0","$defs":{%s"d%d":{}}}`, defs, n)
}
