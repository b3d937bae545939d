package service

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/windows"
)

// Privileged reports whether this process may install a service.
func Privileged() bool { return windows.GetCurrentProcessToken().IsElevated() }

// own lets the system, the administrators and the service's user have a file or folder, and nobody else. The numbers are the
// first two's and LocalService's, whatever language their names are in.
func (s *Service) own(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	inherit := ""
	if info.IsDir() {
		inherit = "(OI)(CI)"
	}
	_, err = output(context.Background(), "icacls", path, "/inheritance:r",
		"/grant:r", "*S-1-5-18:"+inherit+"F", "*S-1-5-32-544:"+inherit+"F", "*S-1-5-19:"+inherit+"M")
	return err
}

// owns is not told from the outside here: a folder that can't be written to shows at the start.
func (s *Service) owns(string) bool { return true }

// share does nothing: the configuration is in a folder of the service's own.
func (s *Service) share(string) error { return nil }

// runAs runs a program as who installs, since Windows can't do otherwise without a password.
func (s *Service) runAs(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = s.Folder
	var complaint tail
	cmd.Stdout, cmd.Stderr = &complaint, &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", complaint.String(), err)
	}
	return nil
}
