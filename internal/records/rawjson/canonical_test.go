package rawjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"croft/internal/records/rawjson"
)

// A record of some 300 bytes and 12 fields, as the benchmarks of the design use.
const record = `{"id":"0193a1f0-7c3e-7aaa-bbbb-0123456789ab","rev":"5f3","created":"2026-11-20T09:30:00.000Z",` +
	`"updated":"2026-11-20T09:30:00.000Z","owner":"0193a1f0-7c3e-7aaa-bbbb-0123456789ff","title":"Buy a new fence",` +
	`"status":"open","rank":17,"price":12.5,"done":false,"tags":["garden","wood"],"address":{"city":"Oslo","zip":"0150"}}`

func TestCanonical(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`null`, `null`}, {` true `, `true`}, {"\tfalse\r\n", `false`},
		{`""`, `""`}, {`"a b"`, `"a b"`}, {`"\u00e9\u20ac"`, `"é€"`}, {`"\ud83d\ude00"`, `"😀"`},
		{`"\/\"\\\b\f\n\r\t"`, `"/\"\\\b\f\n\r\t"`}, {`"\u0008\u000A\u0000\u001f\u007f"`, `"\b\n\u0000\u001f` + "\x7f\""},
		{`"\u2028<&>"`, "\"\u2028<&>\""},
		{`[ ]`, `[]`}, {`{ }`, `{}`}, {`[ 1 , 2,[ 3 ] ]`, `[1,2,[3]]`},
		{`{ "b" : 1 , "a" : { "b" : 2 } }`, `{"b":1,"a":{"b":2}}`},
		{`{"\u0061":1,"":2}`, `{"a":1,"":2}`},
		{`[{"a":1},{"a":1}]`, `[{"a":1},{"a":1}]`},

		{`0`, `0`}, {`-0`, `0`}, {`0.0`, `0`}, {`-0.0e5`, `0`}, {`0e99999999999999999999`, `0`},
		{`1.10`, `1.1`}, {`1.0`, `1`}, {`-1.500`, `-1.5`}, {`0.1`, `0.1`}, {`0.01`, `0.01`}, {`0.000001`, `0.000001`},
		{`0.0000001`, `1e-7`}, {`0.00000010`, `1e-7`}, {`1E2`, `100`}, {`1e+2`, `100`}, {`12e-1`, `1.2`}, {`1e20`, `100000000000000000000`},
		{`1e21`, `1e+21`}, {`1000000000000000000000`, `1e+21`}, {`1.5e300`, `1.5e+300`}, {`5e-324`, `5e-324`},
		{`1.7976931348623157e308`, `1.7976931348623157e+308`},
		{`9007199254740992`, `9007199254740992`}, {`9007199254740994`, `9007199254740994`},
		{`1152921504606847000`, `1152921504606847000`}, {`123456789012345`, `123456789012345`},
		{`0.1000000000000000000000`, `0.1`}, {`100000e-5`, `1`},
	} {
		got, err := rawjson.Canonical([]byte("before"), []byte(tt.in), rawjson.Limits{})
		if err != nil || string(got) != "before"+tt.want {
			t.Errorf("Canonical(%s) = %s, %v; want %s", tt.in, got, err, tt.want)
			continue
		}
		if err := rawjson.Validate([]byte(tt.in), rawjson.Limits{}); err != nil {
			t.Errorf("Validate(%s): %v", tt.in, err)
		}
	}
}

