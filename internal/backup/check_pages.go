package backup

import (
	"context"
	"errors"

	"croft/internal/errs"
	"croft/internal/store"
)

// file walks over the pages of a file that nobody writes, and reports whether its tree is sound.
func (k *check) file(ctx context.Context, path string) (sound bool, err error) {
	found, err := store.CheckFile(ctx, path, k.options())
	if err != nil {
		return false, err
	}
	return k.take(found), nil
}

// image is file for the newest commit of a file that is open.
func (k *check) image(ctx context.Context, db *store.DB) (sound bool, err error) {
	im, err := db.Image()
	if err != nil {
		return false, err
	}
	defer im.Close()
	found, err := db.CheckImage(ctx, im, k.options())
	if errors.Is(err, store.ErrImageLost) {
		return false, errs.Wrap(errs.Busy, "too much was written while the data file was checked; try again when there is less to do", err)
	}
	if err != nil {
		return false, err
	}
	return k.take(found), nil
}

func (k *check) options() store.CheckOptions {
	return store.CheckOptions{
		Progress: func(done, total int64) { k.progress("pages", done, total) },
		Entry:    k.count.Entry,
	}
}

// take reports what was found.
func (k *check) take(found *store.CheckResult) (sound bool) {
	k.r.Bytes, k.r.Entries = found.Bytes, found.Entries
	for _, f := range found.Faults {
		where := f.Where
		if f.Key != nil {
			k.count.Damaged(f.Key)
			where = k.count.Name(f.Key)
		}
		if f.Minor {
			k.r.Notes = append(k.r.Notes, where+": "+f.What)
		} else {
			k.r.fault("file", where, f.What)
		}
	}
	k.r.FaultsTotal = found.FaultsTotal - found.Minor
	if !found.TreeSound {
		k.r.Notes = append(k.r.Notes, "the file can't be opened as it is, so what it holds was not looked at more closely")
		k.r.collections(k.count.Collections())
	}
	return found.TreeSound
}
