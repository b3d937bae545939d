//go:build linux && (amd64 || arm64)

package faultfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	d := &disk{room: -1, recordPath: recordPath(mount)}
	root, err := fs.NewLoopbackRoot(folder)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	// The server works in goroutines of its own until it is unmounted.
	_, err = fs.Mount(mount, &node{root.(*fs.LoopbackNode), d}, &fs.Options{
		MountOptions: fuse.MountOptions{
			DirectMountStrict: true, FsName: "faultfs", Name: "faultfs", MaxWrite: 1 << 20,
			// All is written through the mount, so what the kernel has cached is true: it needn't throw away the pages of a file that is
			// mapped each time it sees that the file was changed.
			ExplicitDataCacheControl: true,
		},
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

// disk is what all files share: the faults to come, and the record.
type disk struct {
	recordPath string

	mu     sync.Mutex
	failAt int // counts down to the step that fails
	errno  syscall.Errno
	how    how
	broken syscall.Errno // how all that changes anything fails, or 0
	room   int64
	steps  []string
	record *recorder // or nil
}

func (d *disk) do(r request) answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := answer{Steps: d.steps}
	d.steps = nil
	d.failAt, d.errno, d.how, d.broken = r.Step, r.Errno, r.How, 0
	if r.Room != nil {
		d.room = *r.Room
	}
	var err error
	switch {
	case r.Record:
		if d.record != nil {
			err = d.record.close()
		}
		if err == nil {
			d.record, err = newRecorder(d.recordPath)
		}
	case d.record != nil:
		err = d.record.flush()
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

// step says how much of the next step is done, in bytes, and how it fails, or 0. Of what needs room, bytes is how much. The caller
// holds mu.
func (d *disk) step(kind string, bytes int64) (done int64, errno syscall.Errno) {
	now := d.failAt == 1
	d.failAt = max(d.failAt-1, 0)
	switch {
	case d.broken != 0:
		errno = d.broken
	case now && d.how == half:
		if kind == "write" {
			bytes /= 2
		}
		if d.errno != 0 {
			d.failAt, d.how = 1, once
		}
	case now:
		errno = d.errno
		if d.how == forGood {
			d.broken = errno
		}
	case d.room >= 0 && bytes > d.room:
		errno = syscall.ENOSPC
	}
	if errno != 0 {
		d.steps = append(d.steps, kind+"!")
		return 0, errno
	}
	d.steps = append(d.steps, kind)
	if d.room >= 0 {
		d.room -= bytes
	}
	return bytes, 0
}

// change says how something fails that is no step: only when all does.
func (d *disk) change() syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken
}

// inode is a file's number in the folder's own file system.
func inode(info os.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

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
	return filepath.Join(n.RootData.Path, n.relative())
}

// relative is the path within the mounted folder.
func (n *node) relative() string { return n.Path(n.Root()) }

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.disk.change(); errno != 0 && flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, errno
	}
	f, err := os.OpenFile(n.path(), int(flags)&^(syscall.O_APPEND|syscall.O_CREAT), 0)
	if err != nil {
		return nil, 0, fs.ToErrno(err)
	}
	return &handle{disk: n.disk, file: f}, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.disk.change(); errno != 0 {
		return nil, nil, 0, errno
	}
	inode, made, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	made.(fs.FileReleaser).Release(ctx)
	f, err := os.OpenFile(filepath.Join(n.path(), name), os.O_RDWR, 0)
	if err != nil {
		return nil, nil, 0, fs.ToErrno(err)
	}
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.disk.keep(Event{Op: Created, Name: filepath.Join(n.relative(), name), Inode: out.Attr.Ino})
	return inode, &handle{disk: n.disk, file: f}, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if n.disk.broken != 0 {
		return nil, n.disk.broken
	}
	inode, errno := n.LoopbackNode.Link(ctx, target, name, out)
	if errno == 0 {
		n.disk.keep(Event{Op: Named, Name: filepath.Join(n.relative(), name), Inode: out.Attr.Ino})
	}
	return inode, errno
}

func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if n.disk.broken != 0 {
		return n.disk.broken
	}
	errno := n.LoopbackNode.Rename(ctx, name, parent, newName, flags)
	if errno == 0 {
		n.disk.keep(Event{
			Op: Renamed, From: filepath.Join(n.relative(), name), Name: filepath.Join(parent.(*node).relative(), newName),
		})
	}
	return errno
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if n.disk.broken != 0 {
		return n.disk.broken
	}
	errno := n.LoopbackNode.Unlink(ctx, name)
	if errno == 0 {
		n.disk.keep(Event{Op: Removed, Name: filepath.Join(n.relative(), name)})
	}
	return errno
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, fuseFlags, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &folder{h.(readFolder), n.disk}, fuseFlags, 0
}

// folder is an open folder.
type folder struct {
	readFolder
	disk *disk
}

type readFolder interface {
	fs.FileReaddirenter
	fs.FileSeekdirer
	fs.FileReleasedirer
}

func (f *folder) Fsyncdir(context.Context, uint32) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	_, errno := f.disk.step("flush", 0)
	if errno == 0 {
		f.disk.keep(Event{Op: FolderFlushed})
	}
	return errno
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
	if _, errno := n.disk.step("grow", max(int64(size)-info.Size(), 0)); errno != 0 {
		return errno
	}
	if err := os.Truncate(n.path(), int64(size)); err != nil {
		return fs.ToErrno(err)
	}
	n.disk.keep(Event{Op: Resized, Inode: inode(info), Offset: int64(size)})
	return n.LoopbackNode.Getattr(ctx, nil, out)
}

// handle is an open file.
type handle struct {
	disk *disk
	file *os.File
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
	done, errno := d.step("write", int64(len(b)))
	if errno != 0 {
		return 0, errno
	}
	b = b[:done]
	info, err := h.file.Stat()
	if err != nil {
		return 0, fs.ToErrno(err)
	}
	n, err := h.file.WriteAt(b, offset)
	d.keep(Event{Op: Wrote, Inode: inode(info), Offset: offset, Bytes: b[:n]})
	return uint32(n), fs.ToErrno(err)
}

func (h *handle) Fsync(context.Context, uint32) syscall.Errno {
	d := h.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, errno := d.step("flush", 0); errno != 0 {
		return errno
	}
	info, err := h.file.Stat()
	if err != nil {
		return fs.ToErrno(err)
	}
	d.keep(Event{Op: Flushed, Inode: inode(info)})
	return 0
}

// Getattr is what the kernel asks before it reads. The file may have no name any more.
func (h *handle) Getattr(_ context.Context, out *fuse.AttrOut) syscall.Errno {
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(h.file.Fd()), &stat); err != nil {
		return fs.ToErrno(err)
	}
	out.FromStat(&stat)
	return 0
}

func (h *handle) Flush(context.Context) syscall.Errno { return 0 }

func (h *handle) Release(context.Context) syscall.Errno { return fs.ToErrno(h.file.Close()) }
