package service

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// A Notifier tells systemd how the server is: that it starts, serves, lives, stops. Where nobody listens, as in a terminal, it does
// nothing, and neither does the zero Notifier. Messages that can't be sent are lost: systemd then ends a server that it takes for dead, and starts it again.
type Notifier struct {
	active   bool
	watchdog time.Duration // how long systemd waits for a sign of life; 0 for ever

	mu     sync.Mutex
	starts context.CancelFunc // of the goroutine that asks for more time; nil when there is none

	stop context.CancelFunc // of all goroutines
	ctx  context.Context
	wait sync.WaitGroup
}

// Supervised returns the notifier of this process. It must be closed.
func Supervised() *Notifier {
	n := &Notifier{active: os.Getenv("NOTIFY_SOCKET") != ""}
	n.ctx, n.stop = context.WithCancel(context.Background())
	if watchdog, err := daemon.SdWatchdogEnabled(false); err == nil {
		n.watchdog = watchdog
	}
	return n
}

func (n *Notifier) tell(state string) {
	if n.active {
		_, _ = daemon.SdNotify(false, state) // as the type says
	}
}

// A start that verifies a large file, or brings it up to date, takes as long as that takes: while the process runs it asks
// for more time, each time as much as three of its messages could be late.
const (
	moreTimeEvery = 10 * time.Second
	moreTime      = 30 * time.Second
)

// Starting asks for time until Ready or Stopping.
func (n *Notifier) Starting() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.active || n.starts != nil {
		return
	}
	ctx, cancel := context.WithCancel(n.ctx)
	n.starts = cancel
	n.every(ctx, moreTimeEvery, func() { n.tell(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", moreTime.Microseconds())) })
}

func (n *Notifier) started() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.starts != nil {
		n.starts()
		n.starts = nil
	}
}

// Ready says that requests are answered, and in a few words where.
func (n *Notifier) Ready(status string) {
	n.started()
	n.tell("READY=1\nSTATUS=" + status)
}

// Alive gives a sign of life, twice as often as it is expected, whenever healthy returns nil; healthy may take as long as the time between
// two signs. A server that stays unhealthy for as long as systemd waits is ended and started again.
func (n *Notifier) Alive(healthy func(context.Context) error) {
	if !n.active || n.watchdog == 0 {
		return
	}
	n.every(n.ctx, n.watchdog/2, func() {
		ctx, cancel := context.WithTimeout(n.ctx, n.watchdog/2)
		defer cancel()
		if healthy(ctx) == nil {
			n.tell(daemon.SdNotifyWatchdog)
		}
	})
}

// Stopping says that the server ends, in order.
func (n *Notifier) Stopping() {
	n.started()
	n.tell("STOPPING=1\nSTATUS=stopping")
}

// Close ends what Starting and Alive began.
func (n *Notifier) Close() {
	if n.stop != nil {
		n.stop()
		n.wait.Wait()
	}
}

// every calls f now and then, until ctx ends.
func (n *Notifier) every(ctx context.Context, interval time.Duration, f func()) {
	n.wait.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			f()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}
