// Package settings is what an owner changes while Croft runs. It is kept in the data file, so that a copy of that file
// brings it along; what must be known before the file opens is package config's.
//
// It promises that Get returns the values of the newest commit without touching the disk, and that what is stored has
// been validated. It writes one key, "values" in the space Settings: JSON of Values.
package settings

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/store"
)

// Who may sign up.
const (
	SignupInvite = "invite" // only with an invite; the default
	SignupOpen   = "open"   // everyone
)

// Values are the settings. They are shared, and never changed.
type Values struct {
	Signup      string   `json:"signup"`       // SignupInvite or SignupOpen
	CORSOrigins []string `json:"cors_origins"` // pages of these origins may use the API from a browser
	HostNames   []string `json:"host_names"`   // names that this server answers to besides those it always does
	Backup      Backup   `json:"backup"`       // when backups are taken
}

// Settings keeps the values.
type Settings struct {
	db     *store.DB
	values atomic.Pointer[Values] // set by New, and by the writer after a commit
}

var key = store.Settings.Key([]byte("values"))

// New reads the settings of a data file.
func New(db *store.DB) (*Settings, error) {
	s := &Settings{db: db}
	err := db.View(func(tx *store.Tx) error {
		v, err := read(tx)
		s.values.Store(v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Get returns the values as they are now.
func (s *Settings) Get() *Values { return s.values.Load() }

// Read returns the values to a caller who may manage the server.
func (s *Settings) Read(_ context.Context, c *identity.Caller) (*Values, error) {
	if err := mayManage(c); err != nil {
		return nil, err
	}
	return s.Get(), nil
}

// Patch changes the values by a JSON Merge Patch, in which null stands for the default. All faults are reported at once.
func (s *Settings) Patch(ctx context.Context, c *identity.Caller, body []byte) (*Values, error) {
	if err := mayManage(c); err != nil {
		return nil, err
	}
	change, err := parse(body)
	if err != nil {
		return nil, err
	}
	var v *Values
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		var err error
		if v, err = read(tx); err != nil {
			return err
		}
		change(v)
		value, err := json.Marshal(v)
		if err != nil {
			return err
		}
		tx.OnCommit(func() { s.values.Store(v) })
		return tx.Put(key, value)
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

func mayManage(c *identity.Caller) error {
	switch {
	case !c.SignedIn():
		return errs.New(errs.Unauthenticated, "Sign in as an admin to see or change the settings.")
	case c.Token != nil:
		return errs.New(errs.Forbidden, "API tokens are for records alone; sign in as an admin to see or change the settings.")
	case !c.Manages():
		return errs.New(errs.Forbidden, "Only admins may see and change the settings.")
	}
	return nil
}

// read returns the stored values, in memory of their own.
func read(tx *store.Tx) (*Values, error) {
	v := &Values{Signup: SignupInvite, CORSOrigins: []string{}, HostNames: []string{}, Backup: Backup{Keep: defaultKeep}}
	value, err := tx.Get(key)
	if err != nil || value == nil {
		return v, err
	}
	if err := json.Unmarshal(value, v); err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	return v, nil
}
