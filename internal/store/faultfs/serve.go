//go:build linux && (amd64 || arm64)

package faultfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	mountVariable  = "FAULTFS_MOUNT"
	folderVariable = "FAULTFS_FOLDER"
)

// ServeIfChild serves a file system and ends the process, if Mount started it; else it returns at once.
func ServeIfChild() {
	mount := os.Getenv(mountVariable)
	if mount == "" {
		return
	}
	if err := serve(mount, os.Getenv(folderVariable)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve mounts the folder, and does what it is asked for until its input ends.
func serve(mount, folder string) error {
	d := &disk{room: -1}
	root, err := fs.NewLoopbackRoot(folder)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	// The server works in goroutines of its own until it is unmounted.
	_, err = fs.Mount(mount, &node{root.(*fs.LoopbackNode), d}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "faultfs", Name: "faultfs", MaxWrite: 1 << 20},
	})
	if err != nil {
		return out.Encode(answer{Error: err.Error()})
	}
	defer syscall.Unmount(mount, syscall.MNT_DETACH)
	if err := out.Encode(answer{}); err != nil {
		return err
	}
	for in := json.NewDecoder(os.Stdin); ; {
		var r request
		if err := in.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := out.Encode(d.do(r)); err != nil {
			return err
		}
	}
}

// disk is what all files share: the faults to come, and what is written but not flushed.
type disk struct {
	mu       sync.Mutex
	failAt   int // counts down to the step that fails
	errno    syscall.Errno
	room     int64
	steps    []string
	unsynced []write
}

// write is one that was not flushed yet.
type write struct {
	path     string
	offset   int64
	old, new []byte
	oldSize  int64
	newSize  int64
}

func (d *disk) do(r request) answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := answer{Steps: d.steps}
	d.steps = nil
	d.failAt, d.errno = r.Step, r.Errno
	if r.Room != nil {
		d.room = *r.Room
	}
	if r.Cut != nil {
		if err := d.cut(*r.Cut); err != nil {
			a.Error = err.Error()
		}
	}
	return a
}

// step says how the next step fails, or 0. Of what needs room, bytes is how much. The caller holds mu.
func (d *disk) step(kind string, bytes int64) syscall.Errno {
	var errno syscall.Errno
	switch {
	case d.failAt == 1:
		errno = d.errno
	case d.room >= 0 && bytes > d.room:
		errno = syscall.ENOSPC
	}
	d.failAt = max(d.failAt-1, 0)
	if errno != 0 {
		d.steps = append(d.steps, kind+"!")
		return errno
	}
	d.steps = append(d.steps, kind)
	if d.room >= 0 {
		d.room -= bytes
	}
	return 0
}

// sector is what a disk writes whole or not at all.
const sector = 512

// cut takes back all that was not flushed, and then does a part of it again.
func (d *disk) cut(which uint64) error {
	for i := len(d.unsynced) - 1; i >= 0; i-- {
		w := d.unsynced[i]
		if err := writeTo(w.path, w.offset, w.old, w.oldSize); err != nil {
			return err
		}
	}
	r := rand.New(rand.NewPCG(which, 0))
	chance := r.Float64() // some cuts lose nearly all, others nearly nothing
	for _, w := range d.unsynced {
		for at := int64(0); at < int64(len(w.new)); {
			end := min((w.offset+at)/sector*sector+sector-w.offset, int64(len(w.new)))
			if r.Float64() < chance {
				if err := writeTo(w.path, w.offset+at, w.new[at:end], -1); err != nil {
					return err
				}
			}
			at = end
		}
		if w.new == nil && r.Float64() < chance {
			if err := os.Truncate(w.path, w.newSize); err != nil {
				return err
			}
		}
	}
	d.unsynced = nil
	return nil
}

// writeTo writes to a file and, unless size is negative, gives it that length.
func writeTo(path string, offset int64, content []byte, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, offset)
	if size >= 0 {
		err = errors.Join(err, f.Truncate(size))
	}
	return errors.Join(err, f.Close())
}

// node is a file or folder.
type node struct {
	*fs.LoopbackNode
	disk *disk
}

// WrapChild has all nodes below be of this kind.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{child.(*fs.LoopbackNode), n.disk}
}

func (n *node) path() string {
	return filepath.Join(n.RootData.Path, n.Path(n.Root()))
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, err := os.OpenFile(n.path(), int(flags)&^(syscall.O_APPEND|syscall.O_CREAT), 0)
	if err != nil {
		return nil, 0, fs.ToErrno(err)
	}
	return &handle{disk: n.disk, file: f, path: n.path}, 0, 0
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode, made, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	made.(fs.FileReleaser).Release(ctx)
	created := inode.Operations().(*node)
	f, err := os.OpenFile(filepath.Join(n.path(), name), os.O_RDWR, 0)
	if err != nil {
		return nil, nil, 0, fs.ToErrno(err)
	}
	return inode, &handle{disk: n.disk, file: f, path: created.path}, 0, 0
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, ok := in.GetSize()
	if !ok {
		return n.LoopbackNode.Setattr(ctx, nil, in, out)
	}
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	info, err := os.Stat(n.path())
	if err != nil {
		return fs.ToErrno(err)
	}
	if errno := n.disk.step("grow", max(int64(size)-info.Size(), 0)); errno != 0 {
		return errno
	}
	if int64(size) > info.Size() {
		n.disk.unsynced = append(n.disk.unsynced, write{path: n.path(), oldSize: info.Size(), newSize: int64(size)})
	}
	if err := os.Truncate(n.path(), int64(size)); err != nil {
		return fs.ToErrno(err)
	}
	return n.LoopbackNode.Getattr(ctx, nil, out)
}

// handle is an open file.
type handle struct {
	disk *disk
	file *os.File
	path func() string // it may get another name
}

func (h *handle) Read(_ context.Context, b []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	n, err := h.file.ReadAt(b, offset)
	if err != nil && err != io.EOF {
		return nil, fs.ToErrno(err)
	}
	return fuse.ReadResultData(b[:n]), 0
}

func (h *handle) Write(_ context.Context, b []byte, offset int64) (uint32, syscall.Errno) {
	d := h.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.step("write", int64(len(b))); errno != 0 {
		return 0, errno
	}
	info, err := h.file.Stat()
	if err != nil {
		return 0, fs.ToErrno(err)
	}
	old := make([]byte, len(b))
	n, err := h.file.ReadAt(old, offset)
	if err != nil && err != io.EOF {
		return 0, fs.ToErrno(err)
	}
	d.unsynced = append(d.unsynced, write{
		path: h.path(), offset: offset, old: old[:n], new: append([]byte{}, b...), oldSize: info.Size(),
	})
	n, err = h.file.WriteAt(b, offset)
	return uint32(n), fs.ToErrno(err)
}

func (h *handle) Fsync(context.Context, uint32) syscall.Errno {
	d := h.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.step("flush", 0); errno != 0 {
		return errno
	}
	path := h.path()
	kept := d.unsynced[:0]
	for _, w := range d.unsynced {
		if w.path != path {
			kept = append(kept, w)
		}
	}
	d.unsynced = kept
	return 0
}

func (h *handle) Flush(context.Context) syscall.Errno { return 0 }

func (h *handle) Release(context.Context) syscall.Errno { return fs.ToErrno(h.file.Close()) }
