package api_test

import (
	"testing"

	"croft/internal/app/apptest"
)

// TestCheck has a server check its own file while it runs.
func TestCheck(t *testing.T) {
	s := apptest.Start(t)
	s.Define("notes", `{"indexes":[{"name":"by_t","fields":["t"]}]}`)
	s.Admin().Do("POST", "/api/v1/records/notes", `{"t":"one"}`).Want(t, 201)
	var r struct {
		File        string
		OK          bool
		Entries     int
		Collections []struct {
			Name             string
			Records, Damaged int
		}
		Users       int
		Faults      []any
		FaultsTotal int `json:"faults_total"`
	}
	s.Admin().Do("POST", "/api/v1/check", nil).Want(t, 200).JSON(&r)
	if r.File != s.Config.Data || !r.OK || r.Entries < 8 || r.Users != 1 || r.Faults == nil || len(r.Faults)+r.FaultsTotal != 0 {
		t.Errorf("the report: %+v", r)
	}
	if len(r.Collections) != 1 || r.Collections[0].Name != "notes" || r.Collections[0].Records != 1 || r.Collections[0].Damaged != 0 {
		t.Errorf("collections: %+v", r.Collections)
	}
	s.Admin().Do("POST", "/api/v1/check?deep=true", nil).Want(t, 400)
}
