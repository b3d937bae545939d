package service_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"croft/internal/needs"
	"croft/internal/service"
)

func TestInstall(t *testing.T) {
	m := newMachine(t)
	one, two := programs(t)
	m.mustInstall(one, "installed")
	token := m.data()
	for path, mode := range map[string]fs.FileMode{
		m.Binary: 0o755, m.Config: 0o640, m.Folder: fs.ModeDir | 0o700, m.DataFile: 0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, mode)
		}
	}

	before := m.tree()
	m.mustInstall(one, "nothing")
	if d := cmp.Diff(before, m.tree()); d != "" {
		t.Errorf("a second install changed something: %s", d)
	}
	write(t, m.sup.unit, []byte("spoilt"))
	m.mustInstall(one, "repaired")
	if err := m.sup.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.mustInstall(one, "repaired")
	if d := cmp.Diff(before, m.tree()); d != "" {
		t.Errorf("after a repair: %s", d)
	}

	done := m.mustInstall(two, "upgraded")
	if m.data() != token {
		t.Error("the upgrade lost the data")
	}
	if _, err := os.Stat(done.Copy); err != nil || done.Program != m.Previous {
		t.Errorf("kept: %+v, %v", done, err)
	}
	m.mustInstall(one, "upgraded")
	m.mustInstall(two, "upgraded")
	if copies, _ := filepath.Glob(filepath.Join(m.Folder, "croft-before-*")); len(copies) > 2 {
		t.Errorf("too many copies are kept: %v", copies)
	}

	// Without purge the data stays, and the next install finds it.
	if err := service.New(m.Options).Uninstall(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{m.Binary, m.Previous, m.sup.unit} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left after uninstall: %v", path, err)
		}
	}
	m.mustInstall(one, "installed")
	if m.data() != token {
		t.Error("an install on kept data has other data")
	}
	if err := service.New(m.Options).Uninstall(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{m.Folder, filepath.Dir(m.Config), m.Binary} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left after purge: %v", path, err)
		}
	}
	if err := service.New(m.Options).Uninstall(t.Context(), false); !errors.Is(err, service.ErrNotInstalled) {
		t.Errorf("uninstall of nothing: %v", err)
	}
}

