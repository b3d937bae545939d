package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"croft/internal/store"
)

// Done says what Install did.
type Done struct {
	Did     string `json:"did"`               // installed, upgraded, repaired, nothing
	Version string `json:"version"`           // of the program that is installed now
	Before  string `json:"before,omitzero"`   // of the one that it replaced
	Copy    string `json:"copy,omitzero"`     // of the data file, as it was before an upgrade
	Program string `json:"previous,omitzero"` // the program that it replaced
}

// Install installs Croft as a service, or upgrades it, and returns when it answers. When it fails, all is as it was. The caller has
// locked the layout.
func (s *Service) Install(ctx context.Context) (*Done, error) {
	owner, err := s.Supervisor.Installed()
	switch {
	case err != nil:
		return nil, err
	case owner == Foreign:
		return nil, s.foreign()
	case owner == Package:
		return nil, fmt.Errorf("%w, and is upgraded as one: sudo apt install ./croft_VERSION_ARCH.deb", ErrPackage)
	}
	if err := s.checkPlaces(); err != nil {
		return nil, err
	}
	version, err := versionOf(ctx, s.Program)
	if err != nil {
		return nil, err
	}
	same, err := sameContent(s.Binary, s.Program)
	if err != nil {
		return nil, err
	}

	done := &Done{Version: version}
	var did steps
	switch {
	case owner == Nobody:
		err = s.install(ctx, done, &did, same)
	case same && guarded(s.Binary) == nil:
		err = s.repair(ctx, done, &did)
	default:
		err = s.upgrade(ctx, done, &did)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("stopped: %w", err)
		}
		return nil, errors.Join(err, did.back())
	}
	if err := did.done(); err != nil {
		s.Say("Some files that are not needed any more could not be removed: %v", err)
	}
	return done, nil
}

// hidden are the folders that the service can't see: other people's.
var hidden = []string{"/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/"}

// hides reports whether the supervisor keeps a path from the service.
func (s *Service) hides(path string) bool {
	if _, ok := s.Supervisor.(*systemd); !ok {
		return false
	}
	in := func(path string) bool {
		return slices.ContainsFunc(hidden, func(prefix string) bool { return strings.HasPrefix(path+"/", prefix) })
	}
	real, err := filepath.EvalSymlinks(path)
	return in(path) || err == nil && in(real)
}

// checkPlaces refuses, before anything is done, a data file that the service could not use, or in a folder that is not to be its own.
func (s *Service) checkPlaces() error {
	if !filepath.IsAbs(s.DataFile) {
		return fmt.Errorf("the path of the data file, %s, must begin with the root of the file system", s.DataFile)
	}
	dir := filepath.Dir(s.DataFile)
	if s.hides(dir) {
		return fmt.Errorf("the data file %s is in a folder that services can't see: move it to %s (that is all there is to move), and leave data out of %s",
			s.DataFile, s.Data(), s.Config)
	}
	for _, path := range append(slices.Clone(s.Writable), s.Readable...) {
		if s.hides(path) {
			return fmt.Errorf("%s is in a folder that services can't see: move it out of the folders of users and of temporary files, and name the new place in %s", path, s.Config)
		}
	}
	if dir == s.Folder {
		return checkOwner(dir)
	}
	parent := filepath.Dir(dir)
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// The folder itself is made; more than that would rather be a disk that is not there, or a slip.
		if !isDir(parent) {
			return fmt.Errorf("there is no folder %s for that of the data file: make it and try again", parent)
		}
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder, but a link perhaps: name the folder of the data file itself", dir)
	case s.owns(dir):
		return nil
	case filepath.Dir(parent) == parent, mountPoint(dir):
		return fmt.Errorf("the folder of the data file must be for Croft alone, and %s is the system's: name one in it, such as %s",
			dir, filepath.Join(dir, Name, filepath.Base(s.DataFile)))
	}
	alone, err := s.alone(dir)
	if err == nil && !alone {
		err = fmt.Errorf("the folder of the data file, %s, has more in it: it must be for Croft alone, which is to write there, so name another", dir)
	}
	return err
}

