package auth

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"croft/internal/errs"
	"croft/internal/identity"
)

// faults gathers what is wrong with single values of an input, so that all of it is told at once.
type faults []errs.Field

func (f *faults) add(pointer, code, message string) {
	*f = append(*f, errs.Field{Pointer: pointer, Code: code, Message: message})
}

// err is the error of the faults, or nil if there are none.
func (f faults) err() error {
	switch len(f) {
	case 0:
		return nil
	case 1:
		return &errs.Error{Code: errs.Invalid, Text: "The value of " + strings.TrimPrefix(f[0].Pointer, "/") + " " + f[0].Message + ".", Fields: f}
	}
	return &errs.Error{Code: errs.Invalid, Text: "Some values don't fit.", Fields: f}
}

const (
	maxEmail = 254 // octets (RFC 5321, 4.5.3.1.3, less the angle brackets)
	maxName  = 200
	maxRoles = 32
)

// email returns an address without the space around it. The rule is plain on purpose: that an address exists is not for
// a pattern to say.
func (f *faults) email(pointer, s string) string {
	s = strings.TrimSpace(s)
	local, domain, ok := strings.Cut(s, "@")
	switch {
	case s == "":
		f.add(pointer, "required", "must be given")
	case len(s) > maxEmail:
		f.add(pointer, "too_long", fmt.Sprintf("is longer than %d bytes", maxEmail))
	case !ok || local == "" || domain == "" || strings.Contains(domain, "@") || !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable):
		f.add(pointer, "invalid", "must be an e-mail address, such as ada@example.org")
	}
	return s
}

// foldEmail is the spelling by which addresses are compared.
func foldEmail(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func unprintable(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }

// name returns a name for people without the space around it.
func (f *faults) name(pointer, s string) string {
	s = strings.TrimSpace(s)
	switch {
	case utf8.RuneCountInString(s) > maxName:
		f.add(pointer, "too_long", fmt.Sprintf("is longer than %d characters", maxName))
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		f.add(pointer, "invalid", "must be one line of text")
	}
	return s
}

var roleWord = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// roles returns the roles sorted, each once.
func (f *faults) roles(pointer string, roles []string) []string {
	if len(roles) > maxRoles {
		f.add(pointer, "too_many", fmt.Sprintf("are more than %d", maxRoles))
		return nil
	}
	for i, r := range roles {
		if !roleWord.MatchString(r) {
			f.add(pointer+"/"+strconv.Itoa(i), "invalid",
				"must be a word of lower-case letters, digits, _ and -, of at most 32 characters that begins with a letter")
		}
	}
	roles = slices.Clone(roles)
	slices.Sort(roles)
	return append([]string{}, slices.Compact(roles)...)
}

const maxScopes = 100

// collectionName is the rule for names of collections; they may have at most 64 characters besides.
var collectionName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$`)

// scopes returns the scopes in memory of their own.
func (f *faults) scopes(scopes []identity.Scope) []identity.Scope {
	if len(scopes) == 0 {
		f.add("/scopes", "required", `must say what the token may do, such as [{"collection":"notes","actions":["read"]}]`)
	}
	if len(scopes) > maxScopes {
		f.add("/scopes", "too_many", fmt.Sprintf("are more than %d", maxScopes))
		return nil
	}
	kept := make([]identity.Scope, len(scopes))
	for i, s := range scopes {
		pointer := "/scopes/" + strconv.Itoa(i)
		if s.Collection != "*" && (len(s.Collection) > 64 || !collectionName.MatchString(s.Collection)) {
			f.add(pointer+"/collection", "invalid", `must be a collection's name, such as notes or shop.orders, or "*" for all`)
		}
		if len(s.Actions) == 0 {
			f.add(pointer+"/actions", "required", "must have at least one of "+strings.Join(identity.Actions, ", "))
		}
		for j, action := range s.Actions {
			at := pointer + "/actions/" + strconv.Itoa(j)
			switch {
			case !slices.Contains(identity.Actions, action):
				f.add(at, "invalid", "must be one of "+strings.Join(identity.Actions, ", "))
			case slices.Contains(s.Actions[:j], action):
				f.add(at, "duplicate", "is there twice")
			}
		}
		kept[i] = identity.Scope{Collection: s.Collection, Actions: slices.Clone(s.Actions)}
	}
	return kept
}
