package api

import "net/http"

// httpsStatus tells of the certificates.
func (q *request) httpsStatus() error {
	status, err := q.api.https.Status(q.ctx, q.caller)
	return q.json(http.StatusOK, status, err)
}

// httpsRenew gets new certificates now, and tells of them. An authority may take minutes.
func (q *request) httpsRenew() error {
	if err := q.noDeadline(); err != nil {
		return err
	}
	if err := q.api.https.Renew(q.ctx, q.caller); err != nil {
		return err
	}
	return q.httpsStatus()
}

// forgetRoot has the next start make a new authority.
func (q *request) forgetRoot() error {
	return q.nothing(q.api.https.ForgetRoot(q.ctx, q.caller))
}

// trust tells people how to trust this server's own authority.
func (q *request) trust() error { return q.trustPage(q.api.https.RootPEM(), q.api.https.SecurePort()) }

func (q *request) trustCertificate() error { return q.trustRoot(q.api.https.RootPEM()) }

func (q *request) trustProfileFile() error { return q.trustProfile(q.api.https.RootPEM()) }
