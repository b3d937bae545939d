package service

import (
	"os"
	"path/filepath"
)

// User is who the server runs as: a user with few rights, which Windows brings.
const User = `NT AUTHORITY\LocalService`

// System is the layout of this operating system.
func System() Layout {
	programs := filepath.Join(os.Getenv("ProgramFiles"), "Croft")
	state := filepath.Join(os.Getenv("ProgramData"), "Croft")
	return Layout{
		Binary:   filepath.Join(programs, "croft.exe"),
		Previous: filepath.Join(programs, "croft.old.exe"),
		Config:   filepath.Join(state, "croft.toml"),
		Folder:   state,
		Lock:     `Global\croft-install`,
	}
}

// Here is the supervisor of this machine.
func Here() (Supervisor, error) { return newRegistered("windows-service"), nil }
