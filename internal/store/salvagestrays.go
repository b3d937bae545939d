package store

import (
	"bytes"
	"maps"
	"slices"

	"croft/internal/store/pages"
)

// strayMemory is how many bytes of entries that were found in unused pages are held at once. When there are more, those of the first keys
// are saved, and the file is gone through again for the others.
const strayMemory = 32 << 20

// stray is an entry that was found in a page which the tree does not lead to, or in a damaged one.
type stray struct {
	sealed []byte
	rank   int
}

// What a page is, so far as that is known, tells how much its entries are worth.
const (
	rankOld   = iota // it is free, or that is not known
	rankOwned        // it is not in the newest list of free pages, so it belongs to a part of the tree that can't be reached
	rankUsed         // the newest tree leads to it
)

// strays saves what stands in pages that no tree leads to, of all that the newest commit has lost: where no tree helped, all of it;
// where an older commit did, what is newer than that.
func (s *salvage) strays() error {
	pass := func(uint64) bool { return false }
	if s.base != nil {
		pass = s.base.Inner
	}
	for from := []byte(nil); ; {
		b := &strayBatch{s: s, from: from, found: map[string]stray{}}
		if err := s.f.Leaves(s.ctx, pass, b.add); err != nil {
			return err
		}
		s.read += s.size
		s.progress(0)
		if err := b.save(); err != nil {
			return err
		}
		if b.to == nil {
			return nil
		}
		from = b.to
	}
}

// strayBatch gathers strays with keys from one on to before another.
type strayBatch struct {
	s        *salvage
	from, to []byte // a nil to has no end
	found    map[string]stray
	size     int
}

func (b *strayBatch) add(l pages.Leaf) (whole bool, err error) {
	k := l.Key
	value, err := unseal(k, l.Value)
	if err != nil || l.IsBucket {
		return false, nil
	}
	if bytes.Compare(k, b.from) < 0 || b.to != nil && bytes.Compare(k, b.to) >= 0 {
		return true, nil
	}
	rank := b.s.rank(l.Page)
	if !b.s.wants(k, value, rank) {
		return true, nil
	}
	if old, ok := b.found[string(k)]; ok {
		if !b.s.better(k, l.Value, rank, old.sealed, old.rank) {
			return true, nil
		}
		b.size -= strayCost(k, old.sealed)
	}
	b.found[string(k)] = stray{bytes.Clone(l.Value), rank}
	if b.size += strayCost(k, l.Value); b.size > b.s.o.memory && len(b.found) > 1 {
		b.halve()
	}
	return true, nil
}

// strayCost is about what an entry takes, with the map's own.
func strayCost(k, sealed []byte) int { return len(k) + len(sealed) + 100 }

// halve leaves the second half of the keys for the next time.
func (b *strayBatch) halve() {
	keys := slices.Sorted(maps.Keys(b.found))
	half := keys[len(keys)/2:]
	b.to = []byte(half[0])
	for _, k := range half {
		b.size -= strayCost([]byte(k), b.found[k].sealed)
		delete(b.found, k)
	}
}

// wants reports whether an entry is of what was lost.
func (s *salvage) wants(k, value []byte, rank int) bool {
	if s.levels[0].find(k) < 0 || bytes.Equal(k, keyFile) || s.o.Skip != nil && s.o.Skip(k) {
		return false
	}
	if rank > rankOld {
		return true // nobody deleted it
	}
	if s.o.Stray != nil && !s.o.Stray(k) {
		return false
	}
	for i := 1; i < len(s.levels); i++ {
		if s.levels[i].find(k) < 0 {
			// The tree of this level has all of it up to its own commit.
			return s.o.SeqOf != nil && s.seqs[i] > 0 && s.o.SeqOf(k, value) > s.seqs[i]
		}
	}
	return true
}

func (s *salvage) rank(page uint64) int {
	switch {
	case s.newest == nil:
		return rankOld
	case s.newest.Used(page):
		return rankUsed
	case s.newest.HasFreelist() && !s.newest.Free(page):
		return rankOwned
	default:
		return rankOld
	}
}

// better reports whether a value is to be taken instead of another that was found before.
func (s *salvage) better(k, a []byte, aRank int, b []byte, bRank int) bool {
	if s.o.Newer != nil {
		if s.o.Newer(k, a[sumSize:], b[sumSize:]) {
			return true
		}
		if s.o.Newer(k, b[sumSize:], a[sumSize:]) {
			return false
		}
	}
	return aRank >= bRank
}

// save writes the batch to the new file.
func (b *strayBatch) save() error {
	s := b.s
	for _, name := range slices.Sorted(maps.Keys(b.found)) {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		k, found := []byte(name), b.found[name]
		at := s.levels[0].find(k)
		if single := s.levels[0][at].key; single != nil && !bytes.Equal(single, k) {
			// One entry is damaged here. If it was found, others are not what is missing.
			there, err := s.out.has(single)
			if err != nil {
				return err
			}
			if _, here := b.found[string(single)]; here || there {
				continue
			}
		}
		value := found.sealed[sumSize:]
		if bytes.Equal(k, keyFormat) {
			if err := s.take(k, found.sealed, value, true); err != nil {
				return err
			}
			continue
		}
		before, err := s.out.get(k)
		if err != nil {
			return err
		}
		if before != nil && !s.better(k, found.sealed, found.rank, before, rankOwned) {
			continue // a tree led to that one
		}
		if before == nil {
			s.report.Recovered++
			s.losses[at].Recovered++
		}
		s.seen(k, value)
		if err := s.out.put(k, found.sealed); err != nil {
			return err
		}
	}
	return nil
}
