//go:build amd64 || arm64

package store_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"croft/internal/needs"
	"croft/internal/store"
)

// sized is a file system that says how much room there is.
type sized struct{ fs.Inode }

func (*sized) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	*out = fuse.StatfsOut{Blocks: 1000, Bfree: 600, Bavail: 500, Bsize: 1 << 20, Frsize: 4096}
	return 0
}

func TestRoom(t *testing.T) {
	dir := t.TempDir()
	server, err := fs.Mount(dir, &sized{}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "sized", Name: "sized"},
	})
	if err != nil {
		needs.Skip(t, "no file system can be mounted here: "+err.Error())
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
		server.Wait()
	}()
	if n, err := store.Room(dir); n != 500*4096 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