// A data file may be elsewhere, in a folder of its own, and stays there whatever is purged.
func TestDataElsewhere(t *testing.T) {
	m := newMachine(t)
	one, _ := programs(t)
	dir := filepath.Join(m.root, "disk")
	m.DataFile = filepath.Join(dir, "data.db")
	m.Settings = strings.Replace(m.Settings, m.Data(), m.DataFile, 1)
	m.mustInstall(one, "installed")
	m.data()
	if err := service.New(m.Options).Uninstall(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(m.DataFile); err != nil {
		t.Errorf("the data file is gone after a purge of the service's folder: %v", err)
	}
	if _, err := os.Stat(m.Folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left after purge: %v", m.Folder, err)
	}
}

// A program that others can change is not run as root: it is replaced by the same one, and refused when it is another.
func TestProgramOfOthers(t *testing.T) {
	m := newMachine(t)
	one, two := programs(t)
	put := func(program string) {
		t.Helper()
		text, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(m.Binary), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, m.Binary, text)
		if err := os.Chmod(m.Binary, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	put(script(t, "touch "+m.root+"/ran"))
	before := m.tree()
	if _, err := m.install(two); err == nil || !strings.Contains(err.Error(), "others than root") {
		t.Errorf("over a program that others can change: %v", err)
	}
	if d := cmp.Diff(before, m.tree()); d != "" {
		t.Error(d)
	}
	placed := func() {
		t.Helper()
		if info, err := os.Stat(m.Binary); err != nil || info.Mode() != 0o755 {
			t.Errorf("the program has the mode %v, %v", info.Mode(), err)
		}
		if _, err := os.Stat(m.Previous); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the one that others can change is kept: %v", err)
		}
	}
	put(one)
	m.mustInstall(one, "installed")
	placed()
	token := m.data()
	if err := os.Chmod(m.Binary, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, _, err := service.New(m.Options).Version(t.Context()); err == nil {
		t.Error("a program that others can change was asked for its version")
	}
	m.mustInstall(one, "upgraded")
	placed()
	if m.data() != token {
		t.Error("the data is another")
	}
}

// A server whose disk is full is nothing to begin with, and is at once told from one that starts slowly. One that is there goes on.
func TestNoRoom(t *testing.T) {
	m := newMachine(t)
	one, two := programs(t)
	full := func(ctx context.Context) error {
		if err := m.answers(ctx); err != nil {
			return err
		}
		return fmt.Errorf("%w: 3 MiB are left", service.ErrNoRoom)
	}
	m.Patience = 1000 * time.Hour
	before := m.tree()
	m.Answers = full
	if _, err := m.install(one); !errors.Is(err, service.ErrNoRoom) || !strings.Contains(err.Error(), "3 MiB") {
		t.Errorf("install: %v", err)
	}
	if d := cmp.Diff(before, m.tree()); d != "" {
		t.Error(d)
	}

	m.Answers = m.answers
	m.mustInstall(one, "installed")
	token, before := m.data(), m.tree()
	m.Answers = full
	if _, err := m.install(two); !errors.Is(err, service.ErrNoRoom) || strings.Contains(err.Error(), "undone") {
		t.Errorf("upgrade: %v", err)
	}
	if d := cmp.Diff(before, m.tree()); d != "" {
		t.Error(d)
	}
	// The disk may have become full by the upgrade, which is taken back then, and the old program with it runs all the same.
	asked := 0
	m.Answers = func(ctx context.Context) error {
		if asked++; asked == 1 {
			return m.answers(ctx)
		}
		return full(ctx)
	}
	if _, err := m.install(two); !errors.Is(err, service.ErrNoRoom) || strings.Contains(err.Error(), "undone") {
		t.Errorf("upgrade that fills the disk: %v", err)
	}
	if d := cmp.Diff(before, m.tree()); d != "" {
		t.Error(d)
	}
	if err := service.New(m.Options).Restart(t.Context()); err != nil || m.data() != token {
		t.Errorf("restart: %v", err)
	}
	if !strings.Contains(m.said.String(), "can't write: 3 MiB") {
		t.Error("nobody was told")
	}
	write(t, m.sup.unit, []byte("spoilt"))
	m.mustInstall(one, "repaired")
}

// Who is not ours is left alone.
func TestOthers(t *testing.T) {
	one, _ := programs(t)
	for _, owner := range []string{"foreign", "package"} {
		m := newMachine(t)
		write(t, m.sup.unit, []byte(owner))
		before := m.tree()
		if _, err := m.install(one); err == nil || owner == "package" != errors.Is(err, service.ErrPackage) {
			t.Errorf("%s: install: %v", owner, err)
		}
		if err := service.New(m.Options).Uninstall(t.Context(), true); err == nil {
			t.Errorf("%s: it was uninstalled", owner)
		}
		if d := cmp.Diff(before, m.tree()); d != "" {
			t.Errorf("%s: %s", owner, d)
		}
	}

	m := newMachine(t)
	if err := os.Mkdir(filepath.Dir(m.Binary), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, m.Binary, []byte("#!/bin/sh\necho an editor\n"))
	before := m.tree()
	if _, err := m.install(one); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("over another program: %v", err)
	}
	if _, err := m.install(m.sup.unit); err == nil {
		t.Error("what is no program was installed")
	}
	if d := cmp.Diff(before, m.tree()); d != "" {
		t.Error(d)
	}
}

// A program that does not come to serve is taken back, with all that it did to the data.
func TestUpgradeTakenBack(t *testing.T) {
	one, two := programs(t)
	for name, program := range map[string]string{
		"exits":  "echo 'no such luck' >&2; exit 1",
		"hangs":  "echo hanging; exec sleep 1000", // and somebody presses Ctrl-C
		"spoils": `echo 'a format of another time' >"$(sed -n 's/^data = "\(.*\)"/\1/p' "$3")"; exit 1`,
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.mustInstall(one, "installed")
			m.mustInstall(two, "upgraded") // so that there is an older one to bring back as well
			token, before := m.data(), m.tree()
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			m.Answers = func(ctx context.Context) error {
				if strings.Contains(m.sup.log.String(), "hanging") {
					interrupt()
				}
				return m.answers(ctx)
			}
			m.Program = script(t, program)
			done, err := service.New(m.Options).Install(ctx)
			if err == nil {
				t.Fatalf("it was installed: %+v", done)
			}
			if !strings.Contains(err.Error(), "put back") || strings.Contains(err.Error(), "undone") {
				t.Errorf("the error: %v", err)
			}
			if name == "exits" && !strings.Contains(err.Error(), "no such luck") {
				t.Errorf("the error does not have the log: %v", err)
			}
			if m.data() != token {
				t.Error("the data is another")
			}
			after := m.tree()
			if name == "spoils" {
				// What the restore put aside.
				aside, _ := filepath.Glob(m.DataFile + ".before-restore-*")
				if len(aside) != 1 {
					t.Errorf("the restore kept %v", aside)
				}
				for _, path := range aside {
					if err := os.Remove(path); err != nil {
						t.Error(err)
					}
				}
				after = m.tree()
			}
			if d := cmp.Diff(before, after); d != "" {
				t.Error(d)
			}
		})
	}
}

