//go:build unix

package backup

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// ofItsOwn gives a process that is about to start a group of its own, for lowPriority.
func ofItsOwn(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// lowPriority lets all others go before a process. Linux has a priority for each thread, so it is set for all of the group; threads
// to come inherit it. Where that is refused, the process is as quick as any.
func lowPriority(p *os.Process) {
	const nice = 10 // half the way to the lowest
	_ = unix.Setpriority(unix.PRIO_PGRP, p.Pid, nice)
}
