package https

import (
	"encoding/json"
	"strings"

	"croft/internal/https/authority"
	"croft/internal/store"
)

// Check reads what the package stores and calls report with what is wrong: each value can be read, and each key fits its certificate. It
// writes nothing. An entry that fails its checksum is not reported: the check of the file itself does that.
func Check(tx *store.Tx, report func(where, what string)) error {
	c := tx.Scan(store.Range{Lo: store.HTTPS.Key(), Hi: store.After(store.HTTPS.Key()), Unchecked: true})
	for c.Next() {
		key, value := c.Key(), c.Value()
		if c.Verify() != nil {
			continue
		}
		kind, rest := byte(0), ""
		if len(key) > 1 {
			kind, rest = key[1], string(key[2:])
		}
		switch kind {
		case kindStored:
			path, pair := strings.CutSuffix(rest, ".pem")
			name := path[strings.LastIndexByte(path, '/')+1:]
			switch {
			case len(value) < stampLen:
				report("certificates", "an entry is too short")
			case pair && strings.HasPrefix(path, "certificates/"):
				if _, err := parsePair(value[stampLen:], value[stampLen:]); err != nil {
					report("certificate of "+name, err.Error())
				}
			}
		case kindRoot:
			if _, err := authority.Parse(value); err != nil {
				report("Croft's own authority", err.Error())
			}
		case kindLeaf:
			if _, err := parsePair(value, value); err != nil {
				report("certificate of Croft's own authority", err.Error())
			}
		case kindTrouble:
			if json.Unmarshal(value, new(trouble)) != nil {
				report("last error of "+rest, "it can't be read")
			}
		default:
			report("certificates", "there is an entry of a kind that Croft doesn't write")
		}
	}
	return c.Err()
}
