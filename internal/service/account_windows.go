package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"

	"golang.org/x/sys/windows"
)

// Privileged reports whether this process may install a service.
func Privileged() bool { return windows.GetCurrentProcessToken().IsElevated() }

// Who may have what is the service's: the system, the administrators, and LocalService, as whom the server runs and who may change it
// but for its rights. Nothing comes from the folder above.
const (
	folderRights = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;LS)"
	fileRights   = "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1301bf;;;LS)"
)

const rights = windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION

// own lets those have a file or folder, and nobody else, whatever it was before.
func (s *Service) own(path string, did *steps) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if err := checkOwner(path); err != nil {
		return err
	}
	wanted := fileRights
	if info.IsDir() {
		wanted = folderRights
	}
	before, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	if err := setRights(path, wanted, rights); err != nil {
		return err
	}
	after, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil || after.String() == before.String() {
		return err
	}
	did.did(func() error {
		how := windows.SECURITY_INFORMATION(rights)
		if control, _, err := before.Control(); err == nil && control&windows.SE_DACL_PROTECTED == 0 {
			how = windows.DACL_SECURITY_INFORMATION | windows.UNPROTECTED_DACL_SECURITY_INFORMATION
		}
		return setRights(path, before.String(), how)
	})
	return nil
}

func setRights(path, text string, how windows.SECURITY_INFORMATION) error {
	sd, err := windows.SecurityDescriptorFromString(text)
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	if err := windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, how, nil, nil, dacl, nil); err != nil {
		return fmt.Errorf("set the rights of %s: %w", path, err)
	}
	return nil
}

// ownInside does nothing: the rights of a folder go on to what is in it.
func (s *Service) ownInside(string, *steps) error { return nil }

// checkOwner refuses a file or folder that somebody else made: any user may make a folder where this one is, with a configuration
// for the server in it.
func checkOwner(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("ask who owns %s: %w", path, err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("ask who owns %s: %w", path, err)
	}
	for _, kind := range []windows.WELL_KNOWN_SID_TYPE{windows.WinBuiltinAdministratorsSid, windows.WinLocalSystemSid, windows.WinLocalServiceSid} {
		if owner.IsWellKnown(kind) {
			return nil
		}
	}
	return fmt.Errorf(`%s was not made by the administrators, so what is in it may not be meant well: look at it, and remove it, or make it the administrators' own: takeown /a /r /f "%[1]s"`, path)
}

// guarded has nothing to say: only administrators may write where programs are.
func guarded(program string) error {
	_, err := os.Lstat(program)
	return err
}

func mountPoint(string) bool { return false }

func openAsItIs(path string) (*os.File, error) { return os.Open(path) }

func ordinary(info fs.FileInfo) bool { return info.Mode().IsRegular() }

func notOrdinary(path string) error { return fmt.Errorf("%s is not an ordinary file", path) }

// Lock keeps others from an install or an uninstall until unlock is called, or the process ends. ErrLocked says that somebody else is at it.
func Lock(l Layout) (unlock func() error, err error) {
	name, err := windows.UTF16PtrFromString(l.Lock)
	if err != nil {
		return nil, err
	}
	// That there is such a mutex is the lock: nobody waits for it.
	mutex, err := windows.CreateMutex(nil, false, name)
	if errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return nil, errors.Join(ErrLocked, windows.CloseHandle(mutex))
	}
	if err != nil {
		return nil, fmt.Errorf("lock the installation: %w", err)
	}
	return func() error { return windows.CloseHandle(mutex) }, nil
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
