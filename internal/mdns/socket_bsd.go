//go:build unix && !linux

package mdns

// ownGroupsOnly has nothing to do: a socket gets what it has joined.
func ownGroupsOnly(int, bool) error { return nil }
