package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/google/uuid"
)

// How each kind of token begins, so that people and secret scanners know what they found.
const (
	SessionPrefix = "croft_s_"
	TokenPrefix   = "croft_t_"
	InvitePrefix  = "croft_i_"
	SetupPrefix   = "croft_setup_"
)

const (
	secretBytes = 32
	secretLen   = 43 // in base64url
	tokenLen    = len(SessionPrefix) + secretLen
)

// newSecret returns a token of 256 random bits.
func newSecret(prefix string) string {
	var b [secretBytes]byte
	rand.Read(b[:]) // never fails: the process ends instead
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// hashSecret is what is stored of a token. 256 random bits need no slow hash.
func hashSecret(token string) hash {
	// On the stack, for tokens of the usual length.
	var b [tokenLen]byte
	return sha256.Sum256(append(b[:0], token...))
}

// hashText is the hash as a part of a key.
func hashText(token string) string {
	h := hashSecret(token)
	return string(h[:])
}

// wellFormed reports whether a token can be one of this kind.
func wellFormed(token, prefix string) bool {
	secret, ok := strings.CutPrefix(token, prefix)
	if !ok || len(secret) != secretLen {
		return false
	}
	for i := range len(secret) {
		switch c := secret[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// newID returns an id. It has nothing to do with any secret.
func newID() (string, error) {
	id, err := uuid.NewV7()
	return id.String(), err
}
