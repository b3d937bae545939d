package store

import (
	"fmt"
	"path/filepath"
	"time"
)

// space keeps a reserve of the disk free, so that deletions, which write before they give space back, and other programs
// still have room. The writer owns it.
type space struct {
	db      *DB
	reserve int64
	unknown bool // it can't be told how much is free
	checked time.Time
	used    int64 // how much of the file was used then
	tight   bool  // the file must not grow for the sake of copies
	err     error // why updates are refused, or nil
}

const (
	// spaceTime is how often the disk is asked while there is enough: it takes a microsecond.
	spaceTime = time.Second
	// spaceStep is by how much the file may grow meanwhile.
	spaceStep = 4 << 20
	// roomForPins is how much must be free beside the reserve for the file to grow for the sake of copies.
	roomForPins = 16 << 20
)

// look asks the disk. It returns the error of updates while less than the reserve is free, and whether the file must not
// grow for the sake of copies. reusable is how many bytes of free pages the file has: they count as free, for updates take those
// first; but where they are scattered a large value still lengthens the file, which must leave a quarter of the reserve.
func (s *space) look(now time.Time, reusable func() int64) (refuse error, tight bool) {
	if s.unknown || !s.tight && now.Sub(s.checked) < spaceTime && s.db.used < s.used+spaceStep {
		return nil, false
	}
	s.checked, s.used = now, s.db.used
	free, err := Room(filepath.Dir(s.db.path))
	if err != nil {
		s.db.log.Warn("how much of the disk is free can't be told, so nothing is kept free", "error", err)
		s.unknown, s.tight, s.err = true, false, nil
		return nil, false
	}
	refused := s.err != nil
	s.tight, s.err = free < s.reserve+roomForPins, nil
	if free < s.reserve && (free < s.reserve/4 || free+reusable() < s.reserve) {
		s.err = fmt.Errorf("%w: %d MiB are left of the disk, and %d are kept free", ErrDiskFull, free>>20, s.reserve>>20)
	}
	if refuse := s.err != nil; refuse != refused {
		if refuse {
			s.db.log.Error("writes are refused until there is room again", "free_bytes", free, "reserve", s.reserve)
		} else {
			s.db.log.Info("there is room again: writes go on", "free_bytes", free)
		}
	}
	return s.err, s.tight
}

// The file grows ahead of use, by a sixteenth of what is used within these bounds.
const (
	minGrowth = 1 << 20
	maxGrowth = 16 << 20
)

// growAhead lengthens the file before a commit needs it. Some tools ask for the length first and copy that much: then
// the commit that they find must not reach further. It also spares bbolt a flush for the new length within a commit.
func (db *DB) growAhead() {
	if mapsWholeFile {
		return // the mapping is the length
	}
	used := db.used
	ahead := min(max(used/16, minGrowth), maxGrowth)
	if used+ahead/2 <= db.size {
		return
	}
	info, err := db.file.Stat()
	if err != nil {
		return // bbolt will tell
	}
	if db.size = info.Size(); used+ahead/2 <= db.size {
		return
	}
	// When it fails, for want of room most likely, bbolt grows the file by what it needs, or tells why it can't.
	if db.file.Truncate(used+ahead) == nil {
		db.size = used + ahead
	}
}

// settle writes the list of free pages, which other commits leave out: with it the next start need not look for them in
// the whole file. Only Close calls it, while all pins still hold.
func (db *DB) settle() (err error) {
	if db.listed || db.Err() != nil || db.wrecked.Load() {
		return nil
	}
	defer recoverDamage(&err)
	db.bolt.NoFreelistSync = false
	tx, err := db.bolt.Begin(true)
	if err != nil {
		return err
	}
	if err := db.commit(tx, 0); err != nil {
		if db.wantsRoom(err) {
			return nil // nothing is lost but time at the next start
		}
		return fmt.Errorf("write the list of free pages, which is all that was not on disk: %w", err)
	}
	return nil
}
