package service

import (
	"fmt"
	"strings"
)

// marker is the line by which a definition is known as Install's. It begins a comment in every language that definitions are in.
const marker = `Made by "croft service install"`

// packageMarker is the same for a package's.
const packageMarker = "From the package croft."

// Unit is the systemd unit of a service. The reasons of its numbers:
//
// RestartSec and no StartLimit: a server whose disk comes late, or that was killed, is back when it can be. Not
// even exit code 2 stops that: it says that the configuration is wrong, but Go ends so after a panic as well.
//
// After=network.target and not network-online: a server at home answers at home whatever became of the internet, and one that is to
// answer at an address which isn't there yet is started again until it is.
//
// TimeoutStopSec: the server gives requests ten seconds, and then closes the file.
//
// MemoryHigh and MemoryMax are shares of the machine: Croft itself needs some 60 MiB, and what it has beyond is the system's cache of the
// data file, which is better large; but the machine must stay usable whatever happens.
//
// LimitNOFILE is far above the 1,000 connections that limits.connections allows by default; Go can't raise it, since the
// filter has no @resources.
//
// Not set, though systemd-analyze would like it: PrivateUsers, within which the capability for port 80 is void; ProcSubset=pid, which
// hides /proc/meminfo (how much a check may read ahead) and net/core/somaxconn (how many connections may wait); IPAddressDeny
// and PrivateNetwork, since Croft is for the network.
func Unit(d Definition) string {
	return unit(d, marker+"; changes are lost when that runs again. Put your own into a drop-in: sudo systemctl edit croft")
}

// PackageUnit is the unit that a package brings whose program is this file. Its layout is that of Linux, whatever builds the package.
func PackageUnit(program string) string {
	return unit(Definition{User: Name, Layout: Layout{
		Binary:      program,
		Config:      "/etc/croft/croft.toml",
		Environment: "/etc/croft/environment",
		Folder:      "/var/lib/croft",
	}}, packageMarker+" Put changes into a drop-in: sudo systemctl edit croft")
}

func unit(d Definition, comment string) string {
	var user, paths string
	if d.User != "" {
		user = "User=" + d.User + "\nGroup=" + d.User + "\n"
	}
	for _, dir := range d.Writable {
		if dir != d.Folder && !strings.HasPrefix(dir, d.Folder+"/") {
			paths += "ReadWritePaths=" + unitWord("-"+dir) + "\n"
		}
	}
	environment := ""
	if d.Environment != "" {
		environment = "EnvironmentFile=-" + strings.ReplaceAll(d.Environment, "%", "%%") + "\n"
	}
	return fmt.Sprintf(`# %s
[Unit]
Description=Croft, a backend of your own
After=network.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=%s serve --config %s
WorkingDirectory=%s
%s%sUMask=0077
Restart=always
RestartSec=2
TimeoutStopSec=30
WatchdogSec=30

StateDirectory=croft
StateDirectoryMode=0700
%sProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes

AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

MemoryHigh=50%%
MemoryMax=75%%
TasksMax=512
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`, comment, unitWord(d.Binary), unitWord(d.Config), strings.ReplaceAll(d.Folder, "%", "%%"), environment, user, paths)
}

// unitWord quotes a word of a unit's line, so that it means itself.
func unitWord(s string) string {
	s = strings.NewReplacer(`%`, `%%`, `$`, `$$`).Replace(s)
	if !strings.ContainsAny(s, " \t\"'\\;") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
