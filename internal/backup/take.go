package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// Take takes a backup into the folder now. It returns when that counts: it is whole, on disk and verified.
func (b *Backups) Take(ctx context.Context, c *identity.Caller) (*Result, error) {
	if err := mayManage(c); err != nil {
		return nil, err
	}
	select {
	case b.turn <- struct{}{}:
	default:
		return nil, errs.New(errs.Conflict, "a backup is being taken at this moment; look into the list of backups for what became of it")
	}
	defer func() { <-b.turn }()
	r, err := b.take(ctx)
	if err != nil {
		return nil, err
	}
	r.Present = true
	return &r, nil
}

// take takes a backup and records what became of it, unless it was called off. The caller has the turn.
func (b *Backups) take(ctx context.Context) (Result, error) {
	r := Result{Time: b.now().UTC().Truncate(time.Millisecond), Check: CheckOK}
	keep := b.settings.Get().Backup.Keep
	started := time.Now()
	err := b.write(ctx, &r)
	r.TookMS = time.Since(started).Milliseconds()
	if err != nil && ctx.Err() != nil {
		return r, ctx.Err()
	}
	if err != nil {
		b.failures.Add(1)
		r.Check, r.Error = CheckFailed, err.Error()
		b.log.Error("a backup failed", "folder", b.folder, "error", err)
	} else {
		b.lastGood.Store(r.Time.UnixMilli())
		b.log.Info("took a backup", "file", filepath.Join(b.folder, r.Name), "bytes", r.Size, "took", time.Since(started))
		if pruneErr := b.prune(r.Name, keep); pruneErr != nil {
			b.log.Error("old backups can't be removed", "folder", b.folder, "error", pruneErr)
		}
	}
	if recordErr := b.record(ctx, r, keep); recordErr != nil {
		b.log.Error("what became of a backup can't be noted", "folder", b.folder, "error", recordErr)
		if err == nil {
			return r, recordErr
		}
	}
	return r, told(err)
}

// told is the error of a backup for who asked for it: an operator, who needs the reason.
func told(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrDiskFull):
		return errs.Wrap(errs.DiskFull, "the backup failed: "+err.Error(), err)
	case errors.Is(err, store.ErrFatal), errors.Is(err, store.ErrClosed):
		return err
	}
	// Not what it is an error of: that the copy is damaged says nothing of the data file yet.
	return errs.New(errs.Internal, "the backup failed: "+err.Error())
}

// write makes the file.
func (b *Backups) write(ctx context.Context, r *Result) error {
	if err := makeFolder(b.folder); err != nil {
		return err
	}
	n := 1
	for {
		r.Name = fileName(b.stem, r.Time, n)
		_, err := os.Lstat(filepath.Join(b.folder, r.Name))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		n++
	}
	im, err := b.db.Image()
	if err != nil {
		return err
	}
	defer im.Close()
	r.Size, r.Seq = im.Size(), im.Seq()
	if err := b.leavesRoom(im.Size()); err != nil {
		return err
	}
	return WriteFile(ctx, filepath.Join(b.folder, r.Name),
		Source{Reader: reader(ctx, b.db, im), Size: im.Size(), Seq: im.Seq()},
		FileOptions{Verify: b.verify, Checking: im.Close})
}

// leavesRoom refuses a backup that would leave less of the disk than is to be kept free: a backup must not be why writes are
// refused.
func (b *Backups) leavesRoom(size int64) error {
	room, err := store.Room(b.folder)
	if err != nil {
		return fmt.Errorf("see how much room there is in %s: %w", b.folder, err)
	}
	if room-size < b.reserve {
		return fmt.Errorf("%w: the backup takes %d MiB, %d MiB are left in %s, and %d MiB are to be kept free: make room there, keep fewer backups, or name a folder on another disk ([backup] folder)",
			store.ErrDiskFull, size>>20, room>>20, b.folder, b.reserve>>20)
	}
	return nil
}

// makeFolder makes the folder of the backups, for its owner alone, if it isn't there.
func makeFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is not a folder: name another one for backups ([backup] folder)", dir)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the backups: %w", err)
	}
	return store.SyncDir(filepath.Dir(dir))
}

// prune removes the oldest of the backups that are listed, so that keep are left: others of such a name may be of another data file, or of
// a time that a restore undid. It never removes the newest, whatever the clock said when the others were named.
func (b *Backups) prune(newest string, keep int) error {
	results, err := b.results()
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, r := range results {
		listed[r.Name] = listed[r.Name] || r.Check == CheckOK
	}
	entries, err := os.ReadDir(b.folder)
	if err != nil {
		return err
	}
	var old []fileTime
	for _, e := range entries {
		if t, ok := parseName(b.stem, e.Name()); ok && listed[t.name] && e.Type().IsRegular() && e.Name() != newest {
			old = append(old, t)
		}
	}
	slices.SortFunc(old, fileTime.compare)
	var failed []error
	for _, t := range old[:max(0, len(old)+1-keep)] {
		if err := os.Remove(filepath.Join(b.folder, t.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// fileName is the name of the n-th backup of a second.
func fileName(stem string, t time.Time, n int) string {
	name := stem + "-" + t.UTC().Format(store.StampLayout)
	if n > 1 {
		name += "-" + strconv.Itoa(n)
	}
	return name + ".db"
}

// fileTime is what a name says.
type fileTime struct {
	name string
	time time.Time
	n    int
}

func (t fileTime) compare(o fileTime) int {
	return cmp.Or(t.time.Compare(o.time), cmp.Compare(t.n, o.n))
}

// parseName reads a name that fileName made, and no other.
func parseName(stem, name string) (t fileTime, ok bool) {
	rest, ok := strings.CutPrefix(name, stem+"-")
	if !ok {
		return t, false
	}
	when, number, numbered := strings.Cut(strings.TrimSuffix(rest, ".db"), "-")
	n := 1
	if numbered {
		var err error
		if n, err = strconv.Atoi(number); err != nil {
			return t, false
		}
	}
	at, err := time.Parse(store.StampLayout, when)
	if err != nil || fileName(stem, at, n) != name {
		return t, false
	}
	return fileTime{name, at, n}, true
}
