package records

import (
	"context"
	"errors"
	"fmt"

	"croft/internal/store"
)

// Check is the package's Check on the newest state, with all that it reports as one error.
func (r *Records) Check(ctx context.Context) error {
	var faults []error
	err := r.db.View(func(tx *store.Tx) error {
		_, err := Check(ctx, tx, func(where, what string) {
			if len(faults) < 100 {
				faults = append(faults, fmt.Errorf("%s: %s", where, what))
			}
		})
		return err
	})
	return errors.Join(append(faults, err)...)
}