func TestRefused(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	many := `{"a":{`
	for i := range 100 {
		many += fmt.Sprintf(`"k%d":1,`, i)
	}
	many += `"k50":2}}`

	for _, tt := range []struct {
		in      string
		code    string
		pointer string
		offset  int
	}{
		{``, "invalid_json", "", 0}, {`  `, "invalid_json", "", 2}, {`tru`, "invalid_json", "", 0}, {`nul1`, "invalid_json", "", 0},
		{`hello`, "invalid_json", "", 0}, {`'a'`, "invalid_json", "", 0}, {"\ufeff1", "invalid_json", "", 0}, {"\x001", "invalid_json", "", 0},
		{`{`, "invalid_json", "", 1}, {`[`, "invalid_json", "/0", 1}, {`[1`, "invalid_json", "", 2}, {`[1,]`, "invalid_json", "/1", 3},
		{`[1 2]`, "invalid_json", "", 3}, {`{"a"}`, "invalid_json", "", 4}, {`{"a":}`, "invalid_json", "/a", 5}, {`{"a":1,}`, "invalid_json", "", 7},
		{`{a:1}`, "invalid_json", "", 1}, {`{"a":1 "b":2}`, "invalid_json", "", 7}, {`[1}`, "invalid_json", "", 2}, {`/* */1`, "invalid_json", "", 0},
		{`"abc`, "invalid_json", "", 4}, {`"a` + "\n" + `"`, "invalid_json", "", 2}, {`"\x"`, "invalid_json", "", 1}, {`"\u12g4"`, "invalid_json", "", 1},
		{`"\`, "invalid_json", "", 1}, {`"\u12`, "invalid_json", "", 1},
		{`01`, "invalid_json", "", 0}, {`-`, "invalid_json", "", 1}, {`-a`, "invalid_json", "", 1}, {`1.`, "invalid_json", "", 2}, {`1.e1`, "invalid_json", "", 2},
		{`1e`, "invalid_json", "", 2}, {`1e+`, "invalid_json", "", 3}, {`.5`, "invalid_json", "", 0}, {`+1`, "invalid_json", "", 0}, {`NaN`, "invalid_json", "", 0},
		{"\"a\xffb\"", "invalid_utf8", "", 2}, {"\"\xed\xa0\x80\"", "invalid_utf8", "", 1}, {"\"\xc0\x80\"", "invalid_utf8", "", 1},
		{"{\"\xff\":1}", "invalid_utf8", "", 2},
		{`"\ud800"`, "invalid_utf8", "", 1}, {`"\ude00\ud83d"`, "invalid_utf8", "", 1}, {`"\ud83d\u0061"`, "invalid_utf8", "", 1}, {`"\ud83d"`, "invalid_utf8", "", 1},
		{`{"a":1,"a":2}`, "duplicate_key", "/a", 7}, {`{"a":1,"\u0061":2}`, "duplicate_key", "/a", 7}, {`[0,{"x":{"a/~b":1,"c":2,"a/~b":1}}]`, "duplicate_key", "/1/x/a~1~0b", 24},
		{`{"":1,"":2}`, "duplicate_key", "/", 6}, {many, "duplicate_key", "/a/k50", strings.LastIndex(many, `"k50"`)},
		{deep(65), "too_deep", strings.Repeat("/0", 64), 64}, {`1 2`, "trailing_data", "", 2}, {`{}}`, "trailing_data", "", 2}, {"1\x00", "trailing_data", "", 1},
		{`9007199254740993`, "number_range", "", 0}, {`[1,1e999]`, "number_range", "/1", 3}, {`-1e999999999999999999999`, "number_range", "", 0},
		{`0.1000000000000000055511`, "number_range", "", 0}, {`1e-999`, "number_range", "", 0}, {`123456789012345678`, "number_range", "", 0},
		{`1152921504606846976`, "number_range", "", 0},
		{`3e-324`, "number_range", "", 0}, {`1.7976931348623159e308`, "number_range", "", 0}, {`{"n":9007199254740993}`, "number_range", "/n", 5},
		{"0." + strings.Repeat("0", 500) + "1e501", "", "", 0},
	} {
		out, err := rawjson.Canonical(nil, []byte(tt.in), rawjson.Limits{})
		if tt.code == "" {
			if err != nil {
				t.Errorf("Canonical(%.40s): %v", tt.in, err)
			}
			continue
		}
		var e *rawjson.Error
		if !errors.As(err, &e) {
			t.Errorf("Canonical(%.40s) = %s, %v; want an error", tt.in, out, err)
			continue
		}
		if e.Code != tt.code || e.Pointer != tt.pointer || e.Offset != tt.offset || e.Msg == "" || len(e.Error()) < len(e.Msg) {
			t.Errorf("Canonical(%.40s) = %+v; want %s at %q, byte %d", tt.in, e, tt.code, tt.pointer, tt.offset)
		}
		if rawjson.Validate([]byte(tt.in), rawjson.Limits{}) == nil {
			t.Errorf("Validate(%.40s) passes", tt.in)
		}
	}
	if _, err := rawjson.Canonical(nil, []byte(deep(64)), rawjson.Limits{}); err != nil {
		t.Errorf("64 levels: %v", err)
	}
}

func TestLimits(t *testing.T) {
	var e *rawjson.Error
	if err := rawjson.Validate([]byte(`[[1]]`), rawjson.Limits{Depth: 1}); !errors.As(err, &e) || e.Code != "too_deep" {
		t.Errorf("two levels of one: %v", err)
	}
	if err := rawjson.Validate([]byte(`[1]`), rawjson.Limits{Depth: 1}); err != nil {
		t.Error(err)
	}
	for in, pointer := range map[string]string{`{"$a":1}`: "/$a", `{"a":[{"\u0024":1}]}`: "/a/0/$"} {
		if err := rawjson.Validate([]byte(in), rawjson.Limits{NoDollar: true}); !errors.As(err, &e) || e.Code != "reserved_name" || e.Pointer != pointer {
			t.Errorf("%s: %v", in, err)
		}
		if err := rawjson.Validate([]byte(in), rawjson.Limits{}); err != nil {
			t.Error(err)
		}
	}
}

// What a double prints as is kept, and read back as the same double.
func TestNumbersSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
		if rapid.Bool().Draw(t, "plain") {
			f = rapid.Float64Range(-1e6, 1e6).Draw(t, "f")
		}
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return
		}
		format := rapid.SampledFrom([]byte("efg")).Draw(t, "format")
		text := strconv.FormatFloat(f, format, -1, 64)
		got, err := rawjson.Canonical(nil, []byte(text), rawjson.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if want := string(rawjson.AppendNumber(nil, f)); string(got) != want {
			t.Fatalf("%s became %s, not %s", text, got, want)
		}
		back, ok := rawjson.Number(got)
		if !ok || back != f {
			t.Fatalf("%s reads as %v", got, back)
		}
		want, _ := json.Marshal(f)
		if f != 0 && string(want) != string(got) {
			t.Fatalf("%s is spelled %s by encoding/json", got, want)
		}
	})
}

