//go:build unix

// Package packaging_test holds install.sh to what it promises: the right program, checked, or nothing at all.
package packaging_test

import (
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"croft/internal/needs"
)

// A machine is one that install.sh runs on: a folder of programs that stand before, or instead of, the real ones.
type machine struct {
	shell []string
	bin   string // on PATH before all else
	home  string // TMPDIR is in it, and what is installed
	path  string
}

// The program of the releases here: it tells what it was asked.
const program = `#!/bin/sh
case $1 in
version) echo "croft 1.2.3, go1.26, here" ;;
*) echo "$*" >>"$CROFT_ASKED" ;;
esac
`

func newMachine(t *testing.T, shell ...string) *machine {
	t.Helper()
	if len(shell) == 0 {
		shell = []string{"sh"}
	}
	m := &machine{shell: shell, bin: t.TempDir(), home: t.TempDir(), path: os.Getenv("PATH")}
	m.add(t, "id", "echo 0")
	m.add(t, "uname", `case $1 in -s) echo Linux ;; *) echo aarch64 ;; esac`)
	m.add(t, "getconf", "echo 64")
	for _, folder := range []string{"tmp", "into"} {
		if err := os.Mkdir(filepath.Join(m.home, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// add gives the machine a program.
func (m *machine) add(t *testing.T, name, script string) {
	t.Helper()
	write(t, filepath.Join(m.bin, name), "#!/bin/sh\n"+script+"\n", 0o755)
}

// without leaves the machine no other programs than the ones of Debian's smallest system, and not those named.
func (m *machine) without(t *testing.T, missing ...string) {
	t.Helper()
	for _, name := range []string{"sh", "dash", "busybox", "cat", "cp", "mv", "rm", "mkdir", "chmod", "mktemp", "dirname", "grep", "awk", "cut", "tr", "od", "dd",
		"curl", "wget", "sha256sum", "openssl", "minisign"} {
		file, err := exec.LookPath(name)
		if slices.Contains(missing, name) || err != nil {
			continue
		}
		if _, err := os.Lstat(filepath.Join(m.bin, name)); err == nil {
			continue
		}
		if err := os.Symlink(file, filepath.Join(m.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	m.path = ""
}

// run runs install.sh, and returns what it said and its exit code.
func (m *machine) run(t *testing.T, args ...string) (said string, code int) {
	t.Helper()
	script, err := filepath.Abs("../install.sh")
	if err != nil {
		t.Fatal(err)
	}
	shell, err := exec.LookPath(m.shell[0])
	if err != nil {
		t.Fatal(err)
	}
	return m.do(t, exec.Command(shell, slices.Concat(m.shell[1:], []string{script}, args)...))
}

// piped runs a script that comes from a pipe, in that folder.
func (m *machine) piped(t *testing.T, folder, script string, args ...string) (said string, code int) {
	t.Helper()
	shell, err := exec.LookPath(m.shell[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(shell, slices.Concat(m.shell[1:], []string{"-s", "--"}, args)...)
	cmd.Args[0] = m.shell[0] // as a shell that is found on PATH
	cmd.Dir = folder
	cmd.Stdin = strings.NewReader(script)
	return m.do(t, cmd)
}

func (m *machine) do(t *testing.T, cmd *exec.Cmd) (said string, code int) {
	t.Helper()
	cmd.Env = []string{"PATH=" + m.bin + ":" + m.path, "TMPDIR=" + filepath.Join(m.home, "tmp"), "CROFT_ASKED=" + m.asked(), "HOME=" + m.home}
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(m.home, "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("it left %s in the folder of temporary files", left[0].Name())
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (m *machine) asked() string { return filepath.Join(m.home, "asked") }

// refuses runs install.sh, which has to say why it doesn't go on, and to have changed nothing.
func (m *machine) refuses(t *testing.T, why string, args ...string) {
	t.Helper()
	said, code := m.run(t, args...)
	if code == 0 || !strings.Contains(said, why) {
		t.Errorf("exit %d, want a refusal with %q:\n%s", code, why, said)
	}
	m.unchanged(t)
}

func (m *machine) unchanged(t *testing.T) {
	t.Helper()
	if asked, err := os.ReadFile(m.asked()); err == nil {
		t.Errorf("the program was asked: %s", asked)
	}
	into, err := os.ReadDir(filepath.Join(m.home, "into"))
	if err != nil {
		t.Fatal(err)
	}
	if len(into) > 0 {
		t.Errorf("%s was put into the folder", into[0].Name())
	}
}

// installs runs install.sh, and returns what it said.
func (m *machine) installs(t *testing.T, args ...string) string {
	t.Helper()
	said, code := m.run(t, args...)
	if code != 0 {
		t.Fatalf("exit %d:\n%s", code, said)
	}
	return said
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

// release makes the folder of a release whose programs are all the same.
func release(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	var sums strings.Builder
	for _, name := range []string{"croft-linux-amd64", "croft-linux-arm64", "croft-linux-armv7", "croft-linux-armv6", "croft-darwin-arm64"} {
		text := program + "# " + name + "\n"
		write(t, filepath.Join(folder, name), text, 0o644)
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256([]byte(text)), name)
	}
	write(t, filepath.Join(folder, "SHA256SUMS"), sums.String(), 0o644)
	return folder
}

func served(t *testing.T, folder string) (address string) {
	t.Helper()
	s := httptest.NewServer(http.FileServer(http.Dir(folder)))
	t.Cleanup(s.Close)
	return s.URL
}

func have(t *testing.T, file, text string) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(got), text) {
		t.Errorf("%s has no %q:\n%s", filepath.Base(file), text, got)
	}
}

func TestInstallUnderEveryShell(t *testing.T) {
	for _, shell := range [][]string{{"sh"}, {"dash"}, {"busybox", "sh"}, {"bash", "--posix"}} {
		t.Run(shell[0], func(t *testing.T) {
			needs.Program(t, shell[0])
			needs.Program(t, "curl")
			m := newMachine(t, shell...)
			m.installs(t, "--from", served(t, release(t))+"/")
			have(t, m.asked(), "service install\n")

			m = newMachine(t, shell...)
			m.installs(t, "--from", release(t), "--no-service", "--folder", filepath.Join(m.home, "into"))
			have(t, filepath.Join(m.home, "into", "croft"), "# croft-linux-arm64\n")

			m = newMachine(t, shell...)
			said := m.installs(t, "--dry-run", "--from", served(t, release(t)), "--", "--data", "/srv/croft.db")
			for _, step := range []string{"would fetch", "would compare", "would run", "would install the service: croft service install --data /srv/croft.db"} {
				if !strings.Contains(said, step) {
					t.Errorf("the dry run does not say %q:\n%s", step, said)
				}
			}
			m.unchanged(t)
		})
	}
}

func TestShellcheck(t *testing.T) {
	shellcheck := needs.Program(t, "shellcheck")
	if out, err := exec.Command(shellcheck, "-s", "sh", "../install.sh").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, pattern := range []string{"../scripts/*", "../packaging/deb/*inst", "../packaging/deb/*rm"} {
		scripts, err := filepath.Glob(pattern)
		if err != nil || len(scripts) == 0 {
			t.Fatal(pattern, err)
		}
		for i := range scripts {
			scripts[i] = strings.TrimPrefix(scripts[i], "../")
		}
		cmd := exec.Command(shellcheck, append([]string{"-x"}, scripts...)...)
		cmd.Dir = ".." // a script names what it reads from there
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

func TestTarget(t *testing.T) {
	needs.Program(t, "awk")
	for _, c := range []struct{ system, cpu, bits, want string }{
		{"Linux", "x86_64", "64", "croft-linux-amd64"},
		{"Linux", "aarch64", "64", "croft-linux-arm64"},
		{"Linux", "aarch64", "32", "croft-linux-armv7"}, // Raspberry Pi OS of 32 bits
		{"Linux", "armv8l", "32", "croft-linux-armv7"},
		{"Linux", "armv7l", "32", "croft-linux-armv7"},
		{"Linux", "armv6l", "32", "croft-linux-armv6"},
		{"Darwin", "arm64", "64", "croft-darwin-arm64"},
		{"Linux", "riscv64", "64", ""},
		{"Linux", "i686", "32", ""},
		{"FreeBSD", "amd64", "64", ""},
	} {
		t.Run(c.system+" "+c.cpu+" "+c.bits, func(t *testing.T) {
			m := newMachine(t)
			m.add(t, "uname", fmt.Sprintf("case $1 in -s) echo %s ;; *) echo %s ;; esac", c.system, c.cpu))
			m.add(t, "getconf", "echo "+c.bits)
			into := filepath.Join(m.home, "into")
			args := []string{"--from", release(t), "--no-service", "--folder", into}
			if c.want == "" {
				m.refuses(t, "there is no Croft for", args...)
				return
			}
			m.installs(t, args...)
			have(t, filepath.Join(into, "croft"), "# "+c.want+"\n")
		})
	}
}

// Without getconf, as on Alpine, the shell's own file says how wide programs are.
func TestTargetWithoutGetconf(t *testing.T) {
	if runtime.GOOS != "linux" || (runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64") {
		t.Skip("it needs a /bin/sh that is an ELF file of 64 bits")
	}
	m := newMachine(t)
	if err := os.Remove(filepath.Join(m.bin, "getconf")); err != nil {
		t.Fatal(err)
	}
	m.without(t)
	m.installs(t, "--from", release(t), "--no-service", "--folder", filepath.Join(m.home, "into"))
	have(t, filepath.Join(m.home, "into", "croft"), "# croft-linux-arm64\n")
}

func TestReleaseThatIsNotWhole(t *testing.T) {
	needs.Program(t, "curl")
	for _, c := range []struct {
		name, why string
		spoil     func(t *testing.T, folder string)
	}{
		{"changed", "is not what the release says", func(t *testing.T, folder string) {
			write(t, filepath.Join(folder, "croft-linux-arm64"), program+"# evil\n", 0o644)
		}},
		{"cut off", "is not what the release says", func(t *testing.T, folder string) {
			if err := os.Truncate(filepath.Join(folder, "croft-linux-arm64"), 20); err != nil {
				t.Fatal(err)
			}
		}},
		{"no program", "croft-linux-arm64", func(t *testing.T, folder string) {
			if err := os.Remove(filepath.Join(folder, "croft-linux-arm64")); err != nil {
				t.Fatal(err)
			}
		}},
		{"no sums", "SHA256SUMS", func(t *testing.T, folder string) {
			if err := os.Remove(filepath.Join(folder, "SHA256SUMS")); err != nil {
				t.Fatal(err)
			}
		}},
		{"no sum of it", "the release has no checksum for croft-linux-arm64", func(t *testing.T, folder string) {
			write(t, filepath.Join(folder, "SHA256SUMS"), strings.Repeat("0", 64)+"  croft-linux-arm64.old\n", 0o644)
		}},
		{"damaged sum", "SHA256SUMS is damaged", func(t *testing.T, folder string) {
			write(t, filepath.Join(folder, "SHA256SUMS"), "0123  croft-linux-arm64\n", 0o644)
		}},
		{"two sums", "SHA256SUMS is damaged", func(t *testing.T, folder string) {
			line := strings.Repeat("0", 64) + "  croft-linux-arm64\n"
			write(t, filepath.Join(folder, "SHA256SUMS"), line+line, 0o644)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := release(t)
			c.spoil(t, folder)
			newMachine(t).refuses(t, c.why, "--from", folder)
			newMachine(t).refuses(t, c.why, "--from", served(t, folder))
		})
	}
}

// signed signs the folder's sums, with a new key.
func signed(t *testing.T, folder string) (public string) {
	t.Helper()
	minisign := needs.Program(t, "minisign")
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if out, err := exec.Command(minisign, "-G", "-W", "-p", filepath.Join(dir, "public"), "-s", secret).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(minisign, "-S", "-s", secret, "-m", filepath.Join(folder, "SHA256SUMS")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "public"))
	if err != nil {
		t.Fatal(err)
	}
	_, public, _ = strings.Cut(strings.TrimSpace(string(raw)), "\n")
	return public
}

func TestSignature(t *testing.T) {
	other := signed(t, release(t))
	folder := release(t)
	address := served(t, folder)
	newMachine(t).refuses(t, "SHA256SUMS.minisig", "--from", folder, "--key", other)
	public := signed(t, folder)
	m := newMachine(t)
	m.installs(t, "--from", address, "--key", public)
	have(t, m.asked(), "service install\n")
	newMachine(t).refuses(t, "is not by that key", "--from", address, "--key", other)

	m = newMachine(t)
	m.without(t, "minisign")
	m.refuses(t, "there is no minisign here", "--from", address, "--key", public)

	// Signed sums hold programs too: one that is changed is found.
	write(t, filepath.Join(folder, "croft-linux-arm64"), program+"# evil\n", 0o644)
	newMachine(t).refuses(t, "is not what the release says", "--from", address, "--key", public)
	// And sums that were changed with it.
	text := fmt.Sprintf("%x  croft-linux-arm64\n", sha256.Sum256([]byte(program+"# evil\n")))
	write(t, filepath.Join(folder, "SHA256SUMS"), text, 0o644)
	newMachine(t).refuses(t, "is not by that key", "--from", address, "--key", public)
}

func TestBinaryThatDoesNotRun(t *testing.T) {
	m := newMachine(t)
	half := filepath.Join(m.home, "half")
	write(t, half, "\x7fELF\x02\x01\x01", 0o755)
	m.refuses(t, "does not run on this machine", "--binary", half)
	m.refuses(t, "there is no file", "--binary", half+"er")
}

func TestNotRoot(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "croft")
	write(t, whole, program, 0o755)

	m := newMachine(t)
	m.add(t, "id", "echo 1000")
	m.add(t, "sudo", `echo sudo >>"$CROFT_ASKED"; exec "$@"`)
	m.installs(t, "--binary", whole)
	have(t, m.asked(), "sudo\nservice install\n")

	m = newMachine(t)
	m.add(t, "id", "echo 1000")
	m.without(t)
	m.refuses(t, "there is no sudo here", "--binary", whole)
	// A folder of one's own needs no root.
	into := filepath.Join(m.home, "into")
	m.installs(t, "--binary", whole, "--no-service", "--folder", into)
	have(t, filepath.Join(into, "croft"), "croft 1.2.3")
}

func TestNothingToDownloadWith(t *testing.T) {
	address := served(t, release(t))
	m := newMachine(t)
	m.without(t, "curl", "wget")
	m.refuses(t, "neither curl nor wget", "--from", address)

	m = newMachine(t)
	m.without(t, "sha256sum", "openssl")
	m.refuses(t, "no sha256sum, shasum or openssl", "--from", address)

	needs.Program(t, "wget")
	needs.Program(t, "openssl")
	m = newMachine(t)
	m.without(t, "curl", "sha256sum")
	m.installs(t, "--from", address)
	have(t, m.asked(), "service install\n")
}

// With wget, https has to prove as much as with curl: the sums come the same way as the program.
func TestHTTPSWithWget(t *testing.T) {
	needs.Program(t, "wget")
	folder := release(t)
	files := http.FileServer(http.Dir(folder))
	plain := served(t, folder)
	mux := http.NewServeMux()
	mux.Handle("/", files)
	mux.HandleFunc("/away/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain+strings.TrimPrefix(r.URL.Path, "/away"), http.StatusFound)
	})
	s := httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that don't trust it
	s.StartTLS()
	t.Cleanup(s.Close)

	// trusting is a machine with GNU's wget alone, which knows the server's authority.
	trusting := func() *machine {
		m := newMachine(t)
		m.without(t, "curl")
		root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
		write(t, filepath.Join(m.home, "root.pem"), string(root), 0o644)
		write(t, filepath.Join(m.home, ".wgetrc"), "ca_certificate = "+filepath.Join(m.home, "root.pem")+"\n", 0o644)
		return m
	}
	m := trusting()
	m.installs(t, "--from", s.URL)
	have(t, m.asked(), "service install\n")
	trusting().refuses(t, "redirects are followed with curl only", "--from", s.URL+"/away")
	m = newMachine(t)
	m.without(t, "curl")
	m.refuses(t, "could not be fetched", "--from", s.URL) // an authority that it doesn't know

	// BusyBox's doesn't look at the certificate.
	busybox := func(missing ...string) *machine {
		m := newMachine(t)
		m.add(t, "wget", `exec busybox wget "$@"`)
		m.without(t, append(missing, "curl")...)
		return m
	}
	needs.Program(t, "busybox")
	busybox().refuses(t, "may not check whom it downloads from", "--from", s.URL)
	busybox("minisign").refuses(t, "may not check whom it downloads from", "--dry-run", "--from", s.URL)
	m = busybox()
	m.installs(t, "--from", plain) // which says that it proves nothing
	have(t, m.asked(), "service install\n")

	// A signature proves it, wherever it comes from.
	public := signed(t, folder)
	m = trusting()
	m.installs(t, "--from", s.URL+"/away", "--key", public)
	have(t, m.asked(), "service install\n")
	m = busybox()
	m.installs(t, "--from", plain, "--key", public)
	have(t, m.asked(), "service install\n")
}

// Cut off anywhere, the script does nothing; least of all what its options would have kept it from.
func TestScriptCutOff(t *testing.T) {
	script, err := os.ReadFile("../install.sh")
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.TrimSpace(string(script))
	binary := filepath.Join(t.TempDir(), "croft")
	write(t, binary, program, 0o755)
	for _, shell := range [][]string{{"sh"}, {"busybox", "sh"}, {"bash", "--posix"}} {
		needs.Program(t, shell[0])
		last := strings.LastIndex(whole, "\n")
		for cut := last - 5; cut <= len(whole); cut++ {
			m := newMachine(t, shell...)
			said, _ := m.piped(t, m.home, whole[:cut], "--binary", binary, "--dry-run")
			m.unchanged(t)
			did := strings.Contains(said, "would install the service") || strings.Contains(said, "install.sh:") // what it says itself
			if did != (cut == len(whole)) {
				t.Errorf("%s, cut off after %q: %s", shell, whole[last-5:cut], said)
			}
		}
	}
}

// From a pipe, the script lies nowhere: what looks like Croft's source in the current folder is somebody's.
func TestPipedInAFolderLikeACheckout(t *testing.T) {
	script, err := os.ReadFile("../install.sh")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	write(t, filepath.Join(folder, "install.sh"), string(script), 0o755)
	write(t, filepath.Join(folder, "go.mod"), "module croft\n", 0o644)
	for _, args := range [][]string{nil, {"--build"}} {
		m := newMachine(t)
		m.add(t, "go", `echo go >>"$CROFT_ASKED"; exit 1`)
		if said, code := m.piped(t, folder, string(script), args...); code == 0 || strings.Contains(said, "build Croft from") {
			t.Errorf("%q: exit %d:\n%s", args, code, said)
		}
		m.unchanged(t)
	}
}

func TestFullDisk(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it needs a tmpfs")
	}
	needs.Program(t, "curl")
	needs.Root(t)
	m := newMachine(t)
	folder := release(t)
	// A file of 1 MiB for a disk of 64 KiB.
	big := program + strings.Repeat("#", 1<<20) + "\n"
	write(t, filepath.Join(folder, "croft-linux-arm64"), big, 0o644)
	write(t, filepath.Join(folder, "SHA256SUMS"), fmt.Sprintf("%x  croft-linux-arm64\n", sha256.Sum256([]byte(big))), 0o644)
	full := func(name string) {
		t.Helper()
		dir := filepath.Join(m.home, name)
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "croft-test", dir).CombinedOutput(); err != nil {
			needs.Skip(t, "a tmpfs can't be mounted here: "+strings.TrimSpace(string(out)))
		}
		t.Cleanup(func() {
			if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	full("into")
	m.refuses(t, "Is that disk full?", "--from", folder, "--no-service", "--folder", filepath.Join(m.home, "into"))
	full("tmp")
	m.refuses(t, "is that disk full?", "--from", served(t, folder))
	m.refuses(t, "Is that disk full?", "--from", folder)
}

func TestMisuse(t *testing.T) {
	for _, args := range [][]string{{"--from"}, {"--form", "x"}, {"--from", "x", "--binary", "y"}, {"--binary", "x", "--folder", "y"}, {"--binary", "x", "--key", "y"},
		{"--binary", "x", "--no-service", "--", "--data", "y"}} {
		m := newMachine(t)
		said, code := m.run(t, args...)
		if code != 2 || !strings.Contains(said, "--help") {
			t.Errorf("%q: exit %d, want 2:\n%s", args, code, said)
		}
		m.unchanged(t)
	}
	if said, code := newMachine(t).run(t, "--help"); code != 0 || !strings.Contains(said, "--dry-run") {
		t.Errorf("--help: exit %d:\n%s", code, said)
	}
}

// In a checkout with Go, the script needs no options.
func TestBuild(t *testing.T) {
	m := newMachine(t)
	// Go's caches are found by HOME.
	raw, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	caches := strings.Split(strings.TrimSpace(string(raw)), "\n")
	m.add(t, "go", fmt.Sprintf("GOFLAGS=-buildvcs=false GOCACHE='%s' GOMODCACHE='%s' PATH='%s' exec go \"$@\"", caches[0], caches[1], os.Getenv("PATH")))
	into := filepath.Join(m.home, "into")
	said := m.installs(t, "--no-service", "--folder", into)
	if !strings.Contains(said, "build Croft") {
		t.Errorf("it did not build:\n%s", said)
	}
	if out, err := exec.Command(filepath.Join(into, "croft"), "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "croft ") {
		t.Errorf("%v: %s", err, out)
	}

	m = newMachine(t)
	m.without(t)
	m.refuses(t, "there is no Go here", "--no-service", "--folder", filepath.Join(m.home, "into"))
}
