package expr

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestNumbers: numbers are read as strconv reads them, whatever their spelling.
func TestNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		var text string
		switch r.IntN(4) {
		case 0:
			text = fmt.Sprint(r.Int64() >> r.IntN(64))
		case 1:
			text = fmt.Sprintf("%d.%0*d", r.IntN(1000)-500, 1+r.IntN(15), r.IntN(100_000))
		case 2:
			text = fmt.Sprint(math.Float64frombits(r.Uint64() &^ (1 << 62)))
		case 3:
			text = fmt.Sprintf("-%d.%dE%d", r.IntN(10), r.IntN(1000), r.IntN(40)-20)
		}
		var want float64
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			continue // NaN
		}
		if got := number([]byte(text)); got != want || math.Signbit(got) != math.Signbit(want) {
			t.Fatalf("%s: %v, want %v", text, got, want)
		}
	}
}

// TestStrings: strings are decoded as encoding/json decodes them, and encoded so that it gives them back.
func TestStrings(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	parts := []string{`a`, `é`, `\n`, `\"`, `\\`, `\/`, `\u0041`, `\u00e9`, `\ud83d\ude00`, `\b\f\r\t`, ` `, `日`, `\u0000`, `\ud83d`, `\ude00`, `😀`}
	for range 50_000 {
		text := `"`
		for range r.IntN(6) {
			text += parts[r.IntN(len(parts))]
		}
		text += `"`
		var want string
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		scratch := []byte("before")
		if got := string(unquote([]byte(text), &scratch)); got != want || string(scratch[:6]) != "before" {
			t.Fatalf("%s: %q, want %q", text, got, want)
		}
		var back string
		if err := json.Unmarshal(appendJSONString(nil, []byte(want)), &back); err != nil || back != want {
			t.Fatalf("%q comes back as %q, %v", want, back, err)
		}
	}
}

// TestMembers: each member of an object is found, whatever stands before it.
func TestMembers(t *testing.T) {
	members := map[string]any{
		"a": 1, "b": "x\"}]", "c": []any{1, "]", map[string]any{"a": "}"}}, "": nil, "é\"": true, "d": map[string]any{}, "e": []any{}, "f": -1.5e300,
	}
	raw, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range members {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := member(raw, name); string(got) != string(text) {
			t.Errorf("%q: %s, want %s", name, got, text)
		}
	}
	if got := member(raw, "g"); got != nil {
		t.Errorf("g: %s", got)
	}
	if n := count(raw); n != len(members) {
		t.Errorf("%d members, want %d", n, len(members))
	}
}
