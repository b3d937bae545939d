package backup_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"croft/internal/backup"
)

// A day of the schedule: what happens at which minute, and at which minutes backups are taken.
func TestSchedule(t *testing.T) {
	type event struct {
		minute int
		every  time.Duration // the setting, when not 0; less than 0 for off
		jump   time.Duration // of the clock on the wall
	}
	for _, test := range []struct {
		name   string
		last   time.Duration // how long ago the newest one was taken, by the wall; 0 for never
		events []event
		fails  func(minute int) bool
		until  int
		want   []int
	}{
		{name: "off", until: 3000},
		{name: "never before", events: []event{{every: 6 * time.Hour}}, until: 1439, want: []int{0, 360, 720, 1080}},
		{name: "after a restart", last: 5 * time.Hour, events: []event{{every: 6 * time.Hour}}, until: 800, want: []int{60, 420, 780}},
		{name: "missed ones are one", last: 100 * time.Hour, events: []event{{every: time.Hour}}, until: 130, want: []int{0, 60, 120}},
		{name: "turned on, changed, off", events: []event{{10, time.Hour, 0}, {100, 2 * time.Hour, 0}, {300, -1, 0}}, until: 1000, want: []int{10, 70, 190}},
		{name: "every minute", events: []event{{every: time.Minute}}, until: 3, want: []int{0, 1, 2, 3}},
		{name: "the clock is set a year ahead", last: time.Hour, events: []event{{every: 4 * time.Hour}, {minute: 10, jump: 365 * 24 * time.Hour}}, until: 500, want: []int{10, 250, 490}},
		{name: "the clock is set a year back", last: time.Hour, events: []event{{every: 4 * time.Hour}, {minute: 10, jump: -365 * 24 * time.Hour}}, until: 500, want: []int{240, 480}},
		{name: "the clock goes to and fro", last: time.Minute, events: []event{{every: time.Hour},
			{minute: 5, jump: 2 * time.Hour}, {minute: 6, jump: -2 * time.Hour}, {minute: 7, jump: 2 * time.Hour}, {minute: 8, jump: -2 * time.Hour}, {minute: 9, jump: 2 * time.Hour}},
			until: 120, want: []int{5, 65}},
		{name: "the last is of the future", last: -48 * time.Hour, events: []event{{every: 6 * time.Hour}}, until: 800, want: []int{360, 720}},
		{name: "a failed one is tried again after an hour", events: []event{{every: 24 * time.Hour}}, fails: func(minute int) bool { return minute < 100 }, until: 2999, want: []int{0, 60, 120, 1560}},
		{name: "a failed one that is due soon", events: []event{{every: 10 * time.Minute}}, fails: func(int) bool { return true }, until: 25, want: []int{0, 10, 20}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				// The minute that it is, or that it will be in half a minute: the schedule is looked at on the minute.
				minute := func() int { return int((time.Since(begin) + 30*time.Second) / time.Minute) }
				var every, jumped atomic.Int64
				happen := func() {
					for _, e := range test.events {
						if e.minute == minute() {
							jumped.Add(int64(e.jump))
							if e.every != 0 {
								every.Store(int64(max(0, e.every)))
							}
						}
					}
				}
				happen()
				var last time.Time
				if test.last != 0 {
					last = begin.Add(-test.last)
				}
				var got []int
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					backup.RunSchedule(ctx, last,
						func() time.Duration { return time.Duration(every.Load()) },
						func() time.Time { return time.Now().Add(time.Duration(jumped.Load())) },
						func(context.Context) error {
							got = append(got, minute())
							if test.fails != nil && test.fails(minute()) {
								return errors.New("it fails")
							}
							return nil
						})
				}()
				synctest.Wait()
				for range test.until {
					time.Sleep(30 * time.Second)
					synctest.Wait()
					happen()
					time.Sleep(30 * time.Second)
					synctest.Wait()
				}
				stop()
				<-ended
				if !slices.Equal(got, test.want) {
					t.Errorf("taken at minutes %v, want %v", got, test.want)
				}
			})
		})
	}
}
