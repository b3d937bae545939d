package service

import (
	"errors"
	"os"
	"os/exec"
	"strings"
)

// User is who the server runs as.
const User = Name

// System is the layout of this operating system.
func System() Layout {
	return Layout{
		Binary:      "/usr/local/bin/croft",
		Previous:    "/usr/local/bin/croft.old",
		Config:      "/etc/croft/croft.toml",
		Environment: "/etc/croft/environment",
		Folder:      "/var/lib/croft",
		Lock:        "/run/croft-install.lock",
	}
}

// Here is the supervisor of this machine.
func Here() (Supervisor, error) {
	// After a plain su these are missing, and with them useradd, service, start-stop-daemon.
	if err := os.Setenv("PATH", strings.TrimPrefix(os.Getenv("PATH")+":/usr/sbin:/sbin", ":")); err != nil {
		return nil, err
	}
	if isDir("/run/systemd/system") {
		return newSystemd(), nil
	}
	if isDir("/run/openrc") && found("rc-service") && found("supervise-daemon") {
		return newRegistered("linux-openrc"), nil
	}
	// A container has the files of SysV's init and not its process.
	if comm, err := os.ReadFile("/proc/1/comm"); err == nil && strings.TrimSpace(string(comm)) == "init" && isDir("/etc/init.d") && found("service") {
		if !found("setpriv") || !found("start-stop-daemon") {
			return nil, errors.New(`to install Croft as a service of SysV's init, the programs setpriv and start-stop-daemon are needed: install them, or run Croft by hand with "croft serve"`)
		}
		return newRegistered("unix-systemv"), nil
	}
	return nil, errors.New(`neither systemd nor OpenRC nor SysV's init runs on this machine, so Croft can't be a service of it. In a container, "croft serve" is the command to run; elsewhere, have what starts programs here run: croft serve --data /var/lib/croft/croft.db`)
}

func found(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
