package cli

import (
	"bytes"
	"strings"
	"testing"

	"croft/internal/backup"
)

// People are told so many faults that what there is to do is still on the screen.
func TestReportOfManyFaults(t *testing.T) {
	for found, want := range map[int]string{
		3:   "a page is gone\nRestore a backup",
		20:  "a page is gone\nRestore a backup",
		21:  "and 1 more; --json lists the first 21\nRestore a backup",
		387: "and 367 more; --json lists the first 100\nRestore a backup",
	} {
		r := &backup.Report{File: "croft.db", FaultsTotal: uint64(found)}
		for range min(found, 100) {
			r.Faults = append(r.Faults, backup.Fault{Where: "page 7", What: "a page is gone"})
		}
		var out bytes.Buffer
		if err := (&program{stdout: &out}).printReport(r); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(out.String(), "\n"); !strings.Contains(out.String(), want) || lines > 24 {
			t.Errorf("%d faults:\n%s", found, out.String())
		}
	}
}
