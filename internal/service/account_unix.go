//go:build unix

package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// Privileged reports whether this process may install a service.
func Privileged() bool { return os.Geteuid() == 0 }

func ids(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// openAsItIs opens a file or folder to look at it: no link is followed, and nothing is waited for. The folder may be the service's user's
// own, who is not to be shown, or given, somebody else's file by a name for it.
func openAsItIs(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a link: name the place itself in the configuration", path)
	}
	return f, err
}

// ordinary reports whether a file is one, and has no second name.
func ordinary(info fs.FileInfo) bool {
	is, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().IsRegular() && is.Nlink == 1
}

func notOrdinary(path string) error {
	return fmt.Errorf("%s is not an ordinary file with one name", path)
}

// own gives a file or folder to the service's user, and takes it from everybody else.
func (s *Service) own(path string, did *steps) error {
	if s.User == "" {
		return nil
	}
	f, err := openAsItIs(path)
	if err != nil {
		return err
	}
	return s.give(f, did)
}

// ownInside does so with what root copied into a folder. An os.Root stays in it, whatever links the user makes there meanwhile.
func (s *Service) ownInside(dir string, did *steps) error {
	if s.User == "" {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() // it was only read
	return fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() && !e.Type().IsRegular() {
			return ifThere(err)
		}
		info, err := e.Info()
		if err != nil {
			return ifThere(err)
		}
		is, ok := info.Sys().(*syscall.Stat_t)
		if !ok || int(is.Uid) != os.Geteuid() || !e.IsDir() && !ordinary(info) {
			return nil
		}
		f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if err != nil {
			return ifThere(err)
		}
		return s.give(f, did)
	})
}

// ifThere drops the error of a file that is gone: the server, which may run, removes files of its own.
func ifThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// give gives an open file or folder to the service's user, and closes it when that can't be taken back any more.
func (s *Service) give(f *os.File, did *steps) (err error) {
	given := false
	defer func() {
		if !given {
			err = errors.Join(err, f.Close())
		}
	}()
	uid, gid, err := ids(s.User)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(is.Uid) == uid && info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	mode := fs.FileMode(0o700)
	if !info.IsDir() {
		mode = 0o600
		if !ordinary(info) {
			return notOrdinary(f.Name())
		}
	}
	given = true
	did.did(func() error {
		return errors.Join(f.Chown(int(is.Uid), int(is.Gid)), f.Chmod(info.Mode()), f.Close())
	})
	did.settle = append(did.settle, f.Close)
	return errors.Join(f.Chown(uid, gid), f.Chmod(mode))
}

// checkOwner has nothing to say: the folder is made where only root may make one.
func checkOwner(string) error { return nil }

// guarded returns why a program may have been put in its place by others than root, who is not to run it then.
func guarded(program string) error {
	info, err := os.Lstat(program)
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || int(is.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is a link, or others than root can change it, so it is not run: move it away first", program)
	}
	return nil
}

// mountPoint reports whether a folder is where another file system begins.
func mountPoint(dir string) bool {
	at, err := os.Stat(dir)
	above, aboveErr := os.Stat(filepath.Dir(dir))
	if err != nil || aboveErr != nil {
		return false
	}
	a, aOK := at.Sys().(*syscall.Stat_t)
	b, bOK := above.Sys().(*syscall.Stat_t)
	return aOK && bOK && a.Dev != b.Dev
}

// Lock keeps others from an install or an uninstall until unlock is called, or the process ends. ErrLocked says that somebody else is at it.
func Lock(l Layout) (unlock func() error, err error) {
	// The file stays: who waited for a removed one would lock what nobody else finds.
	f, err := os.OpenFile(l.Lock, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the installation: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// owns reports whether a folder is the service's user's.
func (s *Service) owns(dir string) bool {
	if s.User == "" {
		return true
	}
	uid, _, err := ids(s.User)
	if err != nil {
		return false
	}
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(is.Uid) == uid
}

// share lets the service's user read a file that stays the installer's.
func (s *Service) share(path string) error {
	if s.User == "" {
		return nil
	}
	_, gid, err := ids(s.User)
	if err != nil {
		return err
	}
	return os.Lchown(path, -1, gid)
}

// runAs runs a program as the service's user.
func (s *Service) runAs(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.Folder, "TMPDIR=" + s.Folder}
	// An interrupt of the terminal is for the installer, which ends its child in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if s.User != "" {
		uid, gid, err := ids(s.User)
		if err != nil {
			return err
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	var complaint tail
	cmd.Stdout, cmd.Stderr = &complaint, &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", complaint.String(), err)
	}
	return nil
}
