package service_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"croft/internal/service"
)

func TestNotifier(t *testing.T) {
	name := fmt.Sprintf("@croft-test-%d", os.Getpid()) // in no folder, so that its name is never too long
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	next := func(want string) string {
		t.Helper()
		b := make([]byte, 1<<10)
		for {
			n, err := socket.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			if text := string(b[:n]); strings.HasPrefix(text, want) {
				return text
			}
		}
	}
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	n := service.Supervised()
	defer n.Close()
	if !service.Background() {
		t.Error("it does not see who listens")
	}
	n.Starting()
	next("EXTEND_TIMEOUT_USEC=")
	n.Ready("serving at http://localhost")
	if text := next("READY=1"); text != "READY=1\nSTATUS=serving at http://localhost" {
		t.Errorf("%q", text)
	}
	var asked atomic.Int32
	n.Alive(func(ctx context.Context) error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("the question is not bounded")
		}
		if asked.Add(1) <= 3 {
			return errors.New("unwell")
		}
		return nil
	})
	next("WATCHDOG=1")
	if asked.Load() < 4 {
		t.Error("a sign of life of an unhealthy server")
	}
	next("WATCHDOG=1")
	n.Stopping()
	next("STOPPING=1")
}

// Where nobody listens it does nothing.
func TestNotifierAlone(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	for _, n := range []*service.Notifier{service.Supervised(), new(service.Notifier)} {
		n.Starting()
		n.Ready("")
		n.Alive(func(context.Context) error { t.Error("asked"); return nil })
		n.Stopping()
		n.Close()
	}
}
