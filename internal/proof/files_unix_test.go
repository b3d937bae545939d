//go:build unix

package proof

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOutOfFiles floods a server with connections until it has no file descriptors left. Those that are connected go on, and so do
// the others when the flood is over.
func TestOutOfFiles(t *testing.T) {
	data := filepath.Join(t.TempDir(), "croft.db")
	s := start(t, binary(t, croft), data, "sh", "-c", `ulimit -n 64 && exec "$0" "$@"`)
	l := newLedger()
	token := s.prepare(t)
	c := s.clients(1, l, token, chance(t), 50)[0]
	if err := c.step(); err != nil {
		t.Fatal(err)
	}

	var flood []net.Conn
	end := func() {
		for _, conn := range flood {
			_ = conn.Close()
		}
	}
	defer end()
	address := strings.TrimPrefix(s.url, "http://")
	answered := 0
	for full := false; !full; {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		flood = append(flood, conn)
		if full = !answers(conn); !full {
			if answered++; answered > 64 {
				t.Fatal("64 file descriptors were enough for more connections")
			}
		}
	}
	for range 100 { // more than there is any room for
		conn, err := net.Dial("tcp", address)
		if err != nil {
			break // the system's own queue is full too
		}
		flood = append(flood, conn)
	}
	for range 200 {
		if err := c.step(); err != nil {
			t.Fatalf("a write of one who was connected before: %v\n%s", err, s.log.String())
		}
	}
	end()
	s.http.CloseIdleConnections()
	found := afterCrash(t, s, l, token) // over a new connection
	t.Logf("%d connections were answered, %d opened; %d records", answered, len(flood), len(found))
	if err := errors.Join(s.stop(), check(binary(t, croft), data)); err != nil {
		t.Fatal(err)
	}
}

// answers reports whether a new connection is served, within a time that is long for one that is.
func answers(conn net.Conn) bool {
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return false
	}
	if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
		return false
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	defer r.Body.Close()
	return r.StatusCode == http.StatusOK
}
