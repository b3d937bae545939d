package store

import "golang.org/x/sys/unix"

// Room is how many bytes this process may still write in a folder's file system.
func Room(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	// It counts in fragments; Bsize is how much is best read at once, which some file systems in user space say is far more.
	return int64(st.Bavail) * int64(st.Frsize), nil
}
