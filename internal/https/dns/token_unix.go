//go:build unix

package dns

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// private refuses a file that others may read or change.
func private(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o, so others than its owner may use it; run: chmod 600 %s", path, mode, path)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid != 0 && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to the user of number %d, who may change it; run: chown %d %s", path, s.Uid, os.Geteuid(), path)
	}
	return nil
}
