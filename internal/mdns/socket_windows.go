package mdns

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/windows"
)

// listen opens a socket at all addresses, as Windows binds to no group's; it hears the groups that it joins.
func listen(six bool, _ *net.Interface) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		e := c.Control(func(fd uintptr) {
			err = windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_REUSEADDR, 1)
		})
		if e != nil {
			return e
		}
		return err
	}}
	network, address := "udp4", "0.0.0.0:5353"
	if six {
		network, address = "udp6", "[::]:5353"
	}
	conn, err := config.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}
