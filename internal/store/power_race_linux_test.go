//go:build race && linux && (amd64 || arm64)

package store_test

// The race detector slows the test down by ten, and has nothing to find in it that other tests don't have.
func init() {
	shortCommits = 60
}
