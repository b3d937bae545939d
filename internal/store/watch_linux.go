package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watch tells when other processes have the data file open. That they open it comes from inotify, whose events the kernel queues
// until the writer reads them, which it does before it lets go of anything: an open that came before is never missed. That they
// have closed it can't be told from events, of which the kernel makes one where two are alike: a lease on the file
// is given to nobody while others have it open.
type watch struct {
	fd     int
	file   *os.File
	leases bool          // the file system has leases
	hold   hold          // empty when nobody has it open
	last   time.Time     // when read was last called
	asked  time.Time     // when the lease was last tried
	seen   time.Time     // the last event, where there are no leases
	opens  *atomic.Int64 // counts how often it was opened
	buf    [4096]byte
}

// askTime is how often it is asked whether those who opened the file have closed it.
const askTime = time.Second

// newWatch watches an open file, and counts in opens how often others open it.
func newWatch(file *os.File, now time.Time, opens *atomic.Int64) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	w := &watch{fd: fd, file: file, last: now, seen: now, opens: opens}
	open, known := w.inUse()
	events := uint32(unix.IN_OPEN)
	if w.leases = known; !known {
		events |= unix.IN_ACCESS
	}
	// By its descriptor, so that it is this file whatever happens to the name.
	if _, err := unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d", file.Fd()), events); err != nil {
		return nil, errors.Join(fmt.Errorf("inotify: %w", err), unix.Close(fd))
	}
	if open {
		w.begin(now) // a copy was begun before
	}
	return w, nil
}

// inUse reports whether others have the file open, if that can be known.
func (w *watch) inUse() (open, known bool) {
	_, err := unix.FcntlInt(w.file.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	if err == nil {
		// Whoever opens the file at this very moment waits until it is given back.
		_, err = unix.FcntlInt(w.file.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
		return false, err == nil
	}
	return err == unix.EAGAIN, err == unix.EAGAIN
}

// read takes the events that came since it was last called, and returns the hold.
func (w *watch) read(now time.Time) *hold {
	for {
		n, err := unix.Read(w.fd, w.buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			break // EAGAIN: that was all
		}
		for b := w.buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			w.seen = now
			if binary.NativeEndian.Uint32(b[4:])&(unix.IN_OPEN|unix.IN_Q_OVERFLOW) != 0 {
				w.opens.Add(1)
				w.begin(now)
			}
			name := int(binary.NativeEndian.Uint32(b[12:]))
			b = b[min(len(b), unix.SizeofInotifyEvent+name):]
		}
	}
	w.last = now
	if len(w.hold.heads) > 0 && w.closed(now) {
		w.hold = hold{}
	}
	return &w.hold
}

// closed reports whether nobody has the file open any more.
func (w *watch) closed(now time.Time) bool {
	if !w.leases {
		return now.Sub(w.seen) > longWindow
	}
	if now.Sub(w.asked) < askTime {
		return false
	}
	w.asked = now
	open, known := w.inUse()
	return known && !open
}

// maxHeads bounds how many copies are told apart; further ones are held as if they began with the last.
const maxHeads = 64

// begin notes that somebody opened the file at some time since read was last called.
func (w *watch) begin(now time.Time) {
	head := span{w.last, now.Add(headTime)}
	if n := len(w.hold.heads); n > 0 && (n == maxHeads || !head.from.After(w.hold.heads[n-1].to)) {
		w.hold.heads[n-1].to = head.to
	} else {
		w.hold.heads = append(w.hold.heads, head)
	}
	w.hold.until = now.Add(holdTime)
	w.asked = now
}

func (w *watch) close() error { return unix.Close(w.fd) }
