//go:build linux

package api_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"croft/internal/app/apptest"
	"croft/internal/config"
	"croft/internal/needs"
)

// On a full disk writes are refused and reads go on; when there is room again, so do writes, and nothing is half there.
func TestFullDisk(t *testing.T) {
	t.Run("to the last page", func(t *testing.T) { fullDisk(t, 0, 3) })
	t.Run("to the reserve", func(t *testing.T) { fullDisk(t, 64, 68) })
}

func fullDisk(t *testing.T, reserve, size int) {
	dir := needs.Disk(t, size)
	data := filepath.Join(dir, "croft.db")
	s := apptest.StartAt(t, data, apptest.Config(func(c *config.Config) { c.Limits.DiskReserve = config.Bytes(reserve << 20) }))
	local := s.Local()
	local.Do("PUT", "/api/v1/collections/notes", open).Want(t, 201)
	body := fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 50_000))
	stored, first := 0, ""
	for {
		r := local.Do("POST", "/api/v1/records/notes", body)
		if r.Status == 507 {
			if p := r.Problem(); p.Code != "disk_full" || !strings.Contains(p.Detail, "room") {
				t.Errorf("problem: %s", r.Body)
			}
			break
		}
		if first == "" {
			first = r.Want(t, 201).String("id")
		}
		r.Want(t, 201)
		if stored++; stored > 200 {
			t.Fatal("10 MB went onto a disk of some 3 MiB")
		}
	}
	for range 5 {
		local.Do("POST", "/api/v1/records/notes", body)
	}
	if n := strings.Count(s.Log.String(), `level=WARN msg="the disk is too full for a request"`); n != 1 {
		t.Errorf("the log, which may be on the full disk too, tells of it %d times in a moment", n)
	}
	count := func() int {
		var all struct{ Count int }
		local.Do("GET", "/api/v1/records/notes?count=true&fields=id", nil).Want(t, 200).JSON(&all)
		return all.Count
	}
	if got := count(); got != stored {
		t.Errorf("%d records, and %d were acknowledged", got, stored)
	}
	if reserve > 0 {
		// The reserve is for this.
		local.Do("DELETE", "/api/v1/records/notes/"+first, nil).Want(t, 204)
		stored--
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%dm,mode=0700", size+40)); err != nil {
		t.Fatal(err)
	}
	local.Do("POST", "/api/v1/records/notes", body).Want(t, 201)
	if got := count(); got != stored+1 {
		t.Errorf("%d records after there was room again, want %d", got, stored+1)
	}
	if err := s.Stop(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
}
