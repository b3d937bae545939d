package backup

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// A schedule takes a backup whenever one is due.
type schedule struct {
	every func() time.Duration        // how often; 0 for never
	take  func(context.Context) error // the error is only that it failed
	now   func() time.Time            // the clock on the wall
	last  moment
}

// look is how often the schedule is looked at: for settings that changed, and for a clock that was set or stood still.
const look = time.Minute

// retry is the longest that the schedule waits after a backup that failed.
const retry = time.Hour

// Start starts the schedule. Close ends it.
func (b *Backups) Start() {
	s := &schedule{
		every: func() time.Duration { return b.settings.Get().Backup.Every.Duration() },
		take:  b.takeDue, now: b.now, last: b.lastTime(),
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.wait.Go(func() { s.run(ctx) })
}

func (s *schedule) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := look
		if every := s.every(); every > 0 {
			if s.last.left(s.now(), every) <= 0 {
				s.last = moment{wall: s.now(), clock: time.Now()}
				s.last.failed = s.take(ctx) != nil
			}
			wait = min(look, s.last.left(s.now(), every))
		}
		timer.Reset(wait)
	}
}

// takeDue takes a backup for the schedule. One that is being taken by hand at that moment counts as well.
func (b *Backups) takeDue(ctx context.Context) (err error) {
	select {
	case b.turn <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-b.turn }()
	defer func() {
		if p := recover(); p != nil {
			b.failures.Add(1)
			b.log.Error("panic while taking a backup", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	_, err = b.take(ctx)
	return err
}

// moment is when a backup was begun, by the clock on the wall and by one that only runs. The first may be set to any time; the
// second may stand still while the machine sleeps, and knows nothing of the time before this process.
type moment struct {
	wall, clock time.Time
	failed      bool
}

// lastTime is the moment of the newest result. One of the future is what a clock that was wrong left, and doesn't count.
func (b *Backups) lastTime() moment {
	now := b.now()
	results, err := b.results()
	if err != nil {
		b.log.Error("the results of backups can't be read, so the schedule begins anew", "error", err)
		return moment{}
	}
	for _, r := range results {
		if !r.Time.After(now) {
			return moment{wall: r.Time, clock: time.Now(), failed: r.Check != CheckOK}
		}
	}
	return moment{}
}

// left is how long it is until the next backup: by whichever clock says that more time has gone by. So a clock that is set ahead
// has one taken early, and not again when it is set back and ahead once more; and one that is set back delays none.
func (m moment) left(now time.Time, every time.Duration) time.Duration {
	if m.wall.IsZero() {
		return 0
	}
	if m.failed {
		every = min(every, retry)
	}
	return every - max(now.Round(0).Sub(m.wall.Round(0)), time.Since(m.clock))
}
