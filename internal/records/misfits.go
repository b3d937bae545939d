package records

import (
	"context"

	"croft/internal/errs"
	"croft/internal/store"
)

// misfits are the records that do not fit a schema.
type misfits struct {
	Count   int      `json:"count"`
	Records []misfit `json:"records"` // the first maxMisfits

	seen uint64 // the change up to which the records were looked at
}

type misfit struct {
	ID     string       `json:"id"`
	Errors []errs.Field `json:"errors"`
}

const maxMisfits = 100

// find looks at the records that were changed after the change since, and adds those that don't fit.
func (m *misfits) find(ctx context.Context, tx *store.Tx, coll *collection, since uint64) error {
	var err error
	if m.seen, err = tx.Seq(); err != nil || coll.schema == nil {
		return err
	}
	if m.Records == nil {
		m.Records = []misfit{}
	}
	prefix := recordPrefix(coll.number)
	c := tx.Scan(store.Prefix(prefix))
	for n := 0; c.Next(); n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		s, err := openStored(c.Value())
		if err != nil {
			return err
		}
		id := string(c.Key()[len(prefix):])
		if since > 0 {
			seq, err := seqOf(revOf(s.json, id))
			if err != nil {
				return err
			}
			if seq <= since {
				continue
			}
		}
		_, body := split(nil, s.json)
		if faults := coll.schema.Validate(body); len(faults) > 0 {
			m.Count++
			if len(m.Records) < maxMisfits {
				m.Records = append(m.Records, misfit{id, faults})
			}
		}
	}
	return c.Err()
}
