package service_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"croft/internal/needs"
	"croft/internal/service"
)

// systemd itself says how much of the machine the server could reach: 2.0 of 10 at most.
func TestUnitSecurity(t *testing.T) {
	analyze := needs.Program(t, "systemd-analyze")
	unit := filepath.Join(t.TempDir(), "croft.service")
	if err := os.WriteFile(unit, []byte(service.PackageUnit("/bin/true")), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "security", "--offline=yes", "--no-pager", unit).CombinedOutput()
	if err != nil {
		needs.Skip(t, "this systemd-analyze can't judge a file: "+string(out))
	}
	m := regexp.MustCompile(`Overall exposure level for croft.service: (\d+\.\d)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("no level in %s", out)
	}
	if level, err := strconv.ParseFloat(string(m[1]), 64); err != nil || level > 2.0 {
		t.Errorf("the exposure level is %s:\n%s", m[1], out)
	}
	if out, err := exec.Command(analyze, "verify", unit).CombinedOutput(); err != nil || strings.Contains(string(out), "croft.service") {
		t.Errorf("systemd-analyze verify: %v: %s", err, out)
	}
}

func TestUnit(t *testing.T) {
	unit := service.Unit(service.Definition{
		Layout:   service.Layout{Binary: "/opt/my croft/100%", Config: "/etc/$x", Folder: "/var/lib/croft"},
		User:     "croft",
		Writable: []string{"/var/lib/croft", "/var/lib/croft/backups", "/mnt/big disk"},
	})
	for _, line := range []string{
		`ExecStart="/opt/my croft/100%%" serve --config /etc/$$x`, "User=croft", "Group=croft", `ReadWritePaths="-/mnt/big disk"`,
	} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, unit)
		}
	}
	if n := strings.Count(unit, "ReadWritePaths="); n != 1 {
		t.Errorf("%d lines of ReadWritePaths in\n%s", n, unit)
	}
}
