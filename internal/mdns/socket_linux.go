package mdns

import "golang.org/x/sys/unix"

// ownGroupsOnly keeps from a socket what arrives at the interfaces at which it has not joined, which Linux gives it otherwise when any
// other socket has. With IPv6 the bound zone does that.
func ownGroupsOnly(fd int, six bool) error {
	if six {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
}
