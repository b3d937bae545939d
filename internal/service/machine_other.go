//go:build !linux && !windows

package service

import (
	"errors"
	"runtime"
)

// User is who the server runs as: the one that macOS brings for daemons. Since 10.14 it may answer at port 80 of all addresses.
const User = "daemon"

// System is the layout of this operating system.
func System() Layout {
	return Layout{
		Binary:   "/usr/local/bin/croft",
		Previous: "/usr/local/bin/croft.old",
		Config:   "/usr/local/etc/croft/croft.toml",
		Folder:   "/usr/local/var/croft",
		Lock:     "/var/run/croft-install.lock",
	}
}

// Here is the supervisor of this machine.
func Here() (Supervisor, error) {
	if runtime.GOOS != "darwin" {
		return nil, errors.New(`Croft can't install itself as a service on this operating system: have what starts programs here run "croft serve"`)
	}
	return newRegistered("darwin-launchd"), nil
}
