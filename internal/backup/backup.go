// Package backup takes copies of the data file while it is in use, says whether a file is whole, and brings back what can
// be brought back.
//
// It promises of a backup:
//   - It is the data file as of one commit, with everything that was acknowledged before it began. Nobody who writes waits
//     for it.
//   - It gets its name only when it is on disk and was verified. Whatever ends one before, a full disk or the power, leaves no
//     file that looks whole: what is being written is called .croft-backup-*.partial, and the next one in that folder
//     removes it.
//   - It replaces no file. Of the files in its own folder only those are removed that it named itself, and only when a newer
//     one counts.
//
// It writes the keys of the space Backups: what became of each backup that was taken into the folder (results.go).
package backup

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/settings"
	"croft/internal/store"
)

// A Verifier returns an error that says what is wrong with a data file that nobody writes. A file of unknown state can take
// a process down, so a server has another one do it.
type Verifier func(ctx context.Context, path string) error

// Options are what New needs beside the data file.
type Options struct {
	Settings *settings.Settings
	Folder   string   // where backups are taken to; made when there is none
	Verify   Verifier // nil for VerifyGently
	Reserve  int64    // how many bytes of the folder's disk a backup leaves free

	Log *slog.Logger     // nil for none
	Now func() time.Time // the clock on the wall; nil for time.Now
}

// Backups takes backups of an open data file: into its folder, now and by the schedule of the settings, and for whoever asks for
// the bytes.
type Backups struct {
	db       *store.DB
	settings *settings.Settings
	folder   string
	stem     string // what the names of its files begin with
	verify   Verifier
	reserve  int64
	log      *slog.Logger
	now      func() time.Time

	turn    chan struct{} // holds one while a backup is taken into the folder
	streams chan struct{} // holds one for each image that is read

	stop context.CancelFunc // of the schedule; nil until Start
	wait sync.WaitGroup

	lastGood atomic.Int64 // when the newest good one was taken, in Unix milliseconds; 0 for never
	failures atomic.Uint64
}

// maxStreams is how many images can be read at once: each keeps the pages of its commit from being used again.
const maxStreams = 4

// New returns the backups of a data file. It starts nothing.
func New(db *store.DB, o Options) (*Backups, error) {
	folder, err := filepath.Abs(o.Folder)
	if err != nil {
		return nil, fmt.Errorf("find the folder of the backups: %w", err)
	}
	b := &Backups{
		db: db, settings: o.Settings, folder: folder, stem: stemOf(db.Path()), verify: o.Verify, reserve: o.Reserve,
		log: o.Log, now: o.Now,
		turn: make(chan struct{}, 1), streams: make(chan struct{}, maxStreams),
	}
	if b.verify == nil {
		b.verify = VerifyGently
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.now == nil {
		b.now = time.Now
	}
	results, err := b.results()
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		if r.Check == CheckOK {
			b.lastGood.Store(r.Time.UnixMilli())
			break
		}
	}
	return b, nil
}

// stemOf is a data file's name without its extension: backups of several data files can share a folder.
func stemOf(path string) string {
	name := filepath.Base(path)
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// Close ends the schedule, and a backup that it is taking.
func (b *Backups) Close() error {
	if b.stop != nil {
		b.stop()
	}
	b.wait.Wait()
	return nil
}

// An Image is the bytes of the data file as of one commit. It is to be closed soon: it keeps pages from being used again.
type Image struct {
	io.Reader // from the beginning, and not so fast that writers suffer
	*store.Image
	Time time.Time

	done func()
}

// Close lets go of the image.
func (im *Image) Close() {
	im.Image.Close()
	im.done()
}

// Name is what to call a file of these bytes.
func (b *Backups) Name(t time.Time) string { return fileName(b.stem, t, 1) }

// Image returns the bytes of the data file as it is now. The caller must Close it, once.
func (b *Backups) Image(ctx context.Context, c *identity.Caller) (*Image, error) {
	if err := mayManage(c); err != nil {
		return nil, err
	}
	select {
	case b.streams <- struct{}{}:
	default:
		return nil, errs.New(errs.Busy, "several backups are being sent already; try again when one of them has ended")
	}
	done := func() { <-b.streams }
	im, err := b.db.Image()
	if err != nil {
		done()
		return nil, err
	}
	return &Image{Reader: reader(ctx, b.db, im), Image: im, Time: b.now(), done: done}, nil
}

func mayManage(c *identity.Caller) error {
	switch {
	case !c.SignedIn():
		return errs.New(errs.Unauthenticated, "sign in as an admin to take backups or to see them")
	case c.Token != nil:
		return errs.New(errs.Forbidden, "API tokens are for records alone; sign in as an admin to take backups or to see them")
	case !c.Manages():
		return errs.New(errs.Forbidden, "only admins may take backups and see them")
	}
	return nil
}

// Stats are the figures that an operator watches.
type Stats struct {
	LastGood time.Time // when the newest good backup was taken into the folder; zero for never
	Failures uint64    // since the start
}

// Stats returns the figures.
func (b *Backups) Stats() Stats {
	s := Stats{Failures: b.failures.Load()}
	if ms := b.lastGood.Load(); ms != 0 {
		s.LastGood = time.UnixMilli(ms)
	}
	return s
}