// alone reports whether a folder has nothing in it but the data file.
func (s *Service) alone(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != filepath.Base(s.DataFile) {
			return false, err
		}
	}
	return true, err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

var versionLine = regexp.MustCompile(`^croft (\S+), `)

// versionOf asks a program for its version, and so whether it is a Croft that runs on this machine.
func versionOf(ctx context.Context, program string) (string, error) {
	out, err := output(ctx, program, "version")
	if err != nil {
		return "", fmt.Errorf("%s does not run on this machine: take the program for its processor and system: %w", program, err)
	}
	m := versionLine.FindStringSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s is another program, not Croft: move it away first", program)
	}
	return m[1], nil
}

// installedVersion is versionOf for the program in its place, which is not asked when others than root could have put it there.
func installedVersion(ctx context.Context, program string) (string, error) {
	if err := guarded(program); err != nil {
		return "", err
	}
	return versionOf(ctx, program)
}

// install installs Croft where it is not installed yet.
func (s *Service) install(ctx context.Context, done *Done, did *steps, same bool) error {
	done.Did = "installed"
	before, guard := installedVersion(ctx, s.Binary)
	if guard != nil && !same && !errors.Is(guard, fs.ErrNotExist) {
		return guard
	}
	done.Before = before
	if err := s.prepare(ctx, did); err != nil {
		return err
	}
	if !same || guard != nil {
		staged, err := s.stageProgram(ctx, did)
		if err != nil {
			return err
		}
		if err := s.placeProgram(staged, did); err != nil {
			return err
		}
		s.Say("Put the program into %s", s.Binary)
	}
	if err := s.define(did); err != nil {
		return err
	}
	did.did(func() error { return s.Supervisor.Stop(context.WithoutCancel(ctx)) })
	return s.start(ctx)
}

// repair brings everything but the program to what an install makes.
func (s *Service) repair(ctx context.Context, done *Done, did *steps) error {
	done.Did = "nothing"
	if err := s.prepare(ctx, did); err != nil {
		return err
	}
	made := len(did.undo)
	if err := s.define(did); err != nil {
		return err
	}
	changed := len(did.undo) > made
	state, err := s.Supervisor.State(ctx)
	if err != nil {
		return err
	}
	if made > 0 {
		done.Did = "repaired"
	}
	if state.Running && !changed && (state.PID == 0 || runs(state.PID, s.Binary)) {
		return s.bear(s.Answers(ctx))
	}
	done.Did = "repaired"
	if err := s.Supervisor.Stop(ctx); err != nil {
		return err
	}
	return s.bear(s.start(ctx)) // it may be the folder of backups that was moved, to make room
}

// upgrade puts another program in the place of the one that runs. The server stands still while the data file is copied, so that
// what is put back, if it comes to that, has every write that was acknowledged.
func (s *Service) upgrade(ctx context.Context, done *Done, did *steps) (err error) {
	done.Did = "upgraded"
	forever := context.WithoutCancel(ctx)
	state, err := s.Supervisor.State(ctx)
	if err != nil {
		return err
	}
	if state.Running {
		if err := s.Answers(ctx); errors.Is(err, ErrNoRoom) {
			return fmt.Errorf("an upgrade needs room for a copy of the data file, and the server says: %w", err)
		}
	}
	before, oldErr := installedVersion(ctx, s.Binary) // one that doesn't run is replaced all the same
	if oldErr != nil {
		before = "the old program"
	}
	if err := s.prepare(ctx, did); err != nil {
		return err
	}
	staged, err := s.stageProgram(ctx, did)
	if err != nil {
		return err
	}
	began := false // the new program may have changed the data file
	defer func() {
		if err != nil {
			err = fmt.Errorf("the upgrade to %s failed, and %s is put back: %w", done.Version, before, err)
		}
	}()

	did.did(func() error { return s.goBack(forever, state.Running || state.Starting, began, before, done.Copy) })
	if err := s.Supervisor.Stop(ctx); err != nil {
		return err
	}
	copier := s.Binary // it knows the file as it is
	if oldErr != nil {
		copier = staged
	}
	if done.Copy, err = s.copyData(ctx, copier, done.Version); err != nil {
		return err
	}
	if err := s.placeProgram(staged, did); err != nil {
		return err
	}
	if err := s.define(did); err != nil {
		return err
	}
	did.did(func() error { return s.Supervisor.Stop(forever) })
	began = true
	if err := s.start(ctx); err != nil {
		return err
	}
	if oldErr == nil {
		done.Before, done.Program = before, s.Previous
	}
	did.settle = append(did.settle, func() error { return s.trimCopies(done.Copy) })
	return nil
}

