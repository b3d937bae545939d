package schema

import "fmt"

// didYouMean is a suggestion to end an error text with, "" when no name is near.
func didYouMean(got string, names []string) string {
	if best := nearest(got, names); best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	return ""
}

// nearest is the name that differs from got by the fewest typing errors, if
// they are few for its length.
func nearest(got string, names []string) string {
	if len(got) > 64 { // no name of a field; and the comparison is quadratic
		return ""
	}
	best, least := "", 1+max(1, len(got)/3)
	for _, name := range names {
		if len(name) > 64 {
			continue
		}
		if d := distance(got, name); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
