package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
)

// ensureUser makes the system user of a service, and its group. A user of this name that is a person's is refused.
func ensureUser(ctx context.Context, name, home string) (made bool, err error) {
	if u, err := user.Lookup(name); err == nil {
		if u.HomeDir != home {
			return false, fmt.Errorf("there is a user %s already, whose home is %s and not %s, so it is not the service's: rename or remove it first", name, u.HomeDir, home)
		}
		return false, nil
	} else if _, unknown := errors.AsType[user.UnknownUserError](err); !unknown {
		return false, err
	}
	if _, err := exec.LookPath("useradd"); err == nil {
		_, err = output(ctx, "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home,
			"--shell", nologin(), "--comment", "Croft", name)
		return err == nil, err
	}
	// BusyBox, as on Alpine.
	if _, err := exec.LookPath("adduser"); err != nil {
		return false, fmt.Errorf("there is neither useradd nor adduser here to make the user %s with: make it by hand, with the home folder %s, and try again", name, home)
	}
	if _, err := user.LookupGroup(name); err != nil {
		if _, err := output(ctx, "addgroup", "-S", name); err != nil {
			return false, err
		}
	}
	_, err = output(ctx, "adduser", "-S", "-D", "-H", "-h", home, "-s", nologin(), "-G", name, "-g", "Croft", name)
	return err == nil, err
}

// removeUser removes the user of a service, and its group.
func removeUser(ctx context.Context, name, home string) error {
	if u, err := user.Lookup(name); err != nil || u.HomeDir != home {
		return nil // it is gone, or somebody else
	}
	for _, program := range []string{"userdel", "deluser"} {
		if _, err := exec.LookPath(program); err == nil {
			_, err := output(ctx, program, name)
			return err
		}
	}
	return fmt.Errorf("there is neither userdel nor deluser here: remove the user %s by hand", name)
}

// nologin is the shell of who is not to sign in.
func nologin() string {
	for _, path := range []string{"/usr/sbin/nologin", "/sbin/nologin"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return "/bin/false"
}

// runs reports whether a process runs this file, as it is now.
func runs(pid int, program string) bool {
	running, err := os.Stat(filepath.Join("/proc", fmt.Sprint(pid), "exe"))
	if err != nil {
		return false
	}
	installed, err := os.Stat(program)
	return err == nil && os.SameFile(running, installed)
}
