//go:build unix

package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
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

// own gives a file or folder to the service's user, and takes it from everybody else. Links are not followed, and a file
// with a second name is refused: the folder may be the user's own, who is not to be given a file by a name for it.
func (s *Service) own(path string) error {
	if s.User == "" {
		return nil
	}
	uid, gid, err := ids(s.User)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return fmt.Errorf("%s is a link: name the place itself in the configuration", path)
	}
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(is.Uid) == uid {
		return nil
	}
	if !info.IsDir() && (!info.Mode().IsRegular() || is.Nlink > 1) {
		return fmt.Errorf("%s is not an ordinary file with one name", path)
	}
	return f.Chown(uid, gid)
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
