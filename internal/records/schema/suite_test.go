package schema

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"croft/internal/errs"
	"croft/internal/records/rawjson"
)

// TestSuite runs the official test suite of JSON Schema 2020-12, which lies
// beside the checkout where this project is built. REQUIRE_SHARED=1 demands it.
func TestSuite(t *testing.T) {
	dir := suiteFolder(t)
	if dir == "" {
		if os.Getenv("REQUIRE_SHARED") == "1" {
			t.Fatal("REQUIRE_SHARED=1, but there is no ../shared/data/json-schema-test-suite beside the checkout")
		}
		t.Skip("SKIPPED: the official JSON Schema test suite is not at ../shared/data/json-schema-test-suite beside the checkout")
	}
	var files []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".json") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	ran, quick, differ := 0, 0, 0
	for _, file := range files {
		name, _ := filepath.Rel(dir, file)
		name = filepath.ToSlash(strings.TrimSuffix(name, ".json"))
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var groups []struct {
			Description string
			Schema      json.RawMessage
			Tests       []struct {
				Description string
				Data        json.RawMessage
				Valid       bool
			}
		}
		if err := json.Unmarshal(raw, &groups); err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			group := name + ": " + g.Description
			s, err := Compile(g.Schema)
			if err != nil {
				if !explained(name, codesOf(t, err), used) {
					t.Errorf("%s: refused: %v", group, err)
				}
				differ += len(g.Tests)
				continue
			}
			for _, tt := range g.Tests {
				test := group + ": " + tt.Description
				data, err := rawjson.Canonical(nil, tt.Data, rawjson.Limits{})
				if err != nil {
					if differs(test, used) == "" {
						t.Errorf("%s: not a value that Croft keeps: %v", test, err)
					}
					differ++
					continue
				}
				ran++
				faults := s.Validate(data)
				if s.whole == nil {
					quick++
					slow := slowly(t, g.Schema)
					if other := slow.slow(data); !slices.Equal(other, faults) {
						t.Errorf("%s: the two ways differ:\n quick: %v\n slow:  %v", test, faults, other)
					}
				}
				if (len(faults) == 0) != tt.Valid {
					if differs(test, used) == "" {
						t.Errorf("%s: valid is %v, but found %v", test, tt.Valid, faults)
					}
					differ++
				}
			}
		}
	}
	for _, r := range refusals {
		if !used[r.code] {
			t.Errorf("listed as refused, but nothing is: %s", r.code)
		}
	}
	for what := range differences {
		if !used[what] {
			t.Errorf("listed as a difference, but is none: %s", what)
		}
	}
	t.Logf("%d cases ran, %d of them both ways; %d differ for a listed reason", ran, quick, differ)
	if ran < 1500 {
		t.Error("that is too few to be the suite")
	}
}

// suiteFolder is the suite's folder beside the checkout, "" if it isn't there.
func suiteFolder(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return ""
	}
	dir = filepath.Join(dir, "..", "shared", "data", "json-schema-test-suite", "tests", "draft2020-12")
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

func codesOf(t *testing.T, err error) []string {
	t.Helper()
	var e *errs.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		t.Fatalf("odd error %v", err)
	}
	var codes []string
	for _, f := range e.Fields {
		codes = append(codes, f.Code)
	}
	return codes
}

// slowly compiles a schema so that it goes the slow way, however plain it is.
func slowly(t testing.TB, raw []byte) *Schema {
	t.Helper()
	s, err := Compile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if s.whole != nil {
		return s
	}
	canonical, err := rawjson.Canonical(nil, raw, rawjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	lib, err := newLibrary(canonical, patternsOf(s))
	if err != nil {
		t.Fatal(err)
	}
	if s.whole, err = lib.at(""); err != nil {
		t.Fatal(err)
	}
	if s.denied, err = lib.compiler.Compile(deniedURL); err != nil {
		t.Fatal(err)
	}
	return s
}
