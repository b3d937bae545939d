package config

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// A Problem is one fault of the configuration.
type Problem struct {
	Where  string // croft.toml:3, CROFT_LISTEN, --listen
	Key    string // limits.scan; empty where Where says it already
	Reason string // what is wrong and what is right

	source string
	line   int
}

func (p Problem) String() string {
	if p.Key == "" {
		return p.Where + ": " + p.Reason
	}
	return p.Where + ": " + p.Key + ": " + p.Reason
}

// Problems are all the faults of a configuration: the file's by line, then the environment's, then
// the flags'.
type Problems []Problem

// Error has a line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func (ps Problems) sort() {
	rank := []string{SourceDefault, SourceFile, SourceEnv, SourceFlag}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(slices.Index(rank, a.source), slices.Index(rank, b.source)),
			cmp.Compare(a.line, b.line),
			cmp.Compare(a.Where, b.Where))
	})
}

// rootCause leaves out the path, which the problem names already.
func rootCause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// unknownKey says that there is no such setting, and which one may be meant.
func unknownKey(key string) string {
	if near := nearest(key, keys); near != "" {
		return "there is no such setting; did you mean " + near + "?"
	}
	return `there is no such setting; "croft config example" lists them all`
}

// nearest returns the one of known that name was probably meant to be, or nothing. A dot and an
// underscore count as the same. A name that is the last part of a key is near: scan for limits.scan.
func nearest(name string, known []string) string {
	plain := strings.NewReplacer(".", "_")
	best, least := "", max(1, len(name)/3)+1 // with more than a third of the letters wrong it is no slip
	for _, key := range known {
		if d := distance(plain.Replace(name), plain.Replace(key)); d < least {
			best, least = key, d
		}
	}
	for _, key := range known {
		if best == "" && strings.HasSuffix(key, "."+name) {
			best = key
		}
	}
	return best
}

// distance is the least number of letters to insert, delete or replace to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
