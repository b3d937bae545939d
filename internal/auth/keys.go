package auth

import (
	"crypto/sha256"

	"croft/internal/store"
)

// The keys of auth, behind the byte of the space Auth. Ids are UUIDv7 as text, so that they sort by the time they were
// made. The hash is the SHA-256 of a whole token, prefix included: the token itself is nowhere.
//
//	key                    value
//	'u' user id            JSON: storedUser
//	'e' e-mail, folded     user id
//	'a' user id            nothing; there for users that have the role admin and are not disabled
//	's' hash               JSON: storedSession
//	'S' user id, id        hash of the session
//	't' hash               JSON: storedToken
//	'T' user id, id        hash of the API token
//	'i' hash               JSON: storedInvite
//	'I' id                 hash of the invite
//	'w'                    the setup token until it is used, then "used"
const (
	kindUser         = 'u'
	kindEmail        = 'e'
	kindAdmin        = 'a'
	kindSession      = 's'
	kindUserSession  = 'S'
	kindToken        = 't'
	kindUserToken    = 'T'
	kindInvite       = 'i'
	kindInviteByID   = 'I'
	kindSetup        = 'w'
	idLen            = 36 // of a UUID's text
	prefixLen        = 2  // the space and the kind
	setupUsed        = "used"
	maxSessions      = 100 // of one user; one more ends the one that was used longest ago
	maxTokens        = 100 // of one user
	maxInvites       = 1000
	maxKnownNetworks = 8 // of one user: home, work, phone, and a few that change
)

// hash is how a secret is kept.
type hash = [sha256.Size]byte

// key returns a key of auth's.
func key(kind byte, parts ...string) []byte {
	k := append(make([]byte, 0, 64), byte(store.Auth), kind)
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

var setupKey = key(kindSetup)

// hashOf returns the hash that a stored value is.
func hashOf(value []byte) (h hash) {
	copy(h[:], value)
	return h
}
