package https

import (
	"context"
	"encoding/json"
	"time"

	"croft/internal/store"
)

// Keys of the space, and their values:
//
//	'c' path    when it was written, in Unix milliseconds, and the bytes: what Storage keeps: ACME accounts, challenges under
//	            way, and certificates with their keys: certificates/ISSUER/NAME.pem
//	'r'         PEM: Croft's own authority, certificate and key
//	'l'         PEM: the certificate that it issued last, and its key
//	'e' name    JSON: what went wrong when a certificate for the name was last asked for; none when it went well
const (
	kindStored  = 'c'
	kindRoot    = 'r'
	kindLeaf    = 'l'
	kindTrouble = 'e'
)

func keyOf(kind byte, rest string) []byte { return store.HTTPS.Key([]byte{kind}, []byte(rest)) }

// trouble is what went wrong with a certificate. The zero value is none.
type trouble struct {
	Text     string    `json:"error"`
	At       time.Time `json:"at"`
	Next     time.Time `json:"next"`     // when the next try is due
	Failures int       `json:"failures"` // in a row
	Refused  bool      `json:"refused"`  // by an authority, whose limits are to be minded
	Asked    string    `json:"asked"`    // who, and how: trouble with another one is past
}

// get reads a value, in memory of its own; nil if there is none.
func get(db *store.DB, key []byte) (value []byte, err error) {
	err = db.View(func(tx *store.Tx) error {
		found, err := tx.Get(key)
		if found != nil {
			value = append([]byte{}, found...)
		}
		return err
	})
	return value, err
}

// put writes a value, and nil deletes it. What this package writes is small and takes the place of what was there, and a server
// without a certificate is of no use to those who would make room: so it may also when little of the disk is left.
func put(ctx context.Context, db *store.DB, key, value []byte) error {
	return db.Reclaim(ctx, func(tx *store.Tx) error {
		if value == nil {
			return tx.Delete(key)
		}
		return tx.Put(key, value)
	})
}

// troubleOf reads what is stored of a name. What can't be read is no trouble: the check of the file tells of it.
func (h *HTTPS) troubleOf(name string) (t trouble) {
	value, err := get(h.db, keyOf(kindTrouble, name))
	if err != nil || value == nil || json.Unmarshal(value, &t) != nil {
		return trouble{}
	}
	return t
}

// setTrouble stores it. That it can't be stored is no reason to fail: it is told in the log, and kept in memory.
func (h *HTTPS) setTrouble(ctx context.Context, name string, t trouble) {
	if err := h.storeTrouble(ctx, name, t); err != nil && ctx.Err() == nil {
		h.log.Warn("the state of a certificate can't be stored", "name", name, "error", err)
	}
}

func (h *HTTPS) storeTrouble(ctx context.Context, name string, t trouble) error {
	if t.Text == "" {
		return put(ctx, h.db, keyOf(kindTrouble, name), nil)
	}
	value, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return put(ctx, h.db, keyOf(kindTrouble, name), value)
}
