package proof

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// What came of a flipped bit.
const (
	unharmed = "all answers were right"
	refused  = "the start was refused"
	failed   = "some answers were errors"
	ended    = "the server ended"
)

// TestFlippedBits flips one bit of a file that was stopped in order, at places left to chance, and reads everything through a
// server: each answer is right, or an error.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	r := chance(t)
	file := filepath.Join(t.TempDir(), "croft.db")
	// Without the pins the file has few free pages, where a flipped bit does nothing.
	s := start(t, binary(t, unpinned), file)
	l := newLedger()
	token := s.prepare(t)
	clients := s.clients(4, l, token, r, 300)
	err := fill(clients)
	for i := 0; i < 400 && err == nil; i++ {
		err = clients[i%len(clients)].step()
	}
	if err = errors.Join(err, s.stop()); err != nil {
		t.Fatal(err)
	}

	const workers = 2
	outcomes := map[string]int{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for worker := range workers {
		f := newFlipped(t, file, l, token, fork(r))
		wait.Go(func() {
			for range (*flipsFlag + worker) / workers {
				place, bit := f.place()
				outcome, err := f.try(place, bit)
				mu.Lock()
				outcomes[outcome]++
				mu.Unlock()
				if err != nil {
					t.Errorf("bit %d of byte %d of %d: %v", bit, place, len(f.pristine), err)
				}
			}
		})
	}
	wait.Wait()
	t.Log(outcomes)
}

// flipped is a file with one bit wrong at a time.
type flipped struct {
	t        *testing.T
	binary   string
	file     string
	pristine []byte
	used     []int // the blocks that are not all zeros
	truth    map[string]content
	ids      []string
	token    string
	rand     *rand.Rand
}

const block = 4096

func newFlipped(t *testing.T, from string, l *ledger, token string, r *rand.Rand) *flipped {
	t.Helper()
	f := &flipped{t: t, binary: binary(t, croft), file: filepath.Join(t.TempDir(), "croft.db"), truth: map[string]content{}, token: token, rand: r}
	// A start makes the file one that belongs here; later ones need not verify it, so that what is damaged gets to be read.
	if err := copyFile(from, f.file, nil); err != nil {
		t.Fatal(err)
	}
	s := start(t, f.binary, f.file)
	found, err := s.all(token)
	now := l.now()
	err = errors.Join(append(l.compare(found, now, now), err, s.stop())...)
	if err == nil {
		f.pristine, err = os.ReadFile(f.file)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range found {
		f.truth[r.ID] = r.content
		f.ids = append(f.ids, r.ID)
	}
	for i := 0; i+block <= len(f.pristine); i += block {
		if bytes.ContainsFunc(f.pristine[i:i+block], func(c rune) bool { return c != 0 }) {
			f.used = append(f.used, i)
		}
	}
	return f
}

func (f *flipped) place() (place, bit int) {
	return f.used[f.rand.IntN(len(f.used))] + f.rand.IntN(block), f.rand.IntN(8)
}

// try flips a bit and reads everything.
func (f *flipped) try(place, bit int) (outcome string, err error) {
	damaged := bytes.Clone(f.pristine)
	damaged[place] ^= 1 << bit
	if err := os.WriteFile(f.file, damaged, 0o600); err != nil { // the same file, with other bytes
		return "", err
	}
	s, err := launch(f.t, f.binary, f.file)
	if err != nil {
		return "", err
	}
	defer s.kill()
	if s.ready() != nil {
		return refused, nil
	}
	outcome = unharmed
	wrong := func(what string) error {
		said := "croft check tells of it"
		s.kill()
		if check(f.binary, f.file) == nil {
			said = "croft check does not tell of it"
		}
		return fmt.Errorf("wrong data were served: %s; %s", what, said)
	}
	for _, q := range f.questions() {
		a, err := s.do("GET", q.path, f.token, nil)
		switch {
		case err != nil:
			return ended, nil
		case a.status >= http.StatusInternalServerError || a.status == http.StatusUnauthorized:
			outcome = failed
		case a.status != http.StatusOK:
			return "WRONG", wrong(fmt.Sprintf("GET %s: %d %s", q.path, a.status, a.body))
		default:
			if fault := q.right(a.body); fault != nil {
				return "WRONG", wrong(fmt.Sprintf("GET %s: %v", q.path, fault))
			}
		}
	}
	return outcome, nil
}

// A question is a request, and what holds its answer against the truth.
type question struct {
	path  string
	right func(body []byte) error
}

func (f *flipped) questions() []question {
	all := []question{
		{"/records/notes?limit=500&count=true", f.list(len(f.truth), func(content) bool { return true })},
		{"/records/notes?limit=500&sort=name", f.list(len(f.truth), func(content) bool { return true })},
		{"/auth/me", func([]byte) error { return nil }},
		{"/collections", func([]byte) error { return nil }},
	}
	for group := range groups {
		in := func(c content) bool { return c.Group == group }
		n := 0
		for _, c := range f.truth {
			if in(c) {
				n++
			}
		}
		all = append(all, question{fmt.Sprintf("/records/notes?limit=500&filter=group==%d", group), f.list(n, in)})
	}
	for _, id := range f.ids {
		all = append(all, question{"/records/notes/" + id, func(body []byte) error {
			r, err := parseRecord(body)
			if err == nil && (r.ID != id || r.content != f.truth[id]) {
				err = fmt.Errorf("it is %.200s", body)
			}
			return err
		}})
	}
	return all
}

// list is what a list must be that holds n records.
func (f *flipped) list(n int, fits func(content) bool) func(body []byte) error {
	return func(body []byte) error {
		var page struct {
			Items []json.RawMessage
			Next  *string
			Count *int
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return err
		}
		if len(page.Items) != n || page.Next != nil || page.Count != nil && *page.Count != n {
			return fmt.Errorf("%d records, want %d; count %v", len(page.Items), n, page.Count)
		}
		seen := map[string]bool{}
		for _, item := range page.Items {
			r, err := parseRecord(item)
			if err != nil {
				return err
			}
			if seen[r.ID] || r.content != f.truth[r.ID] || !fits(r.content) {
				return fmt.Errorf("it holds %.200s", item)
			}
			seen[r.ID] = true
		}
		return nil
	}
}
