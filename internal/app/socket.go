package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
)

// SocketPath is where the server of a data file listens for the local operator. Who may open it is the operator, so it
// has mode 0600. There is none on Windows.
func SocketPath(data string) string { return data + ".sock" }

// DialLocal connects to the server of a data file. The error is os.ErrNotExist or a refused connection when none runs.
func DialLocal(ctx context.Context, data string) (net.Conn, error) {
	path, done, err := shortPath(SocketPath(data))
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// listenLocal listens on the socket of a data file. The caller has that file locked, so a socket that is there was left by
// a server that was killed. The new one is made in a folder that nobody else can enter, and put in place when it
// has its mode: so there is no moment in which others could connect, whatever the umask.
func listenLocal(data string) (_ net.Listener, err error) {
	if runtime.GOOS == "windows" {
		return nil, errors.New("there are none on Windows")
	}
	path := SocketPath(data)
	dir, err := os.MkdirTemp(filepath.Dir(path), ".croft-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	made := filepath.Join(dir, "s")
	short, done, err := shortPath(made)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, rootOf(err))
	}
	l.SetUnlinkOnClose(false) // it moves
	if err := os.Chmod(made, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := os.Rename(made, path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &localListener{UnixListener: l, path: path}, nil
}

// A localListener takes its socket away when it is closed.
type localListener struct {
	*net.UnixListener
	path string
}

func (l *localListener) Close() error {
	err := l.UnixListener.Close()
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	return errors.Join(err, os.Remove(l.path))
}

// maxSocketPath is the most bytes of a socket's address that all systems take: 104 with a final zero on the BSDs and
// macOS, 108 on Linux.
const maxSocketPath = 103

// shortPath returns a name for path that fits a socket's address; it is good until done is called.
func shortPath(path string) (short string, done func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	if runtime.GOOS == "linux" {
		dir, err := os.Open(filepath.Dir(path))
		if err != nil {
			return "", nil, err
		}
		through := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
		if _, err := os.Stat(through); err == nil {
			return through + "/" + filepath.Base(path), func() { _ = dir.Close() }, nil // it was only read
		}
		_ = dir.Close() // likewise
	}
	return "", nil, fmt.Errorf("the path %s is longer than the %d bytes that a socket's may have; put the data file into a folder with a shorter path", path, maxSocketPath)
}
