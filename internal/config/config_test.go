package config

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write config.example.toml")

// exampleFile lies at the root of the repository, where people look for it.
const exampleFile = "../../config.example.toml"

// load reads a file of the given text, under the name croft.toml.
func load(t *testing.T, text string, env []string, flags map[string]string) (*Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("croft.toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load("croft.toml", false, env, flags)
}

// wantProblems checks the lines of an error.
func wantProblems(t *testing.T, err error, want ...string) {
	t.Helper()
	if _, ok := errors.AsType[Problems](err); !ok {
		t.Fatalf("error is %T (%v), want Problems", err, err)
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestBackupFolder(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	for _, test := range []struct{ data, folder, want string }{
		{"croft.db", "backups", "backups"},
		{filepath.Join("srv", "croft.db"), "backups", filepath.Join("srv", "backups")},
		{filepath.Join("srv", "croft.db"), elsewhere, elsewhere},
	} {
		c := &Config{Data: test.data, Backup: Backup{Folder: test.folder}}
		if got := c.BackupFolder(); got != test.want {
			t.Errorf("data %s, folder %s: %s, want %s", test.data, test.folder, got, test.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Chdir(t.TempDir())
	c, err := Load(DefaultFile, false, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Data: "croft.db", Listen: ":8080",
		HTTPS: HTTPS{
			Mode: "off", Listen: ":443", Names: []string{}, Challenge: "http", Directory: "https://acme-v02.api.letsencrypt.org/directory",
			DNS: DNS{Resolvers: []string{}},
		},
		Proxy:  Proxy{Trusted: []string{}},
		MDNS:   MDNS{Enabled: true, Name: "croft"},
		Limits: Limits{Body: 1 << 20, Scan: 250_000, DiskReserve: 64 << 20, RequestTime: 30 * time.Second, HeaderTime: 10 * time.Second, Connections: 1000},
		Auth:   Auth{HashMemory: 40 << 20, SessionIdle: 30 * 24 * time.Hour, SessionMax: 365 * 24 * time.Hour},
		Backup: Backup{Folder: "backups"},
		Log:    Log{Level: "info", Format: "text"},
	}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestValues writes each type of value in each of its forms, in the file and as a variable.
func TestValues(t *testing.T) {
	tests := []struct {
		key, toml, env string
		want           any // as Show gives it; nil for a refusal
		reason         string
	}{
		{"data", `"/srv/croft.db"`, "/srv/croft.db", "/srv/croft.db", ""},
		{"data", `'C:\croft.db'`, `C:\croft.db`, `C:\croft.db`, ""},
		{"data", `""`, "", nil, `it is empty; write for example croft.db`},
		{"data", `5`, "", nil, `5 is not text in quotes; write for example "croft.db"`},
		{"data", `["a", "b"]`, "", nil, `a list is not text in quotes; write for example "croft.db"`},
		{"data", `{a = 1}`, "", nil, `a table is not text in quotes; write for example "croft.db"`},

		{"listen", `"127.0.0.1:0"`, "127.0.0.1:0", "127.0.0.1:0", ""},
		{"listen", `"[::1]:80"`, "[::1]:80", "[::1]:80", ""},
		{"listen", `"pi.local:80"`, "pi.local:80", "pi.local:80", ""},
		{"listen", `"8080"`, "8080", nil, `"8080" is not an address; write host:port, for example 127.0.0.1:8080, or :8080 for every address of this machine`},
		{"listen", `":70000"`, ":70000", nil, `":70000" is not an address; write host:port, for example 127.0.0.1:8080, or :8080 for every address of this machine`},
		{"listen", `"::1:80"`, "::1:80", nil, `"::1:80" is not an address; write host:port, for example 127.0.0.1:8080, or :8080 for every address of this machine`},

		{"limits.body", `"2MiB"`, "2MiB", "2MiB", ""},
		{"limits.body", `"1 GiB"`, "1 GiB", "1GiB", ""},
		{"limits.body", `1536`, "1536", "1536", ""},
		{"limits.body", `2048`, "2048B", "2KiB", ""},
		{"limits.body", `"1MB"`, "", nil, `"1MB" is not a size; write for example "1MiB"`},
		{"limits.body", `"-1MiB"`, "", nil, `"-1MiB" is not a size; write for example "1MiB"`},
		{"limits.body", `"9999999999TiB"`, "", nil, `"9999999999TiB" is not a size; write for example "1MiB"`},
		{"limits.body", `1.5`, "", nil, `1.5 is not a size; write for example "1MiB"`},
		{"limits.body", `"1"`, "1", nil, `"1" is too small; the least is 1KiB`},
		{"limits.body", `"2TiB"`, "2TiB", nil, `"2TiB" is too large; the most is 1GiB`},
		{"auth.hash_memory", `"18MiB"`, "18MiB", nil, `"18MiB" is too small; the least is 19MiB`},

		{"limits.scan", `1_000`, "1000", 1000, ""},
		{"limits.scan", `0x10`, "16", 16, ""},
		{"limits.scan", `"many"`, "", nil, `"many" is not a whole number; write for example 250000`},
		{"limits.scan", `"250"`, "", nil, `"250" is not a whole number; write for example 250000`},
		{"limits.scan", `true`, "", nil, `true is not a whole number; write for example 250000`},
		{"limits.scan", `2026-01-01`, "", nil, `2026-01-01 is not a whole number; write for example 250000`},
		{"limits.scan", `0`, "", nil, `0 is too small; the least is 1`},
		{"limits.scan", `2000000000`, "", nil, `2000000000 is too large; the most is 1000000000`},
		{"limits.scan", `99999999999999999999`, "", nil, `99999999999999999999 is not a whole number; write for example 250000`},

		{"limits.request_time", `"90s"`, "90s", "1m30s", ""},
		{"limits.request_time", `"1m"`, "60s", "1m", ""},
		{"auth.session_idle", `"60m"`, "60m", "1h", ""},
		{"limits.request_time", `30`, "", nil, `30 is not a length of time; write for example "30s"`},
		{"limits.request_time", `"30"`, "", nil, `"30" is not a length of time; write for example "30s"`},
		{"limits.request_time", `"10ms"`, "10ms", nil, `"10ms" is too small; the least is 1s`},
		{"limits.request_time", `"2h"`, "2h", nil, `"2h" is too large; the most is 1h`},

		{"log.requests", `false`, "false", false, ""},
		{"log.requests", `"false"`, "", nil, `"false" is neither true nor false; write one of them`},
		{"log.requests", `"no"`, "no", nil, `"no" is neither true nor false; write one of them`},
		{"log.requests", `1`, "", nil, `1 is neither true nor false; write one of them`},

		{"log.level", `"debug"`, "debug", "debug", ""},
		{"log.level", `"loud"`, "loud", nil, `"loud" is not one of debug, info, warn, error`},
		{"log.format", `"JSON"`, "JSON", nil, `"JSON" is not one of text, json`},
	}
	for _, tt := range tests {
		t.Run(tt.key+"="+tt.toml, func(t *testing.T) {
			c, err := load(t, tt.key+" = "+tt.toml+"\n", nil, nil)
			if tt.want != nil {
				wantSetting(t, c, err, Setting{tt.key, tt.want, SourceFile, "croft.toml:1"})
			} else {
				wantProblems(t, err, "croft.toml:1: "+tt.key+": "+tt.reason)
			}
			if tt.env == "" && tt.want == nil {
				return
			}
			name := EnvName(tt.key)
			c, err = load(t, "", []string{name + "=" + tt.env}, nil)
			if tt.want != nil {
				wantSetting(t, c, err, Setting{tt.key, tt.want, SourceEnv, name})
			} else {
				wantProblems(t, err, name+": "+tt.reason)
			}
		})
	}
}

func wantSetting(t *testing.T, c *Config, err error, want Setting) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Show() {
		if s.Key == want.Key {
			if diff := cmp.Diff(want, s); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			return
		}
	}
	t.Errorf("Show lacks %s", want.Key)
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := load(t, `# a comment
listen = 8080

[limits]
scan = "many"
scann = 5
[limit]
body = "1MiB"

[log]
requests = "yes"
`, []string{"CROFT_LIMITS_SCAN=x", "CROFT_LISTN=:1", "PATH=/bin", "CROFT_LOG_COLOUR=y"}, map[string]string{"listen": "here"})
	wantProblems(t, err,
		`croft.toml:2: listen: 8080 is not text in quotes; write for example ":8080"`,
		`croft.toml:5: limits.scan: "many" is not a whole number; write for example 250000`,
		`croft.toml:6: limits.scann: there is no such setting; did you mean limits.scan?`,
		`croft.toml:7: [limit]: there is no such table; did you mean [limits]?`,
		`croft.toml:11: log.requests: "yes" is neither true nor false; write one of them`,
		`CROFT_LIMITS_SCAN: "x" is not a whole number; write for example 250000`,
		`CROFT_LISTN: no setting has this variable; did you mean CROFT_LISTEN?`,
		`CROFT_LOG_COLOUR: no setting of [log] has this variable; "croft config example" lists them all`,
		`--listen: "here" is not an address; write host:port, for example 127.0.0.1:8080, or :8080 for every address of this machine`,
	)
}

func TestFileShapes(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"byte order mark", "\ufefflisten = ':1'\n[limits]\nscan = 7\n", ""},
		{"windows lines", "listen = ':1'\r\n[limits]\r\nscan = 7\r\n", ""},
		{"dotted keys", "listen = ':1'\nlimits.scan = 7\n", ""},
		{"inline table", "listen = ':1'\nlimits = {scan = 7}\n", ""},
		{"quoted keys", "\"listen\" = ':1'\n['limits']\n'scan' = 7\n", ""},
		{"fault in an inline table", "limits = {body = 2048, scan = 'x'}\n", `croft.toml:1: limits.scan: 'x' is not a whole number; write for example 250000`},
		{"unknown key", "colour = 'red'\n", `croft.toml:1: colour: there is no such setting; "croft config example" lists them all`},
		{"key without its table", "\n\nscan = 5\n", `croft.toml:3: scan: there is no such setting; did you mean limits.scan?`},
		{"unknown table", "[tls]\ncert = 'x'\n", `croft.toml:1: [tls]: there is no such table; "croft config example" shows those there are`},
		{"setting as table", "[listen]\nport = 5\n", `croft.toml:1: listen: this is a setting and not a table; write listen = ":8080"`},
		{"table as setting", "limits = 5\n", `croft.toml:1: limits: this is a table; write [limits] and its settings below`},
		{"table of tables", "[[limits]]\nscan = 5\n", `croft.toml:1: [[limits]]: there is one such table; write [limits]`},
		{"key twice", "listen = ':1'\n\nlisten = ':2'\n", `croft.toml:3: key listen is already defined`},
		{"broken", "listen = ':1'\n\n[limits\nscan = 'x'\n", `croft.toml:3: this is not TOML, and nothing after it was read: expected ']' to close table name`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(t, tt.text, nil, nil)
			if tt.want != "" {
				wantProblems(t, err, tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.Listen != ":1" || c.Limits.Scan != 7 || c.File != "croft.toml" {
				t.Errorf("listen %q, scan %d of %q", c.Listen, c.Limits.Scan, c.File)
			}
		})
	}
}

func TestFaultsBeforeBrokenSyntaxAreTold(t *testing.T) {
	_, err := load(t, "lissten = ':1'\n[limits]\nscan = 'x'\n= 5\n", nil, nil)
	problems, _ := errors.AsType[Problems](err)
	if len(problems) != 3 || problems[2].Where != "croft.toml:4" {
		t.Errorf("problems:\n%v", err)
	}
}

func TestPrecedence(t *testing.T) {
	const text = "data = 'file.db'\nlisten = ':1'\n[log]\nlevel = 'warn'\n"
	c, err := load(t, text, []string{"CROFT_LISTEN=:2", "CROFT_DATA=env.db"}, map[string]string{"data": "flag.db"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Setting{
		"data":       {"data", "flag.db", SourceFlag, "--data"},
		"listen":     {"listen", ":2", SourceEnv, "CROFT_LISTEN"},
		"log.level":  {"log.level", "warn", SourceFile, "croft.toml:4"},
		"log.format": {"log.format", "text", SourceDefault, ""},
	}
	for _, s := range c.Show() {
		if w, ok := want[s.Key]; ok && w != s {
			t.Errorf("%s: got %+v, want %+v", s.Key, s, w)
		}
	}
	if c.Data != "flag.db" || c.Listen != ":2" || c.Log.Level != "warn" {
		t.Errorf("got %+v", c)
	}
}

// TestForeignVariables: what belongs to somebody else is told and not refused.
func TestForeignVariables(t *testing.T) {
	c, err := load(t, "", []string{"CROFT_PORT=tcp://10.0.0.1:80", "CROFT_SERVICE_HOST=10.0.0.1", "CROFTER=x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"CROFT_PORT", "CROFT_SERVICE_HOST"}, c.Unknown); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSessionsThatNeverIdle(t *testing.T) {
	_, err := load(t, "[auth]\nsession_max = '1h'\n", nil, nil)
	wantProblems(t, err, "croft.toml:2: auth.session_idle: 720h is longer than auth.session_max, 1h; a session would never end by idling, so raise one or lower the other")
	_, err = load(t, "", []string{"CROFT_AUTH_SESSION_IDLE=9000h"}, nil)
	wantProblems(t, err, "CROFT_AUTH_SESSION_IDLE: 9000h is longer than auth.session_max, 8760h; a session would never end by idling, so raise one or lower the other")
}

func TestMissingFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := Load("croft.toml", false, nil, nil); err != nil {
		t.Errorf("a default file that is missing: %v", err)
	}
	_, err := Load("other.toml", true, []string{"CROFT_LISTEN=x"}, nil)
	wantProblems(t, err,
		"other.toml: there is no such file; name one that exists, or leave --config out",
		`CROFT_LISTEN: "x" is not an address; write host:port, for example 127.0.0.1:8080, or :8080 for every address of this machine`)
	if err := os.Mkdir("croft.toml", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Load("croft.toml", false, nil, nil); err == nil || !strings.HasPrefix(err.Error(), "croft.toml: the file can't be read: ") {
		t.Errorf("a folder as file: %v", err)
	}
}

func TestShowJSON(t *testing.T) {
	c, err := load(t, "[limits]\nscan = 5\n", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(slices.DeleteFunc(c.Show(), func(s Setting) bool { return s.Key != "limits.body" && s.Key != "limits.scan" }))
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"key":"limits.body","value":"1MiB","source":"default"},{"key":"limits.scan","value":5,"source":"file","where":"croft.toml:2"}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestExampleFile(t *testing.T) {
	if *update {
		if err := os.WriteFile(exampleFile, []byte(Example()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Example(), string(got)); diff != "" {
		t.Errorf("%s differs from the code (-want +got); run this test with -update:\n%s", filepath.Base(exampleFile), diff)
	}
}

// TestExampleIsTrue takes the # away from every setting: all of them are known, and the defaults.
func TestExampleIsTrue(t *testing.T) {
	text := regexp.MustCompile(`(?m)^#(\w+ = )`).ReplaceAllString(Example(), "$1")
	c, err := load(t, text, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range c.Show() {
		if byKey[s.Key].secret {
			continue // it has no place in a file
		}
		if d := Default().Show()[i]; s.Source != SourceFile || s.Text() != d.Text() {
			t.Errorf("%s is %v from %s, want %v from the file", s.Key, s.Value, s.Source, d.Value)
		}
	}
	if _, err := load(t, Example(), nil, nil); err != nil {
		t.Errorf("as printed: %v", err)
	}
}

func FuzzFile(f *testing.F) {
	f.Add(Example())
	f.Add("[limits]\nscan = {a = [1, {b = 2}]}\n[[x]]\na.b.c = 1979-05-27\n\"\" = \"\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := Default()
		for _, p := range c.readFile("croft.toml", []byte(text)) {
			if p.Where == "" || p.Reason == "" {
				t.Errorf("a problem without a place or a reason: %+v", p)
			}
		}
	})
}
