package app

import (
	"errors"
	"fmt"

	"croft/internal/backup"
	"croft/internal/store"
)

// verifyCopy has a data file verified that is not the one which was served last: a copy can be torn, and opening a damaged file can
// take the process down. It reports whether it is the same.
func (a *App) verifyCopy(o Options) (placed bool, err error) {
	placed, err = store.Placed(a.config.Data)
	if placed || err != nil {
		return placed, err
	}
	verify := o.Verify
	if verify == nil {
		verify = backup.VerifyHere
	}
	a.log.Info("the data file is a copy, or was moved here from another disk: it is verified before it is used", "data", a.config.Data)
	err = verify(o.Context, a.config.Data)
	if errors.Is(err, store.ErrDamaged) {
		return false, fmt.Errorf("%s is a copy that is not whole, so it is not served: %w. Put another copy there, or take what can still be read out of this one by \"croft salvage %s OUT\"",
			a.config.Data, err, a.config.Data)
	}
	if err != nil {
		return false, fmt.Errorf("verify %s, which is a copy: %w", a.config.Data, err)
	}
	a.log.Info("the copy is whole", "data", a.config.Data)
	return false, nil
}
