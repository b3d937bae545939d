package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Backup says when backups are taken into their folder.
type Backup struct {
	Every Interval `json:"every"` // 0, null as JSON, for never; the default
	Keep  int      `json:"keep"`  // how many are kept
}

// The bounds of Backup.
const (
	minEvery    = Interval(time.Minute)
	maxEvery    = Interval(366 * 24 * time.Hour)
	defaultKeep = 7
	maxKeep     = 1000
)

// An Interval is written as a Go duration, 24h or 90m, and as null when it is 0.
type Interval time.Duration

// Duration returns the interval as what it is.
func (i Interval) Duration() time.Duration { return time.Duration(i) }

// String leaves out the parts that are zero: 24h and not 24h0m0s.
func (i Interval) String() string {
	s := time.Duration(i).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalJSON writes the interval.
func (i Interval) MarshalJSON() ([]byte, error) {
	if i == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(i.String())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (i *Interval) UnmarshalJSON(b []byte) error {
	*i = 0
	if string(b) == "null" {
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	d, err := time.ParseDuration(s)
	*i = Interval(d)
	return err
}

// backup reads a merge patch of the member backup.
func (f *faults) backup(raw jsontext.Value) (apply func(*Backup)) {
	if raw == nil {
		return func(*Backup) {}
	}
	if raw.Kind() == 'n' {
		return func(now *Backup) { *now = Backup{Keep: defaultKeep} }
	}
	var patch struct {
		Every jsontext.Value `json:"every"`
		Keep  jsontext.Value `json:"keep"`
	}
	if err := jsonv2.Unmarshal(raw, &patch, jsonv2.RejectUnknownMembers(true)); err != nil {
		if semantic := (*jsonv2.SemanticError)(nil); errors.As(err, &semantic) && errors.Is(semantic.Err, jsonv2.ErrUnknownName) {
			f.add("/backup"+string(semantic.JSONPointer), "unknown_field", "there is no such setting of backup; there are every and keep")
		} else {
			f.add("/backup", "wrong_type", `must be an object, such as {"every":"24h","keep":7}`)
		}
		return nil
	}
	b := Backup{Keep: defaultKeep}
	if patch.Every != nil {
		b.Every = f.every(patch.Every)
	}
	if patch.Keep != nil && patch.Keep.Kind() != 'n' {
		if err := jsonv2.Unmarshal(patch.Keep, &b.Keep); err != nil || b.Keep < 1 || b.Keep > maxKeep {
			f.add("/backup/keep", "invalid", fmt.Sprintf("must be a whole number from 1 to %d", maxKeep))
		}
	}
	return func(now *Backup) {
		if patch.Every != nil {
			now.Every = b.Every
		}
		if patch.Keep != nil {
			now.Keep = b.Keep
		}
	}
}

func (f *faults) every(raw jsontext.Value) Interval {
	var i Interval
	if raw.Kind() == 'n' {
		return 0
	}
	if err := json.Unmarshal(raw, &i); err != nil || i < minEvery || i > maxEvery {
		f.add("/backup/every", "invalid", fmt.Sprintf(`must be a length of time from %v to %v, such as "24h" or "90m", or null for no backups`, minEvery, maxEvery))
	}
	return i
}