// goBack has the old program, which is in its place again, serve the data file as it was.
func (s *Service) goBack(ctx context.Context, ran, began bool, before, copied string) error {
	if !ran && !began {
		return remove(copied)
	}
	err := s.bear(s.start(ctx))
	if err != nil && began && copied != "" {
		s.Say("%s can't use the data file as the new program left it, so the copy is put back", before)
		err = errors.Join(s.Supervisor.Stop(ctx), s.runAs(ctx, s.Binary, "restore", "--data", s.DataFile, copied))
		if err != nil {
			return fmt.Errorf("%s can't use the data file, and its copy %s can't be put back: %w", before, copied, err)
		}
		err = s.bear(s.start(ctx))
	}
	if err != nil {
		return fmt.Errorf("%s does not answer either: %w", before, err)
	}
	s.Say("%s is back and answers", before)
	if !ran {
		err = s.Supervisor.Stop(ctx)
	}
	return errors.Join(err, remove(copied))
}

// prepare makes the user, the folders and the configuration, where they are missing.
func (s *Service) prepare(ctx context.Context, did *steps) error {
	if s.User != "" {
		made, err := ensureUser(ctx, s.User, s.Folder)
		if made {
			did.did(func() error { return removeUser(context.WithoutCancel(ctx), s.User, s.Folder) })
			s.Say("Made the user %s", s.User)
		}
		if err != nil {
			return err
		}
	}
	if err := s.prepareFolders(did); err != nil {
		return err
	}
	if err := did.makeFolder(filepath.Dir(s.Config), 0o755, os.Remove); err != nil {
		return err
	}
	if _, err := os.Stat(s.Config); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	did.did(func() error { return os.Remove(s.Config) })
	if err := writeWhole(s.Config, []byte(s.Settings), 0o640); err != nil {
		return err
	}
	s.Say("Wrote the configuration %s", s.Config)
	return s.share(s.Config)
}

// prepareFolders makes the folders of the data, and gives them and what is in them to the service's user. checkPlaces has found that they
// may be.
func (s *Service) prepareFolders(did *steps) error {
	for _, dir := range []string{s.Folder, filepath.Dir(s.DataFile)} {
		// A folder that is made here can hold nothing but what a first start made that failed.
		if err := did.makeFolder(dir, 0o700, os.RemoveAll); err != nil {
			return err
		}
		if dir != s.Folder && s.owns(dir) {
			continue
		}
		if err := s.own(dir, did); err != nil {
			return err
		}
	}
	// Somebody may have put a copy of a data file and its backups there, as root.
	err := s.own(s.DataFile, did)
	if errors.Is(err, fs.ErrNotExist) {
		did.did(func() error { return os.Remove(s.DataFile) }) // a first start that fails has made it
	} else if err != nil {
		return fmt.Errorf("give the data file to the user %s: %w", s.User, err)
	}
	return s.ownInside(s.Folder, did)
}

// stageProgram puts the program beside its place, and sees that it runs there.
func (s *Service) stageProgram(ctx context.Context, did *steps) (staged string, err error) {
	dir := filepath.Dir(s.Binary)
	if err := did.makeFolder(dir, 0o755, os.Remove); err != nil {
		return "", err
	}
	from, err := os.Open(s.Program)
	if err != nil {
		return "", err
	}
	defer from.Close() // it was only read
	if staged, err = stage(dir, from, 0o755); err != nil {
		return "", err
	}
	did.did(func() error { return os.Remove(staged) })
	_, err = versionOf(ctx, staged)
	return staged, err
}

