//go:build unix

package mdns

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// listen opens a socket that is bound to the group's address, so that packets to this machine alone go to the other responders that it
// may have: net would bind to all addresses.
func listen(six bool, i *net.Interface) (*net.UDPConn, error) {
	family, address := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: port, Addr: group4.As4()})
	if six {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Port: port, ZoneId: uint32(i.Index), Addr: group6.As16()}
	}
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "mdns")
	defer file.Close() // FilePacketConn has a copy
	options := [][2]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_REUSEPORT}}
	if six {
		options = append(options, [2]int{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o[0], o[1], 1); err != nil {
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := ownGroupsOnly(fd, six); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, address); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}
