package store

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// holder names the process that has a file locked, as far as the kernel tells.
func holder(path string) string {
	const unknown = "another process"
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return unknown
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return unknown
	}
	defer locks.Close()
	dev := uint64(st.Dev)
	exact := fmt.Sprintf("%02x:%02x:%d", unix.Major(dev), unix.Minor(dev), st.Ino)
	inode := fmt.Sprintf(":%d", st.Ino)
	found := unknown
	// 1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[1] != "FLOCK" || !strings.HasSuffix(f[5], inode) {
			continue
		}
		if f[4] == strconv.Itoa(os.Getpid()) {
			found = "this process"
		} else if cmdline, err := os.ReadFile("/proc/" + f[4] + "/cmdline"); err == nil {
			name, _, _ := bytes.Cut(cmdline, []byte{0})
			found = fmt.Sprintf("process %s (%s)", f[4], name)
		} else {
			continue // of another namespace, or user
		}
		if f[5] == exact {
			return found
		}
		// Some file systems have a device number of their own here: the inode's will do if there is no better one.
	}
	return found
}