// Whatever call of the supervisor fails, all is as it was before.
func TestEachStepUndone(t *testing.T) {
	one, two := programs(t)
	t.Run("install", func(t *testing.T) {
		m := newMachine(t)
		before := m.tree()
		for n := 1; ; n++ {
			m.sup.calls, m.sup.failAt = 0, n
			_, err := m.install(one)
			if err == nil {
				break
			}
			if !errors.Is(err, errInjected) {
				t.Fatalf("call %d: %v", n, err)
			}
			if m.sup.running() {
				t.Errorf("call %d: the server runs", n)
			}
			if d := cmp.Diff(before, m.tree()); d != "" {
				t.Fatalf("call %d: %s", n, d)
			}
		}
	})
	// A server that is still about to serve, as after a crash, is started again as well.
	for _, starting := range []bool{false, true} {
		t.Run(fmt.Sprintf("upgrade while starting %v", starting), func(t *testing.T) {
			m := newMachine(t)
			m.mustInstall(one, "installed")
			token := m.data()
			unit, err := os.ReadFile(m.sup.unit)
			if err != nil {
				t.Fatal(err)
			}
			write(t, m.sup.unit, append(unit, "# of an older Croft\n"...))
			before := m.tree()
			for n := 1; ; n++ {
				m.sup.calls, m.sup.failAt, m.sup.starting = 0, n, starting
				_, err := m.install(two)
				if err == nil {
					break
				}
				if !errors.Is(err, errInjected) {
					t.Fatalf("call %d: %v", n, err)
				}
				m.sup.failAt, m.sup.starting = 0, false
				if m.data() != token {
					t.Errorf("call %d: the data is another", n)
				}
				if d := cmp.Diff(before, m.tree()); d != "" {
					t.Fatalf("call %d: %s", n, d)
				}
			}
			if m.data() != token {
				t.Error("the data is another")
			}
		})
	}
}

// A disk that fills up, whenever it does, leaves all as it was.
func TestFullDisk(t *testing.T) {
	needs.Root(t)
	one, two := programs(t)
	info, err := os.Stat(one)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := syscall.Mount("croft-test", root, "tmpfs", 0, "size=1g,mode=755"); err != nil {
		needs.Skip(t, "a tmpfs can't be mounted: "+err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) }) // nothing else can be done about it
	m := newMachineAt(t, root)
	fill := func(leave int64) {
		t.Helper()
		var st syscall.Statfs_t
		if err := syscall.Statfs(root, &st); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(root, "full"))
		if err == nil {
			err = errors.Join(syscall.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*int64(st.Bsize)-leave), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	full := func(program string, room ...int64) {
		t.Helper()
		before := m.tree()
		for _, leave := range room {
			fill(leave)
			if _, err := m.install(program); err == nil || !strings.Contains(err.Error(), "room") && !strings.Contains(err.Error(), "no space") {
				t.Errorf("with room for %d bytes: %v", leave, err)
			}
			if err := os.Remove(filepath.Join(root, "full")); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(before, m.tree()); d != "" {
				t.Fatalf("with room for %d bytes: %s", leave, d)
			}
		}
	}
	full(one, 0, 64<<10, info.Size()/2, info.Size()+8<<10)
	m.mustInstall(one, "installed")
	token := m.data()
	// The last is room for the program and not for the copy of the data.
	full(two, 0, info.Size()/2, info.Size()+12<<10)
	if m.data() != token {
		t.Error("the data is another")
	}
}

// An install and an upgrade of a server that takes its time is waited for.
func TestPatience(t *testing.T) {
	m := newMachine(t)
	one, _ := programs(t)
	asked := 0
	m.Answers = func(ctx context.Context) error {
		if asked++; asked < 3 {
			return errors.New("not yet")
		}
		return m.answers(ctx)
	}
	m.mustInstall(one, "installed")

	m.Answers = func(context.Context) error { return errors.New("never") }
	m.Patience = time.Millisecond
	err := service.New(m.Options).Restart(t.Context())
	if err == nil || !strings.Contains(err.Error(), "within") {
		t.Errorf("a server that never answers: %v", err)
	}
}
