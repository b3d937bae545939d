package store

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// holder names the process that has a file locked, as far as the kernel tells.
func holder(path string) string {
	const unknown = "another process"
	var st syscall.Stat_t
	if syscall.Stat(path, &st) != nil {
		return unknown
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return unknown
	}
	defer locks.Close()
	// 1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[1] != "FLOCK" || !strings.HasSuffix(f[5], fmt.Sprintf(":%d", st.Ino)) {
			continue
		}
		cmdline, err := os.ReadFile("/proc/" + f[4] + "/cmdline")
		if err != nil {
			continue // of another disk with the same inode number, or of a process we may not see
		}
		name, _, _ := bytes.Cut(cmdline, []byte{0})
		return fmt.Sprintf("process %s (%s)", f[4], name)
	}
	return unknown
}
