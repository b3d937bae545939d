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

// watch tells when other processes have the data file open, by inotify. The kernel queues the events until the writer
// reads them, which it does before it lets go of anything: so an open that came before is never missed.
type watch struct {
	fd     int
	open   int       // how many have it open
	hold   hold      // empty when none has
	last   time.Time // when read was last called
	unsure time.Time // until then more may have it open
	buf    [4096]byte

	holds atomic.Int64 // how many have opened it
}

// newWatch watches an open file.
func newWatch(file *os.File, now time.Time) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	// By its descriptor, so that it is this file whatever happens to the name. Directories in between can't be a danger.
	if _, err := unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d", file.Fd()), unix.IN_OPEN|unix.IN_CLOSE); err != nil {
		return nil, errors.Join(fmt.Errorf("inotify: %w", err), unix.Close(fd))
	}
	return &watch{fd: fd, last: now}, nil
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
			mask := binary.NativeEndian.Uint32(b[4:])
			name := int(binary.NativeEndian.Uint32(b[12:]))
			w.event(mask, now)
			b = b[min(len(b), unix.SizeofInotifyEvent+name):]
		}
	}
	if w.open == 0 && now.After(w.hold.until) {
		w.hold = hold{}
	}
	w.last = now
	return &w.hold
}

func (w *watch) event(mask uint32, now time.Time) {
	switch {
	case mask&unix.IN_Q_OVERFLOW != 0:
		// Events are lost: for as long as we would wait without them, somebody may have it open.
		w.open, w.unsure = 0, now.Add(longWindow)
		w.begin(now, longWindow)
	case mask&unix.IN_OPEN != 0:
		w.open++
		w.holds.Add(1)
		w.begin(now, holdTime)
	case mask&unix.IN_CLOSE != 0:
		// Below zero it would be one that had the file open before we watched.
		if w.open = max(0, w.open-1); w.open == 0 && now.After(w.unsure) {
			w.hold = hold{}
		}
	}
}

// maxHeads bounds how many copies are told apart; further ones are held as if they began with the last.
const maxHeads = 64

// begin notes that somebody opened the file at some time since read was last called.
func (w *watch) begin(now time.Time, wait time.Duration) {
	head := span{w.last, now.Add(headTime)}
	if n := len(w.hold.heads); n > 0 && (n == maxHeads || !head.from.After(w.hold.heads[n-1].to)) {
		w.hold.heads[n-1].to = head.to
	} else {
		w.hold.heads = append(w.hold.heads, head)
	}
	if until := now.Add(wait); until.After(w.hold.until) {
		w.hold.until = until
	}
}

func (w *watch) opened() int64 { return w.holds.Load() }

func (w *watch) close() error { return unix.Close(w.fd) }
