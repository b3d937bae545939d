package store

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// identify tells a file from all others of its disk by its inode and when that was made: a number is used again once its file
// is gone, and a disk's own number changes with the order in which disks are found at a start. FAT has no inodes, so that
// Linux makes their numbers up anew at each mount. Where no time is known, the disk's number must do.
func identify(file *os.File) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &fs); err != nil {
		return "", os.NewSyscallError("statfs", err)
	}
	var st unix.Statx_t
	err := unix.Statx(int(file.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st)
	switch {
	case err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM): // as old kernels and some sandboxes answer
		return "", os.NewSyscallError("statx", err)
	case err == nil && st.Mask&unix.STATX_BTIME != 0 && (fs.Type == unix.MSDOS_SUPER_MAGIC || fs.Type == unix.EXFAT_SUPER_MAGIC):
		return fmt.Sprintf("born %d.%09d", st.Btime.Sec, st.Btime.Nsec), nil
	case err == nil && st.Mask&unix.STATX_BTIME != 0:
		return fmt.Sprintf("inode %d, born %d.%09d", st.Ino, st.Btime.Sec, st.Btime.Nsec), nil
	}
	return deviceAndInode(file)
}
