package api

import "net/http"

// Trust answers as the routes of the trust page do, for a root and a port of the HTTPS listener. w is NewWith's.
func Trust(w http.ResponseWriter, what string, root []byte, port int) error {
	q := w.(*request)
	switch what {
	case "page":
		return q.trustPage(root, port)
	case "root":
		return q.trustRoot(root)
	}
	return q.trustProfile(root)
}
