package backup

import (
	"context"
	"time"
)

// RunSchedule runs a schedule until ctx ends. last is when the newest backup was taken, zero for never.
func RunSchedule(ctx context.Context, last time.Time, every func() time.Duration, now func() time.Time, take func(context.Context) error) {
	s := &schedule{every: every, take: take, now: now}
	if !last.IsZero() {
		s.last = moment{wall: last, clock: time.Now()}
	}
	s.run(ctx)
}
