package needs

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// Disk mounts an empty file system of so many MiB, in memory, until the test ends, and returns its folder. It is for root.
func Disk(t testing.TB, mib int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("croft", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", mib)); err != nil {
		Skip(t, "a small disk can't be mounted here: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
