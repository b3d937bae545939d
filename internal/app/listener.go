package app

import (
	"net"
	"sync"
)

// A boundedListener has at most so many connections open: more wait in the system's own queue until one closes.
type boundedListener struct {
	net.Listener
	slots chan struct{} // full when no more may be accepted
	once  sync.Once
	done  chan struct{} // closed by Close
}

func bound(l net.Listener, connections int) net.Listener {
	return &boundedListener{Listener: l, slots: make(chan struct{}, connections), done: make(chan struct{})}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &boundedConn{Conn: c, slots: l.slots}, nil
}

func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type boundedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.slots })
	return err
}
