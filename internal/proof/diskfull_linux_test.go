package proof

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"croft/internal/needs"
)

// TestDiskFull fills the disk. Writes are refused in words, reads and deletes go on, and service resumes by itself: when there is
// more disk, and when enough was deleted.
func TestDiskFull(t *testing.T) {
	dir := needs.Disk(t, 96)
	data := filepath.Join(dir, "croft.db")
	s := start(t, binary(t, croft), data)
	token := s.prepare(t)
	large := strings.Repeat("all work and no play ", 25_000) // half a megabyte
	stored := map[int]bool{}
	create := func(n int) answer {
		t.Helper()
		a, err := s.do("PUT", fmt.Sprintf("/records/notes/r%d", n), token, content{n, n % groups, fmt.Sprint("r", n), large})
		if err != nil {
			t.Fatalf("%v\n%s", err, s.log.String())
		}
		if a.status == http.StatusCreated {
			stored[n] = true
		}
		return a
	}
	made := 0
	fillUp := func(most int) {
		t.Helper()
		for began := made; ; {
			made++
			a := create(made)
			if a.status == http.StatusInsufficientStorage {
				if a.code() != "disk_full" {
					t.Errorf("problem: %s", a.body)
				}
				return
			}
			if err := a.wants(http.StatusCreated); err != nil {
				t.Fatal(err)
			}
			if made-began > most {
				t.Fatalf("%d records of half a megabyte went onto the disk", made-began)
			}
		}
	}
	verify := func() {
		t.Helper()
		found, err := s.list("/records/notes?limit=500&count=true", token)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != len(stored) {
			t.Errorf("%d records, want %d", len(found), len(stored))
		}
		for _, r := range found {
			if !stored[r.N] || r.Text != large {
				t.Errorf("record %s is not one that was acknowledged", r.ID)
			}
		}
	}
	fillUp(200)
	verify()
	full := len(stored)

	// It gets larger.
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=160m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	larger := resumes(t, func() answer { made++; return create(made) })
	fillUp(300)
	verify()
	again := len(stored)

	// Or things are deleted: all of them can be.
	for n := range stored {
		if n%3 > 0 {
			continue
		}
		a, err := s.do("DELETE", fmt.Sprintf("/records/notes/r%d", n), token, nil)
		if err = errors.Join(err, a.wants(http.StatusNoContent)); err != nil {
			t.Fatalf("delete on a full disk: %v", err)
		}
		delete(stored, n)
	}
	deleted := resumes(t, func() answer { made++; return create(made) })
	verify()
	t.Logf("%d records filled the disk, and %d the larger one; writes went on %s after it grew, and %s after a third was deleted",
		full, again, larger, deleted)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := check(binary(t, croft), data); err != nil {
		t.Fatal(err)
	}
}

// resumeTime is longer than what was deleted may be kept for copies.
const resumeTime = 45 * time.Second

// resumes tries a write until it is not refused any more.
func resumes(t *testing.T, write func() answer) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		a := write()
		if a.status == http.StatusCreated {
			return time.Since(began).Round(time.Millisecond)
		}
		if a.status != http.StatusInsufficientStorage || time.Since(began) > resumeTime {
			t.Fatalf("after %s: %d %s", time.Since(began), a.status, a.body)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
