package backup

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// ofItsOwn has a process that is about to start let all others go first.
func ofItsOwn(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.BELOW_NORMAL_PRIORITY_CLASS}
}

func lowPriority(*os.Process) {}
