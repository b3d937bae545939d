package schema

import (
	"regexp"
	"slices"
	"strings"
)

// patternsOf gathers a schema's patterns for compiling it once more.
func patternsOf(s *Schema) map[string]*regexp.Regexp {
	patterns := map[string]*regexp.Regexp{}
	for _, n := range s.nodes {
		if n.pattern != nil {
			patterns[n.pattern.String()] = n.pattern
		}
		for _, m := range n.patternProperties {
			patterns[m.name] = regexp.MustCompile(m.name)
		}
	}
	return patterns
}

type refusal struct {
	code, reason string
	files        []string
}

// refusals are the kinds of schemas in the suite that Croft refuses by design,
// with the files where they may be.
var refusals = []refusal{
	{"remote_ref", "nothing is ever fetched, and no other schemas are known, not even JSON Schema's own",
		[]string{"anchor", "defs", "dynamicRef", "ref", "refRemote", "unevaluatedItems", "unevaluatedProperties",
			"optional/cross-draft", "optional/dynamicRef", "optional/id", "optional/unknownKeyword"}},
	{"embedded_id", "a schema is one resource: $id may stand at its top only",
		[]string{"anchor", "dynamicRef", "ref", "refRemote", "unevaluatedItems", "unevaluatedProperties",
			"optional/dynamicRef", "optional/id", "optional/unknownKeyword"}},
	{"bad_ref", "in several resources an anchor may be there twice, or a pointer be relative; in refOfUnknownKeyword the target is no schema",
		[]string{"anchor", "dynamicRef", "ref", "unevaluatedItems", "unevaluatedProperties",
			"optional/dynamicRef", "optional/refOfUnknownKeyword"}},
	{"unknown_keyword", "a keyword that does nothing is likely a typing error",
		[]string{"optional/refOfUnknownKeyword", "optional/unknownKeyword"}},
	{"unknown_format", "a format that is not asserted would be accepted and ignored",
		[]string{"format", "optional/format/idn-email", "optional/format/idn-hostname", "optional/format/unknown"}},
	{"dialect", "only the dialect 2020-12 is known",
		[]string{"optional/format-assertion", "vocabulary"}},
	{"default", "a default that does not fit its own schema is refused, since Croft fills it in",
		[]string{"default"}},
	{"reserved_name", "a record's names never begin with $",
		[]string{"ref"}},
	{"number_range", "numbers are doubles, in schemas too",
		[]string{"optional/bignum"}},
	{"pattern", `RE2 has no \c`,
		[]string{"optional/ecmascript-regex"}},
}

// explained tells whether each of a refused schema's faults has a reason above.
func explained(file string, codes []string, used map[string]bool) bool {
	for _, code := range codes {
		i := slices.IndexFunc(refusals, func(r refusal) bool {
			return r.code == code && slices.Contains(r.files, file)
		})
		if i < 0 {
			return false
		}
		used[code] = true
	}
	return true
}

// differences are single cases that we answer differently, each with the reason.
// A key ends in * to stand for all cases that begin like it.
var differences = map[string]string{
	"format: *": "formats are asserted, where the suite has them as notes by default",

	"optional/bignum: *": "such a number is refused before the schema sees it: a double can't keep it",

	`optional/ecmascript-regex: ECMA 262 \s matches whitespace: *`:              `RE2's \s is ASCII`,
	`optional/ecmascript-regex: ECMA 262 \S matches everything but whitespace*`: `RE2's \s is ASCII`,

	`optional/format/ecmascript-regex: \a is not an ECMA 262 control escape: *`:                   "patterns are RE2",
	"optional/format/ecmascript-regex: Python-specific regular expression syntax*":                "patterns are RE2",
	"optional/format/ecmascript-regex: global inline flag groups are not valid ECMA 262: *":       "patterns are RE2",
	"optional/format/ecmascript-regex: ECMA 262 named groups and backreferences are valid: *":     "patterns are RE2",
	"optional/format/ecmascript-regex: ECMA 262 lookbehind is valid, including variable width: *": "patterns are RE2",
	"optional/format/ecmascript-regex: ECMA 262 character classes and escapes: *":                 "patterns are RE2",

	"optional/format/hostname: validation of A-label (punycode) host names: *": "names of internationalized domains are not decoded",

	"optional/format/iri: validation of IRIs: an IPvFuture host with an uppercase version letter is valid": "no such address was ever defined, and net/url has none",
}

// differs finds why we may answer a case differently, "" when we may not.
func differs(test string, used map[string]bool) string {
	for key, reason := range differences {
		prefix, wild := strings.CutSuffix(key, "*")
		if key == test || wild && strings.HasPrefix(test, prefix) {
			used[key] = true
			return reason
		}
	}
	return ""
}
