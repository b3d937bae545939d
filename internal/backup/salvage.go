package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"croft/internal/auth"
	"croft/internal/records"
	"croft/internal/store"
)

// Salvaged is what was taken out of a damaged file, and what was lost.
type Salvaged struct {
	File        string       `json:"file"`
	Out         string       `json:"out"`
	Entries     uint64       `json:"entries"`   // that were saved
	Older       uint64       `json:"older"`     // of those, as they were one change before
	Recovered   uint64       `json:"recovered"` // of those, found in pages that were out of use: they may be old
	Collections []Collection `json:"collections"`
	Users       int          `json:"users"`

	Notes       []string `json:"notes"`
	Losses      []Loss   `json:"losses"` // the first thousand
	LossesTotal uint64   `json:"losses_total"`
	GoneTotal   uint64   `json:"gone_total"` // of those, how many may have lost something for good
}

// Loss is a place where the damaged file can't be read.
type Loss struct {
	Where     string `json:"where"` // a record by its id, or the records between which it is; never a key or a value
	What      string `json:"what"`
	Older     uint64 `json:"older"`
	Recovered uint64 `json:"recovered"`
	Gone      bool   `json:"gone"` // something may be missing
}

func (l Loss) String() string {
	text := l.Where + ": " + l.What
	switch found := l.Older + l.Recovered; {
	case l.Gone && found > 0:
		return fmt.Sprintf("%s; an older state of %d there was found, others may be missing", text, found)
	case l.Gone:
		return text + "; lost"
	case found > 0:
		return fmt.Sprintf("%s; an older state of %d there was found", text, found)
	}
	return text
}

// Salvage takes all that can be read out of a damaged file into a new one, and puts that in order. The damaged file is only read.
func Salvage(ctx context.Context, from, to string, progress func(done, total int64)) (*Salvaged, error) {
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil, &fileError{fmt.Sprintf("there is no file %s: name the damaged data file", from), err}
	}
	s := &salvage{r: &Salvaged{File: from, Out: to, Collections: []Collection{}, Notes: []string{}, Losses: []Loss{}}}
	found, err := store.Salvage(ctx, from, to, store.SalvageOptions{
		Skip:     func(key []byte) bool { return records.Derived(key) || auth.Derived(key) },
		Stray:    func(key []byte) bool { return !auth.Secret(key) },
		Newer:    newer,
		SeqOf:    records.SeqOf,
		Finish:   s.finish,
		Progress: progress,
	})
	if err != nil {
		return nil, err
	}
	s.tell(found)
	return s.r, nil
}

func newer(key, a, b []byte) bool {
	if seq := records.SeqOf(key, b); seq > 0 {
		return records.SeqOf(key, a) > seq
	}
	return auth.Newer(key, a, b)
}

type salvage struct {
	r     *Salvaged
	saved records.Count
}

// finish puts what was saved in order.
func (s *salvage) finish(tx *store.Tx) error {
	made, err := records.Repair(tx, time.Now())
	if err != nil {
		return err
	}
	disabled, err := auth.Repair(tx)
	if err != nil {
		return err
	}
	for _, name := range made {
		s.note("The definition of a collection is lost: its records are now in %s, which only admins may read.", name)
	}
	for _, id := range disabled {
		s.note("The user %s was disabled: another one has the same e-mail address.", id)
	}
	c := tx.Scan(store.Range{Lo: store.Auth.Key()})
	for c.Next() {
		s.saved.Entry(c.Key(), c.Value())
		if auth.IsUser(c.Key()) {
			s.r.Users++
		}
	}
	return c.Err()
}

func (s *salvage) note(format string, args ...any) {
	s.r.Notes = append(s.r.Notes, fmt.Sprintf(format, args...))
}

// tell translates what was found.
func (s *salvage) tell(found *store.SalvageReport) {
	s.r.Entries, s.r.Older, s.r.Recovered = found.Saved, found.Older, found.Recovered
	s.r.LossesTotal, s.r.GoneTotal = found.LossesTotal, found.GoneTotal
	switch {
	case found.Commit == 1:
		s.note("The newest state can't be read; this is the one before it.")
	case found.Commit == -1:
		s.note("The newest state can't be read; this is the newest one that was found.")
	case found.Commit == -2:
		s.note("No state can be read as a whole; this is put together from what was found, and may have old entries in it.")
	}
	if found.Mixed {
		s.note("All can be read, and yet some of it is missing or old: this is a copy that was made while the file was written to, or the disk lost a write. It can't be told which.")
	}
	for _, l := range found.Losses {
		s.r.Losses = append(s.r.Losses, Loss{s.where(l), l.What, l.Older, l.Recovered, l.Gone})
		if l.Key != nil && l.Gone {
			s.saved.Damaged(l.Key)
		}
	}
	for _, c := range s.saved.Collections() {
		s.r.Collections = append(s.r.Collections, Collection(c))
	}
}

// where names a place in the file.
func (s *salvage) where(l store.Loss) string {
	switch {
	case l.Key != nil:
		return s.saved.Name(l.Key)
	case l.From == nil && l.To == nil:
		return "anywhere in the file"
	case l.From == nil:
		return "before " + s.saved.Name(l.To)
	case l.To == nil:
		return "after " + s.saved.Name(l.From)
	}
	from, to := s.saved.Name(l.From), s.saved.Name(l.To)
	if from == to {
		return "within " + from
	}
	return "between " + from + " and " + to
}
