//go:build !linux

package lan

// virtualDevice knows nothing here beyond what the names say.
func virtualDevice(string) bool { return false }
