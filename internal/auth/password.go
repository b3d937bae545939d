package auth

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	minPassword = 8
	maxPassword = 256
)

// password says what is wrong with a new password. There are no rules about which characters it must have: they make
// passwords worse. What counts is that nobody tries it first.
func (f *faults) password(pointer, password, email string) {
	n := utf8.RuneCountInString(password)
	switch {
	case password == "":
		f.add(pointer, "required", "must be given")
	case !utf8.ValidString(password):
		f.add(pointer, "invalid", "must be text in UTF-8")
	case n < minPassword:
		f.add(pointer, "too_short", "must have at least 8 characters; a few random words are good")
	case n > maxPassword:
		f.add(pointer, "too_long", "must have at most 256 characters")
	case isCommon(password):
		f.add(pointer, "common", "is one of those that are tried first; choose another, a few random words are good")
	case isPersonal(password, email):
		f.add(pointer, "guessable", "is little more than the e-mail address or the name of this program; choose another")
	}
}

// commonPasswords are the first 4 bytes of the SHA-256 of each common password of at least 8 characters, sorted. The
// list is that of github.com/trustelem/zxcvbn, which costs 9 MiB of memory where it is imported; of this file a
// few pages are read. A good password is taken for one of its 11,611 once in 370,000 times.
// "go test -run TestCommonPasswords -update" writes it.
//
//go:embed common_passwords.bin
var commonPasswords string

const commonLen = 4

func commonSum(password string) uint32 {
	sum := sha256.Sum256([]byte(password))
	return binary.BigEndian.Uint32(sum[:])
}

// isCommon reports whether a password is on the list, in any case of letters, or is so with a few digits or signs
// around it, or has two different characters at most.
func isCommon(password string) bool {
	p := strings.ToLower(password)
	different := map[rune]bool{}
	for _, r := range p {
		different[r] = true
	}
	core := strings.TrimFunc(p, func(r rune) bool { return !unicode.IsLetter(r) })
	return len(different) <= 2 || onList(p) || utf8.RuneCountInString(core) >= minPassword && onList(core)
}

func onList(password string) bool {
	sum := commonSum(password)
	at := func(i int) uint32 { return binary.BigEndian.Uint32([]byte(commonPasswords[i*commonLen:][:commonLen])) }
	n := len(commonPasswords) / commonLen
	i := sort.Search(n, func(i int) bool { return at(i) >= sum })
	return i < n && at(i) == sum
}

// isPersonal reports whether a password has fewer than 5 characters besides parts of the e-mail address and the
// program's name.
func isPersonal(password, email string) bool {
	p := strings.ToLower(password)
	local, domain, _ := strings.Cut(foldEmail(email), "@")
	name, _, _ := strings.Cut(domain, ".")
	for _, word := range []string{foldEmail(email), domain, local, name, "croft"} {
		if utf8.RuneCountInString(word) >= 3 {
			p = strings.ReplaceAll(p, word, "")
		}
	}
	return utf8.RuneCountInString(p) < 5
}
