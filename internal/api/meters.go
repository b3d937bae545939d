package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"croft/internal/backup"
	"croft/internal/errs"
	"croft/internal/store"
)

// meters count what Prometheus reads.
type meters struct {
	set      *metrics.Set
	unrouted *meter
}

// A meter counts the requests of one route.
type meter struct {
	classes  [6]*metrics.Counter // by the first digit of the status; 0 counts answers that were never begun
	duration *metrics.Histogram
}

func newMeters(db *store.DB, backups *backup.Backups) *meters {
	m := &meters{set: metrics.NewSet()}
	m.unrouted = m.meter("none")
	for name, value := range map[string]func(store.Stats) float64{
		"croft_store_updates_total":        func(s store.Stats) float64 { return float64(s.Updates) },
		"croft_store_commits_total":        func(s store.Stats) float64 { return float64(s.Commits) },
		"croft_store_refused_total":        func(s store.Stats) float64 { return float64(s.Refused) },
		"croft_store_commit_seconds_total": func(s store.Stats) float64 { return s.CommitTime.Seconds() },
		"croft_store_queued":               func(s store.Stats) float64 { return float64(s.Queued) },
		"croft_store_bytes":                func(s store.Stats) float64 { return float64(s.Bytes) },
		"croft_store_free_bytes":           func(s store.Stats) float64 { return float64(s.FreeBytes) },
		"croft_store_pins":                 func(s store.Stats) float64 { return float64(s.Pins) },
		"croft_store_pinned_bytes":         func(s store.Stats) float64 { return float64(s.PinnedBytes) },
		"croft_store_oldest_pin_seconds":   func(s store.Stats) float64 { return s.OldestPin.Seconds() },
		"croft_store_holds_total":          func(s store.Stats) float64 { return float64(s.Holds) },
		"croft_store_early_releases_total": func(s store.Stats) float64 { return float64(s.EarlyReleases) },
	} {
		m.set.NewGauge(name, func() float64 { return value(db.Stats()) })
	}
	m.set.NewGauge("croft_backup_failures_total", func() float64 { return float64(backups.Stats().Failures) })
	m.set.NewGauge("croft_backup_age_seconds", func() float64 {
		last := backups.Stats().LastGood
		if last.IsZero() {
			return math.NaN() // there is none
		}
		return time.Since(last).Seconds()
	})
	return m
}

func (m *meters) route(rt *route) *meter { return m.meter(rt.method + " " + rt.path) }

func (m *meters) meter(name string) *meter {
	var mt meter
	for class := range mt.classes {
		mt.classes[class] = m.set.NewCounter(fmt.Sprintf(`croft_http_requests_total{route=%q,status="%dxx"}`, name, class))
	}
	mt.duration = m.set.NewHistogram(fmt.Sprintf(`croft_http_request_duration_seconds{route=%q}`, name))
	return &mt
}

func (m *meter) count(status int, took time.Duration) {
	m.classes[min(status/100, len(m.classes)-1)].Inc()
	m.duration.Update(took.Seconds())
}

func (q *request) meters() error {
	var b bytes.Buffer
	q.api.metrics.set.WritePrometheus(&b)
	metrics.WriteProcessMetrics(&b)
	q.Header()["Content-Type"] = valueMeters
	q.send(http.StatusOK, b.Bytes())
	return nil
}

// healthTime is how long the writer may take to say that it lives: several commits of a slow SD card.
const healthTime = 5 * time.Second

// health says whether the server can read and write. An update that writes nothing goes the writer's whole way but for
// the flush.
func (q *request) health() error {
	ctx, cancel := context.WithTimeout(q.ctx, healthTime)
	defer cancel()
	err := q.api.store.Update(ctx, func(*store.Tx) error { return nil })
	switch {
	case errors.Is(err, store.ErrDiskFull):
		return errs.Wrap(errs.DiskFull, "less of the disk is free than limits.disk_reserve demands, so nothing can be written; reading and deleting go on. Make room on the disk", err)
	case err != nil:
		return errs.Wrap(errs.Busy, "the data file can't be written now; the log says why", err)
	}
	answer := struct {
		Status string `json:"status"`
		HTTPS  string `json:"https,omitempty"` // that something is wrong with the certificates; the server works without
	}{Status: "ok"}
	if q.api.https.Healthy() != nil {
		answer.HTTPS = "a certificate is missing, or can't be renewed: croft https status tells why" // anyone may read this
	}
	return q.json(http.StatusOK, answer, nil)
}
