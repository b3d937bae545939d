package store

import (
	"sync/atomic"
	"time"
)

// A plain copy of the file reads the meta pages first, and then, while commits go on, the pages of the commit that
// those name. bbolt writes to no page that a reader of an open transaction may want, so the file keeps commits
// readable for a while after newer ones replaced them: each is pinned by the transaction that View shared while it was
// the newest, which was opened before the next commit and is ended here. DESIGN.md has the reasoning and what it costs.
const (
	// longWindow is how long a replaced commit stays when there is room: long enough to copy a gigabyte from a common disk.
	longWindow = 30 * time.Second
	// shortWindow is how long it stays in any case. Where the system tells who has the file open, it tells so before the first byte
	// is read, and this is but a margin.
	shortWindow = 200 * time.Millisecond
	// headTime is how long after it opened the file a copy may begin to read.
	headTime = 10 * time.Second
	// holdTime is how long a process that has the file open is waited for: one that never closes it is no copy.
	holdTime = 15 * time.Minute

	// trimTime is how often to decide what to keep: with thousands of pins that takes longer than a commit should.
	trimTime = 10 * time.Millisecond

	// Of pages that are kept for copies alone, the first figure may be in the file for comfort (or an eighth of the file), and the second
	// at the very most. More comfort costs speed: pages that are written again soon are in the processor's caches.
	softPinned = 16 << 20
	hardPinned = 1 << 30
)

// copyWindow is set to "off" by the linker for tests of the tests: without pins they must find torn copies.
var copyWindow string

// A pin keeps a commit readable that newer ones replaced.
type pin struct {
	s        *snapshot
	since    time.Time // when it became the newest
	replaced time.Time // and when it ceased to be
}

// pins are the commits that are kept. All is owned by the writer's goroutine but for what is atomic.
type pins struct {
	opened  time.Time
	held    []pin     // oldest first
	since   time.Time // when the newest commit became that
	watch   *watch    // nil where the system doesn't tell who has the file open
	trimmed time.Time // when it was last decided what to keep
	warned  time.Time // when the log was last told that a copy may not be whole

	// For Stats: how many there are, when the oldest was replaced (since opened, 0 for none), how many a copy may have needed when
	// they were let go of, and how often others opened the file.
	count, oldest, early, opens atomic.Int64
}

// A hold is the time in which other processes have the file open.
type hold struct {
	heads []span // when a copy may have read its first pages
	until time.Time
}

// A span is a stretch of time.
type span struct{ from, to time.Time }

// touches reports whether a commit was the newest at some time of the span.
func (s span) touches(p pin) bool { return p.replaced.After(s.from) && p.since.Before(s.to) }

// add pins the commit that was the newest until now.
func (p *pins) add(s *snapshot, now time.Time) {
	p.held = append(p.held, pin{s: s, since: p.since, replaced: now})
	p.since = now
}

// trim lets go of what no copy can need any more, or of what there is no room for. It returns what to end, whether a copy
// may have needed that, and whether there is still too much. pending is how many bytes of pages are kept in the file, used
// how much of the file is in use; tight says that nothing must be kept.
func (p *pins) trim(now time.Time, pending, used int64, tight bool) (ended []*snapshot, lost, over bool) {
	var h *hold
	if p.watch != nil {
		h = p.watch.read(now)
	}
	return p.sift(now, pending, used, tight, h)
}

// sift is trim with what is known of who has the file open, nil for nothing.
func (p *pins) sift(now time.Time, pending, used int64, tight bool, h *hold) (ended []*snapshot, lost, over bool) {
	// About how many pins must go to come below a bound.
	excess := func(bound int64) int {
		if pending <= bound {
			return 0
		}
		return int(int64(len(p.held))*(pending-bound)/pending) + 1
	}
	optional, needed := excess(max(softPinned, used/8)), excess(hardPinned)
	kept := p.held[:0]
	for _, pin := range p.held {
		age := now.Sub(pin.replaced)
		keep := true
		switch {
		case copyWindow == "off":
			keep = false
		case tight:
			if keep = false; h.needs(pin, now) {
				lost = true
				p.early.Add(1)
			}
		case age < shortWindow:
		case h == nil && age < longWindow, h.needs(pin, now):
			if keep = needed <= 0; !keep {
				lost = lost || h.needs(pin, now)
				p.early.Add(1)
				needed--
				optional--
			}
		case age < longWindow, h.wants(pin, now):
			keep = optional <= 0
			optional--
		default:
			keep = false
			needed--
			optional--
		}
		if keep {
			kept = append(kept, pin)
		} else {
			ended = append(ended, pin.s)
		}
	}
	clear(p.held[len(kept):])
	p.held = kept
	p.tell()
	return ended, lost, needed > 0
}

// needs reports whether a copy that is being made may have begun with this commit.
func (h *hold) needs(p pin, now time.Time) bool {
	if h == nil || now.After(h.until) {
		return false
	}
	for _, head := range h.heads {
		if head.touches(p) {
			return true
		}
	}
	return false
}

// wants reports whether a copy may have begun with this commit that was slow to begin.
func (h *hold) wants(p pin, now time.Time) bool {
	return h != nil && len(h.heads) > 0 && !now.After(h.until) && p.replaced.After(h.heads[0].from)
}

// all lets go of everything.
func (p *pins) all() (ended []*snapshot) {
	for _, pin := range p.held {
		ended = append(ended, pin.s)
	}
	clear(p.held)
	p.held = p.held[:0]
	p.tell()
	return ended
}

func (p *pins) tell() {
	p.count.Store(int64(len(p.held)))
	oldest := int64(0)
	if len(p.held) > 0 {
		oldest = int64(p.held[0].replaced.Sub(p.opened))
	}
	p.oldest.Store(oldest)
}
