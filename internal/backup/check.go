package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"croft/internal/auth"
	"croft/internal/errs"
	"croft/internal/https"
	"croft/internal/identity"
	"croft/internal/records"
	"croft/internal/settings"
	"croft/internal/store"
)

// A Report is what a check of a data file found.
type Report struct {
	File        string       `json:"file"`
	Bytes       int64        `json:"bytes"`
	OK          bool         `json:"ok"`
	Notes       []string     `json:"notes,omitempty"` // what is no fault
	Entries     uint64       `json:"entries"`
	Collections []Collection `json:"collections"`
	Users       int          `json:"users"`
	Sessions    int          `json:"sessions"`
	Tokens      int          `json:"tokens"`
	Invites     int          `json:"invites"`
	Faults      []Fault      `json:"faults"` // the first of them
	FaultsTotal uint64       `json:"faults_total"`
	Took        int64        `json:"took_ms"`
}

// Collection is a collection in a Report.
type Collection struct {
	Name    string `json:"name"` // "" where its definition is lost
	Records uint64 `json:"records"`
	Damaged uint64 `json:"damaged"`
}

// A Fault is something that is not as it was written.
type Fault struct {
	Part  string `json:"part"`  // who found it: "file", or a part of what is stored
	Where string `json:"where"` // a record by its id, a user by theirs; never a key or a value
	What  string `json:"what"`
}

func (f Fault) String() string { return f.Where + ": " + f.What }

// maxFaults is how many faults a report tells one by one.
const maxFaults = 100

func (r *Report) fault(part, where, what string) {
	r.FaultsTotal++
	if len(r.Faults) < maxFaults {
		r.Faults = append(r.Faults, Fault{part, where, what})
	}
}

// Err is nil when the file is whole, and else ErrDamaged with the first faults.
func (r *Report) Err() error {
	if r.OK {
		return nil
	}
	text := ""
	for i, f := range r.Faults {
		if i == 3 {
			text += fmt.Sprintf("; and %d more", r.FaultsTotal-3)
			break
		}
		if i > 0 {
			text += "; "
		}
		text += f.String()
	}
	return fmt.Errorf("%w: %s", store.ErrDamaged, text)
}

// parts are what is stored, each with the check of the package that stores it. They read one transaction, write nothing, and report
// what is wrong.
var parts = []struct {
	name  string
	check func(ctx context.Context, tx *store.Tx, r *Report, report func(where, what string)) error
}{
	{"settings", func(_ context.Context, tx *store.Tx, _ *Report, report func(where, what string)) error {
		return settings.Check(tx, report)
	}},
	{"accounts", func(ctx context.Context, tx *store.Tx, r *Report, report func(where, what string)) error {
		found, err := auth.Check(ctx, tx, report)
		r.Users, r.Sessions, r.Tokens, r.Invites = found.Users, found.Sessions, found.Tokens, found.Invites
		return err
	}},
	{"certificates", func(_ context.Context, tx *store.Tx, _ *Report, report func(where, what string)) error {
		return https.Check(tx, report)
	}},
	{"backups", func(_ context.Context, tx *store.Tx, _ *Report, report func(where, what string)) error {
		return checkResults(tx, report)
	}},
	{"records", func(ctx context.Context, tx *store.Tx, r *Report, report func(where, what string)) error {
		found, err := records.Check(ctx, tx, report)
		r.collections(found)
		return err
	}},
}

func (r *Report) collections(found []records.Checked) {
	r.Collections = []Collection{}
	for _, c := range found {
		r.Collections = append(r.Collections, Collection(c))
	}
}

// A Progress is told how far a check is: what is looked at now, and how much of it is done, both 0 where that is unknown.
type Progress func(what string, done, total int64)

// CheckFile checks a data file that nobody writes, and changes nothing. Damage is in the report; an error says why there is none:
// it is no data file, say, or of a newer Croft. The tree of pages comes first, by a reader that believes nothing; only when it is
// sound are the entries held against one another. Still, a disk that fails can take the process down.
func CheckFile(ctx context.Context, path string, progress Progress) (*Report, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s", path)
	}
	k := newCheck(path, progress)
	sound, err := k.file(ctx, path)
	if err != nil {
		return nil, err
	}
	if !sound {
		return k.end(), nil
	}
	db, err := store.Open(path, store.Options{ReadOnly: true})
	switch {
	case errors.Is(err, store.ErrOlder):
		k.r.Notes = append(k.r.Notes, "it is of an older Croft: this one brings it up to date when it is started on it; the entries were not held against one another")
		k.r.collections(k.count.Collections())
		return k.end(), nil
	case errors.Is(err, store.ErrDamaged):
		k.r.fault("file", "the file", err.Error())
		return k.end(), nil
	case err != nil:
		return nil, err
	}
	err = db.View(func(tx *store.Tx) error { return k.parts(ctx, tx) })
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	return k.end(), nil
}

// A Checker checks the data file that is open.
type Checker struct {
	db   *store.DB
	turn chan struct{} // holds one while a check runs
}

// NewChecker returns a checker of a data file.
func NewChecker(db *store.DB) *Checker { return &Checker{db, make(chan struct{}, 1)} }

// Check checks the file as it is now. Nobody waits for it; another check is refused until it has ended.
func (c *Checker) Check(ctx context.Context, caller *identity.Caller) (*Report, error) {
	switch {
	case !caller.SignedIn():
		return nil, errs.New(errs.Unauthenticated, "sign in as an admin to check the data file")
	case caller.Token != nil:
		return nil, errs.New(errs.Forbidden, "API tokens are for records alone; sign in as an admin to check the data file")
	case !caller.Manages():
		return nil, errs.New(errs.Forbidden, "only admins may check the data file")
	}
	select {
	case c.turn <- struct{}{}:
	default:
		return nil, errs.New(errs.Busy, "a check of the data file is under way; try again when it has ended")
	}
	defer func() { <-c.turn }()
	k := newCheck(c.db.Path(), nil)
	sound, err := k.image(ctx, c.db)
	if err != nil {
		return nil, err
	}
	if sound {
		if err := c.db.View(func(tx *store.Tx) error { return k.parts(ctx, tx) }); err != nil {
			return nil, err
		}
	}
	return k.end(), nil
}

// A check is one check of a file.
type check struct {
	r        *Report
	progress Progress
	began    time.Time
	count    records.Count // what the walk over the pages found
}

func newCheck(path string, progress Progress) *check {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	return &check{
		r: &Report{File: path, Collections: []Collection{}, Faults: []Fault{}}, progress: progress, began: time.Now(),
	}
}

func (k *check) end() *Report {
	k.r.OK = k.r.FaultsTotal == 0
	k.r.Took = time.Since(k.began).Milliseconds()
	return k.r
}

// parts has each package check what it stores.
func (k *check) parts(ctx context.Context, tx *store.Tx) error {
	for _, part := range parts {
		k.progress(part.name, 0, 0)
		report := func(where, what string) { k.r.fault(part.name, where, what) }
		err := part.check(ctx, tx, k.r, report)
		if errors.Is(err, store.ErrDamaged) {
			// A part that can't go on where an entry is damaged. The walk over the pages has told of that one, unless it happened since.
			report(part.name, "not all of it could be looked at: "+err.Error())
		} else if err != nil {
			return fmt.Errorf("check the %s: %w", part.name, err)
		}
	}
	return nil
}
