package records

import (
	"strings"

	"croft/internal/errs"
)

// Condition holds the headers that make a request depend on the revision that is stored, as they came: each empty, "*",
// or a list of entity tags (RFC 9110, 13.1).
type Condition struct {
	IfMatch     string
	IfNoneMatch string
}

// check refuses a change whose condition does not hold. rev is "" when there is nothing.
func (c Condition) check(rev string) error {
	if c.IfMatch != "" && (rev == "" || !lists(c.IfMatch, rev, false)) {
		return errs.New(errs.Stale, "it was changed since you read it (If-Match): read it again and repeat your change on the new state")
	}
	if c.IfNoneMatch != "" && rev != "" && lists(c.IfNoneMatch, rev, true) {
		return errs.New(errs.Stale, "it exists already (If-None-Match)")
	}
	return nil
}

// unmodified reports whether a GET is to be answered with 304.
func (c Condition) unmodified(rev string) bool {
	return c.IfNoneMatch != "" && lists(c.IfNoneMatch, rev, true)
}

// lists reports whether a header names the revision. If-Match compares strongly: a weak tag never matches.
func lists(header, rev string, weak bool) bool {
	if strings.TrimSpace(header) == "*" {
		return true
	}
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimSpace(tag)
		if t, ok := strings.CutPrefix(tag, "W/"); ok {
			if !weak {
				continue
			}
			tag = t
		}
		if len(tag) == len(rev)+2 && tag[0] == '"' && tag[len(tag)-1] == '"' && tag[1:len(tag)-1] == rev {
			return true
		}
	}
	return false
}
