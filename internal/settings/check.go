package settings

import (
	"bytes"
	"errors"

	"croft/internal/errs"
	"croft/internal/store"
)

// Check reads the settings as they are stored and calls report with what is wrong. It needs no Settings and writes nothing. An
// entry that fails its checksum is not reported: the check of the file itself does that.
func Check(tx *store.Tx, report func(where, what string)) error {
	prefix := store.Settings.Key()
	c := tx.Scan(store.Range{Lo: prefix, Unchecked: true})
	for c.Next() && bytes.HasPrefix(c.Key(), prefix) {
		if c.Verify() != nil {
			continue
		}
		if !bytes.Equal(c.Key(), key) {
			report("settings", "there is an entry of a kind that Croft doesn't write")
			continue
		}
		// What is stored would be accepted if somebody sent it.
		_, err := parse(c.Value())
		var e *errs.Error
		if err == nil {
			continue
		}
		if !errors.As(err, &e) || e.Code != errs.Invalid {
			report("settings", "they can't be read")
			continue
		}
		for _, f := range e.Fields {
			report("setting "+f.Pointer, f.Message)
		}
	}
	return c.Err()
}
