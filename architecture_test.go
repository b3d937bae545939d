package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestRanks holds the packages to the table of ARCHITECTURE.md: one imports only what stands below it.
func TestRanks(t *testing.T) {
	ranks := map[string]int{}
	rows := regexp.MustCompile("(?m)^\\| (\\d+) \\| `(internal/[a-z/]+)` \\|")
	for _, row := range rows.FindAllStringSubmatch(read(t, "ARCHITECTURE.md"), -1) {
		ranks["croft/"+row[2]], _ = strconv.Atoi(row[1])
	}
	forTests := map[string]bool{
		"croft/internal/store/storetest": true, "croft/internal/store/faultfs": true, "croft/internal/app/apptest": true,
		"croft/internal/proof": true, "croft/internal/needs": true, "croft/internal/https/pebbletest": true, "croft/packaging": true,
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if p.ImportPath == "croft" {
			for _, imported := range p.Imports {
				if strings.HasPrefix(imported, "croft/") && imported != "croft/internal/cli" {
					t.Errorf("main imports %s; it hands over to cli alone", imported)
				}
			}
			continue
		}
		if forTests[p.ImportPath] {
			continue
		}
		rank, ok := ranks[p.ImportPath]
		if !ok {
			t.Errorf("%s has no rank in ARCHITECTURE.md", p.ImportPath)
			continue
		}
		seen++
		for _, imported := range p.Imports {
			switch below, ok := ranks[imported]; {
			case imported == "go.etcd.io/bbolt" && p.ImportPath != "croft/internal/store":
				t.Errorf("%s imports bbolt; only the store does", p.ImportPath)
			case forTests[imported]:
				t.Errorf("%s imports %s, which is for tests", p.ImportPath, imported)
			case ok && below <= rank:
				t.Errorf("%s (%d) imports %s (%d), which does not stand below it", p.ImportPath, rank, imported, below)
			}
		}
	}
	if seen != len(ranks) {
		t.Errorf("ARCHITECTURE.md ranks %d packages, %d are there", len(ranks), seen)
	}
}

// TestDependencies wants a reason in ARCHITECTURE.md for each module that is required, and none for others.
func TestDependencies(t *testing.T) {
	text := read(t, "ARCHITECTURE.md")
	reasons := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z]+\\.[^`]+)` \\|").FindAllStringSubmatch(text, -1) {
		reasons[row[1]] = true
	}
	for line := range strings.Lines(read(t, "go.mod")) {
		f := strings.Fields(line)
		if len(f) < 2 || !strings.HasPrefix(f[1], "v") || strings.HasSuffix(strings.TrimSpace(line), "// indirect") && f[0] != "honnef.co/go/tools" {
			continue
		}
		if !reasons[f[0]] {
			t.Errorf("%s is required and has no reason in ARCHITECTURE.md", f[0])
		}
		delete(reasons, f[0])
	}
	for module := range reasons {
		t.Errorf("%s has a reason in ARCHITECTURE.md and is not required", module)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
