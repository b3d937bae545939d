package service

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fake puts a program before all others, made of this text for a shell.
func fake(t *testing.T, name, text string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// Whose a unit is stands in it, wherever systemd finds it.
func TestSystemdOwner(t *testing.T) {
	dir := t.TempDir()
	s := &systemd{unit: filepath.Join(dir, "etc.service"), packaged: []string{filepath.Join(dir, "usr.service")}}
	fake(t, "systemctl", "echo FragmentPath=$FRAGMENT")
	want := func(owner Owner, place string) {
		t.Helper()
		got, err := s.Installed()
		if err != nil || got != owner || s.Place() != place {
			t.Errorf("owner %v, %v, of %s; want %v of %s", got, err, s.Place(), owner, place)
		}
	}
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want(Nobody, s.unit)
	put(s.packaged[0], PackageUnit("/usr/bin/croft"))
	want(Package, s.packaged[0])
	put(s.packaged[0], "[Service]\n")
	want(Foreign, s.packaged[0])
	put(s.packaged[0], PackageUnit("/usr/bin/croft"))

	elsewhere := filepath.Join(dir, "run.service")
	t.Setenv("FRAGMENT", elsewhere) // which systemd still knows, and is gone
	want(Package, s.packaged[0])
	put(elsewhere, "[Service]\n")
	want(Foreign, elsewhere)
	put(s.unit, Unit(Definition{}))
	want(Ours, s.unit)
	put(s.unit, "[Service]\n")
	want(Foreign, s.unit)
}

// What systemctl refuses is told in its own words; that a server ended, which the log explains, in ours.
func TestSystemdStart(t *testing.T) {
	for said, want := range map[string]string{
		"Failed to start croft.service: Unit croft.service is masked.":                            "is masked",
		"Job for croft.service failed because the control process exited with error code.\nSee …": "it ended before it served",
	} {
		t.Run(want, func(t *testing.T) {
			fake(t, "systemctl", `[ "$1" != start ] || { echo `+shellWord(said)+` >&2; exit 1; }`)
			if err := newSystemd().Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A server that checks a large file, or is started again and again, is not one that somebody stopped.
func TestSystemdState(t *testing.T) {
	for word, want := range map[string]State{
		"active": {Running: true}, "activating": {Starting: true}, "inactive": {}, "failed": {},
	} {
		t.Run(word, func(t *testing.T) {
			fake(t, "systemctl", "echo ActiveState="+word)
			got, err := newSystemd().State(t.Context())
			if want.Word = word; err != nil || got != want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// Somebody else who writes to the journal as croft is not listened to.
func TestSystemdLogs(t *testing.T) {
	fake(t, "journalctl", `echo "$@"`)
	var said bytes.Buffer
	if err := newSystemd().Logs(t.Context(), &said, 5, false); err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(said.String(), " + ") {
		if strings.Contains(part, "croft") && !strings.Contains(part, "_SYSTEMD_UNIT=") && !strings.Contains(part, "_UID=") {
			t.Errorf("anybody can write what %q finds", part)
		}
	}
}

// What systemd hides from the service, and folders that are not Croft's alone, are refused before anything is done.
func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	full, link := filepath.Join(dir, "full"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(full, 0o755), os.WriteFile(filepath.Join(full, "letter"), nil, 0o600), os.Symlink("/home", link)); err != nil {
		t.Fatal(err)
	}
	place := func(name string) Options { return Options{DataFile: filepath.FromSlash(name)} }
	here := System().Data()
	for _, test := range []struct {
		Options
		refused string
	}{
		{place("/home/ada/croft.db"), "can't see"},
		{place("/root/croft.db"), "can't see"},
		{place("/tmp/croft.db"), "can't see"},
		{place(filepath.Join(link, "croft.db")), "can't see"},
		{place("croft.db"), "must begin"},
		{place("/no such folder/either/croft.db"), "there is no folder"},
		{place("/croft.db"), "the system's"},
		{place("/usr/croft.db"), "the system's"},
		{place("/proc/croft.db"), "the system's"},
		{place(filepath.Join("/usr/lib", "croft.db")), "more in it"},
		{Options{DataFile: here, Writable: []string{"/home/ada/backups"}}, "can't see"},
		{Options{DataFile: here, Readable: []string{"/srv/cert.pem", "/root/key.pem"}}, "/root/key.pem"},
		{Options{DataFile: here, Writable: []string{"/mnt/usb/croft"}, Readable: []string{"/etc/croft/key.pem"}}, ""},
		{place(here), ""},
		{place("/srv/croft of a test/croft.db"), ""},
	} {
		o := test.Options
		o.Layout, o.Supervisor, o.User = System(), newSystemd(), "nobody"
		err := New(o).checkPlaces()
		if (err != nil) != (test.refused != "") || err != nil && !strings.Contains(err.Error(), test.refused) {
			t.Errorf("%+v: %v; want %q", test.Options, err, test.refused)
		}
	}
}