// Decimals with random digits: kept exactly when the shortest spelling of the
// nearest double is the same number, whichever way the number takes inside.
func TestNumbersExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?`).Draw(t, "number")
		got, err := rawjson.Canonical(nil, []byte(text), rawjson.Limits{})
		f, perr := strconv.ParseFloat(text, 64)
		keeps := perr == nil && sameDecimal(text, strconv.FormatFloat(f, 'e', -1, 64))
		if keeps != (err == nil) {
			t.Fatalf("%s: kept exactly is %v, but Canonical gives %s, %v", text, keeps, got, err)
		}
		if keeps && string(got) != string(rawjson.AppendNumber(nil, f)) {
			t.Fatalf("%s became %s", text, got)
		}
	})
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{record, `[1,2.50,-0,1e21]`, `{"a":"\ud83d\ude00\n","a":1}`, `"` + "\xff" + `"`, `[[[]]] x`, `{"a\"b":{"c":[true,null]}}`, `123456789012345678`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		walkAll(src) // must stand anything
		out, err := rawjson.Canonical(nil, src, rawjson.Limits{})
		if (rawjson.Validate(src, rawjson.Limits{}) == nil) != (err == nil) {
			t.Fatal("Validate and Canonical differ")
		}
		if err != nil {
			var e *rawjson.Error
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(src) {
				t.Fatalf("odd error %#v", err)
			}
			if _, ok := rawjson.SplitPointer(e.Pointer); !ok {
				t.Fatalf("odd pointer %q", e.Pointer)
			}
			return
		}
		var want, got any
		if err := json.Unmarshal(src, &want); err != nil {
			t.Fatalf("encoding/json refuses what we accept: %v", err)
		}
		if err := json.Unmarshal(out, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s reads as %v, %v; not %v", out, got, err, want)
		}
		if again, err := rawjson.Canonical(nil, out, rawjson.Limits{}); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("canonical of canonical: %s, %v", again, err)
		}
		if walked := walkAll(out); !reflect.DeepEqual(walked, want) {
			t.Fatalf("walked %v, want %v", walked, want)
		}
		if !rawjson.Equal(out, out) {
			t.Fatal("not equal to itself")
		}
	})
}

func BenchmarkCanonical(b *testing.B) {
	src := []byte(record)
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if _, err := rawjson.Canonical(dst, src, rawjson.Limits{NoDollar: true}); err != nil {
			b.Fatal(err)
		}
	}
}
