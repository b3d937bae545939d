//go:build unix

package store

import (
	"fmt"
	"os"
	"syscall"
)

// deviceAndInode tells a file from all others of the machine.
func deviceAndInode(file *os.File) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(file.Fd()), &st); err != nil {
		return "", os.NewSyscallError("fstat", err)
	}
	return fmt.Sprintf("device %d, inode %d", st.Dev, st.Ino), nil
}