// placeProgram gives the staged program its name. The one that has it is kept.
func (s *Service) placeProgram(staged string, did *steps) error {
	dir := filepath.Dir(s.Binary)
	if _, err := os.Stat(s.Binary); errors.Is(err, fs.ErrNotExist) {
		did.did(func() error { return os.Remove(s.Binary) })
	} else if err != nil {
		return err
	} else {
		// What an upgrade before kept comes back as well, if this one is taken back.
		older := staged + ".older"
		if err := os.Rename(s.Previous, older); err == nil {
			did.did(func() error { return os.Rename(older, s.Previous) })
			did.settle = append(did.settle, func() error { return os.Remove(older) })
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// At each moment there is a program of this name.
		if err := os.Link(s.Binary, s.Previous); err != nil {
			return err
		}
		did.did(func() error {
			// A rename does nothing when both names are still the same file's.
			return errors.Join(os.Rename(s.Previous, s.Binary), remove(s.Previous))
		})
		did.settle = append(did.settle, func() error {
			if guarded(s.Previous) != nil {
				return remove(s.Previous) // what others can change is not to be run by root later, either
			}
			return nil
		})
	}
	if err := os.Rename(staged, s.Binary); err != nil {
		return err
	}
	return store.SyncDir(dir)
}

func (s *Service) define(did *steps) error {
	undo, err := s.Supervisor.Define(s.definition())
	if undo != nil {
		did.did(undo)
	}
	if err != nil {
		return fmt.Errorf("make the service of %s: %w", s.Supervisor, err)
	}
	return nil
}

// Uninstall stops the server and takes the service and the program away; with purge its folder, the configuration and the user as well.
// What is outside of the folder stays in any case. The caller has locked the layout.
func (s *Service) Uninstall(ctx context.Context, purge bool) error {
	switch owner, err := s.owned(); {
	case purge && errors.Is(err, ErrNotInstalled): // what an uninstall before kept is to go now
	case err != nil:
		return err
	case owner == Package:
		return fmt.Errorf("%w, and is removed as one: sudo apt remove croft", ErrPackage)
	default:
		if err := s.Supervisor.Stop(ctx); err != nil {
			return err
		}
		if err := s.Supervisor.Remove(); err != nil {
			return err
		}
		s.Say("Stopped the service and took it away")
		if err := errors.Join(remove(s.Binary), remove(s.Previous)); err != nil {
			return err
		}
		s.Say("Removed %s", s.Binary)
	}
	if !purge {
		return nil
	}
	if err := errors.Join(os.RemoveAll(s.Folder), remove(s.Config), remove(s.Environment)); err != nil {
		return err
	}
	// Its folder, unless somebody keeps more in it.
	if dir := filepath.Dir(s.Config); dir != s.Folder {
		_ = os.Remove(dir)
	}
	s.Say("Removed %s and %s", s.Folder, s.Config)
	if s.User == "" {
		return nil
	}
	// The next user that the system makes could get the number of one that is gone, and with it these.
	if outside := s.Outside(); len(outside) > 0 {
		s.Say("The user %s stays, who owns %s", s.User, strings.Join(outside, " and "))
		return nil
	}
	return removeUser(ctx, s.User, s.Folder)
}

// Outside are the data file and the folders of backups, where they are not in the service's own folder but elsewhere.
func (s *Service) Outside() (paths []string) {
	for _, path := range append([]string{s.DataFile}, s.Writable...) {
		if _, err := os.Lstat(path); err == nil && !strings.HasPrefix(path, s.Folder+string(filepath.Separator)) {
			paths = append(paths, path)
		}
	}
	return paths
}

// remove removes a file that may be missing.
func remove(path string) error {
	if path == "" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
