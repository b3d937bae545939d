package api

import "net/http"

// check has the data file checked, which takes as long as it takes to read all of it.
func (q *request) check() error {
	if err := q.noDeadline(); err != nil {
		return err
	}
	report, err := q.api.checker.Check(q.ctx, q.caller)
	return q.json(http.StatusOK, report, err)
}
