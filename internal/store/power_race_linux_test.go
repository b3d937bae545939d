//go:build race && linux && (amd64 || arm64)

package store_test

import (
	"slices"
	"strings"
)

// The race detector slows these tests down by ten, and has nothing to find in most of what they do.
func init() {
	shortCommits = 40
	faults = slices.DeleteFunc(faults, func(f fault) bool { return strings.HasPrefix(f.name, "half") })
}
