// Package config is what Croft must know before it can open its data file: where that file is,
// where to listen, and how much of the machine to use. Everything an owner changes while Croft runs
// is a setting inside the data file instead.
//
// The struct Config is the only list of settings there is. Its tags give each one's name, default,
// bounds and description, and from them come the reader of croft.toml, the CROFT_* variables, the
// flags, the printed example and the listing of what is in force. A value is taken from the first of
// flag, environment, file and default that gives one.
//
// The package promises that Load returns either a Config in which every value is within its bounds,
// or Problems that name every fault there is, each with the place it stands in. It writes nothing
// and changes nothing outside itself.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DefaultFile is the file read when none is asked for; it may be missing.
const DefaultFile = "croft.toml"

// Config holds the settings in force. Tags: toml is the key, default its default, min and max its
// bounds, oneof the words it may be, check a rule of its own, doc what the example file says.
type Config struct {
	Data   string `toml:"data" default:"croft.db" doc:"The data file: everything Croft keeps is in it. A path that does not begin with / counts from the folder Croft is started in."`
	Listen string `toml:"listen" default:":8080" check:"address" doc:"Where to answer plain HTTP, as host:port. Without a host, on every address of this machine; 127.0.0.1:8080 answers this machine alone. Port 0 takes any free one. With HTTPS the default is :80, which leads to the HTTPS address."`
	HTTPS  HTTPS  `toml:"https" doc:"HTTPS: with certificates of a public authority (acme), of files of your own (files), or of this Croft's own authority, for a home network (local)."`
	Proxy  Proxy  `toml:"proxy" doc:"A reverse proxy in front of Croft."`
	MDNS   MDNS   `toml:"mdns" doc:"A name in the home network without a name server: multicast DNS."`
	Limits Limits `toml:"limits" doc:"What one request may cost, so that no client can take the machine down."`
	Auth   Auth   `toml:"auth" doc:"Passwords and sessions."`
	Backup Backup `toml:"backup" doc:"Backups of the data file. When they are taken is a setting in the data file: croft backups --help says more."`
	Log    Log    `toml:"log" doc:"The log, written to standard error."`

	// File is the file that was read, empty when there was none.
	File string `toml:"-"`
	// Unknown lists CROFT_* variables that name no setting and resemble none. They may be another
	// program's (Kubernetes sets CROFT_PORT for a service called croft), so they are not refused;
	// who starts Croft mentions them in its log.
	Unknown []string `toml:"-"`

	origins map[string]origin // by key; a key that is missing has its default
}

// Modes of HTTPS.
const (
	HTTPSOff   = "off"   // plain HTTP alone, as behind a proxy
	HTTPSACME  = "acme"  // certificates of an authority that speaks ACME
	HTTPSFiles = "files" // the owner's own certificate
	HTTPSLocal = "local" // certificates of Croft's own authority
)

// HTTPS says which certificates there are, and how to get them.
type HTTPS struct {
	Mode           string   `toml:"mode" default:"off" oneof:"off,acme,files,local" doc:"off, acme, files or local."`
	Listen         string   `toml:"listen" default:":443" check:"address" doc:"Where to answer HTTPS, as host:port."`
	Names          []string `toml:"names" example:"croft.example.org" check:"name" doc:"For acme: the domains to get certificates for; *.example.org stands for all names below one, and needs challenge dns. For local: names and addresses beside those that this machine is known by anyway, which are croft.local, its own name and its own addresses. For off and files: names that it is reached by, such as a proxy's."`
	Email          string   `toml:"email" optional:"true" example:"you@example.org" check:"email" doc:"For acme: where the authority may write to about the certificates. Best not left empty."`
	Directory      string   `toml:"directory" default:"https://acme-v02.api.letsencrypt.org/directory" check:"https" doc:"For acme: the address of the authority. The default is Let's Encrypt, whose terms of use you accept by this."`
	DirectoryRoots string   `toml:"directory_roots" optional:"true" doc:"For acme with an authority of your own: a PEM file with the certificate that its address is verified by."`
	Challenge      string   `toml:"challenge" default:"http" oneof:"http,dns" doc:"For acme, how to show that a domain is yours. http: the authority asks this server, on ports 80 and 443. dns: Croft makes an entry in the domain's DNS, and nothing need reach this server."`
	Certificate    string   `toml:"certificate" optional:"true" doc:"For files: the PEM file of the certificate, and of those between it and its root. When it changes it is read again."`
	Key            string   `toml:"key" optional:"true" doc:"For files: the PEM file of the private key."`
	DNS            DNS      `toml:"dns" doc:"For challenge dns: who keeps the domain's DNS. docs/dns.md tells of each provider."`
}

// DNS says who keeps the DNS of the domains.
type DNS struct {
	Provider  string   `toml:"provider" optional:"true" oneof:"cloudflare,desec,duckdns,hetzner,gandi,porkbun,rfc2136,program" doc:"cloudflare, desec, duckdns, hetzner, gandi, porkbun, rfc2136 (a name server of your own) or program."`
	TokenFile string   `toml:"token_file" optional:"true" doc:"A file, of mode 0600, with the token that the provider gave. CROFT_HTTPS_DNS_TOKEN can have the token itself instead."`
	Server    string   `toml:"server" optional:"true" check:"address" example:"ns.example.org:53" doc:"For rfc2136: the name server, as host:port."`
	Program   string   `toml:"program" optional:"true" doc:"For program: what to run. It gets present or cleanup, the entry's name, and its value."`
	Resolvers []string `toml:"resolvers" check:"address" example:"ns1.example.org:53" doc:"The name servers that are asked whether the entry can be seen yet, as host:port: best the domain's own, because others remember for a while that it was not there. Without any, Croft finds them."`

	Token string `toml:"token" secret:"true"`
}

// Proxy says whom to believe about a request's origin.
type Proxy struct {
	Trusted []string `toml:"trusted" check:"network" example:"127.0.0.1" doc:"Addresses and networks (10.0.0.0/8) of reverse proxies: what these say of where a request came from is believed. docs/proxy.md tells more."`
}

// MDNS says how this server is called in the home network.
type MDNS struct {
	Enabled bool   `toml:"enabled" default:"true" doc:"Answer to the name below, with .local behind it, in the networks of this machine."`
	Name    string `toml:"name" default:"croft" check:"label" doc:"The name. If another machine has it already, this one takes another, such as croft-2."`
}

// Limits bounds the work and memory that clients may cause.
type Limits struct {
	Body        Bytes         `toml:"body" default:"1MiB" min:"1KiB" max:"1GiB" doc:"The largest body of one request. Larger ones get 413. A record has at most 1 MiB whatever stands here."`
	Scan        int           `toml:"scan" default:"250000" min:"1" max:"1000000000" doc:"How many records one query may look at. One that would need more gets 422, which names the index that would help."`
	DiskReserve Bytes         `toml:"disk_reserve" default:"64MiB" min:"0" max:"1TiB" doc:"How much of the disk to leave free. When less is, writes get 507 until there is room again, while reads and deletes go on. 0 leaves nothing free."`
	RequestTime time.Duration `toml:"request_time" default:"30s" min:"1s" max:"1h" doc:"How long one request may take."`
	HeaderTime  time.Duration `toml:"header_time" default:"10s" min:"1s" max:"10m" doc:"How long a client may take to send the headers of a request."`
	Connections int           `toml:"connections" default:"1000" min:"1" max:"1000000" doc:"How many connections may be open at once; more wait until one closes."`
}

// Auth bounds the cost of passwords and the life of sessions.
type Auth struct {
	// 19 MiB is what one argon2id hash takes with the parameters Croft uses; two fit the default.
	HashMemory  Bytes         `toml:"hash_memory" default:"40MiB" min:"19MiB" max:"64GiB" doc:"Memory that checking passwords may take at once. One check takes 19 MiB, so the default allows two at a time, which suits a machine with 1 GiB."`
	SessionIdle time.Duration `toml:"session_idle" default:"720h" min:"1m" max:"876000h" doc:"A session that is not used for this long ends. 720h are 30 days."`
	SessionMax  time.Duration `toml:"session_max" default:"8760h" min:"1m" max:"876000h" doc:"A session ends after this long even when it is in use. 8760h are 365 days."`
}

// Backup says where backups are.
type Backup struct {
	Folder string `toml:"folder" default:"backups" doc:"The folder that backups are taken into by the schedule and by \"croft backups take\"; it is made when needed. A path that does not begin with / counts from the folder of the data file. Best on another disk."`
}

// BackupFolder is where the folder of backups is.
func (c *Config) BackupFolder() string {
	if filepath.IsAbs(c.Backup.Folder) {
		return c.Backup.Folder
	}
	return filepath.Join(filepath.Dir(c.Data), c.Backup.Folder)
}

// Log says what is logged and how.
type Log struct {
	Level    string `toml:"level" default:"info" oneof:"debug,info,warn,error" doc:"The least important lines to write: debug, info, warn or error."`
	Format   string `toml:"format" default:"text" oneof:"text,json" doc:"text for people, json for programs that collect logs."`
	Requests bool   `toml:"requests" default:"false" doc:"Write a line for each request. It costs time, and wears a memory card that the log is kept on."`
}

// An origin is where a value came from.
type origin struct {
	source string // SourceFile, SourceEnv or SourceFlag
	where  string // croft.toml:3, CROFT_LISTEN or --listen
}

// Sources of a value, in rising order of precedence.
const (
	SourceDefault = "default"
	SourceFile    = "file"
	SourceEnv     = "environment"
	SourceFlag    = "flag"
)

// Default returns the settings that hold when nobody says anything.
func Default() *Config {
	c := &Config{origins: map[string]origin{}}
	for _, f := range fields {
		if reason := f.set(c, literal{text: f.deflt, typed: true}); reason != "" {
			panic("config: the default of " + f.key + ": " + reason)
		}
	}
	return c
}

// Load reads the settings from file, the environment (as os.Environ gives it) and flags, which are
// named by their keys ("data", "listen"). A file that is missing is an error only when explicit says
// that somebody asked for it. The error is of type Problems.
func Load(file string, explicit bool, env []string, flags map[string]string) (*Config, error) {
	c := Default()
	var problems Problems

	text, err := os.ReadFile(file)
	switch {
	case err == nil:
		c.File = file
		problems = append(problems, c.readFile(file, text)...)
	case os.IsNotExist(err) && !explicit:
	case os.IsNotExist(err):
		problems = append(problems, Problem{source: SourceFile, Where: file, Reason: `there is no such file; name one that exists, or leave --config out`})
	default:
		problems = append(problems, Problem{source: SourceFile, Where: file, Reason: fmt.Sprintf("the file can't be read: %v", rootCause(err))})
	}
	problems = append(problems, c.readEnv(env)...)
	for key, value := range flags {
		where := FlagName(key)
		f, ok := byKey[key]
		if !ok {
			problems = append(problems, Problem{source: SourceFlag, Where: where, Reason: unknownKey(key)})
			continue
		}
		problems = append(problems, c.apply(f, literal{text: value}, origin{SourceFlag, where}, 0)...)
	}
	if len(problems) == 0 {
		problems = c.crossCheck()
	}
	if _, given := c.origins["listen"]; !given && c.HTTPS.Mode != HTTPSOff {
		c.Listen = ":80"
	}
	if len(problems) > 0 {
		problems.sort()
		return nil, problems
	}
	return c, nil
}

// EnvName is the variable of a key: CROFT_LIMITS_SCAN for limits.scan.
func EnvName(key string) string {
	return "CROFT_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// FlagName is the flag of a key.
func FlagName(key string) string {
	if key == "https.mode" {
		return "--https"
	}
	return "--" + strings.NewReplacer(".", "-", "_", "-").Replace(key)
}

// readEnv applies the CROFT_* variables. An unknown one that resembles a setting is taken for a
// mistake; one that resembles none is left to whoever it belongs to.
func (c *Config) readEnv(env []string) Problems {
	var problems Problems
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "CROFT_") {
			continue
		}
		if f, ok := byEnv[name]; ok {
			problems = append(problems, c.apply(f, literal{text: value}, origin{SourceEnv, name}, 0)...)
			continue
		}
		key := strings.ToLower(strings.TrimPrefix(name, "CROFT_"))
		if near := nearest(key, keys); near != "" {
			problems = append(problems, Problem{source: SourceEnv, Where: name, Reason: "no setting has this variable; did you mean " + EnvName(near) + "?"})
		} else if table, _, _ := strings.Cut(key, "_"); isTable(table) {
			problems = append(problems, Problem{source: SourceEnv, Where: name, Reason: "no setting of [" + table + `] has this variable; "croft config example" lists them all`})
		} else {
			c.Unknown = append(c.Unknown, name)
		}
	}
	return problems
}

// apply sets one value and notes where it came from. line is for sorting and 0 outside the file.
func (c *Config) apply(f *field, v literal, from origin, line int) Problems {
	if reason := f.set(c, v); reason != "" {
		p := Problem{source: from.source, line: line, Where: from.where, Key: f.key, Reason: reason}
		if from.source != SourceFile {
			p.Key = "" // the variable or flag says which
		}
		return Problems{p}
	}
	c.origins[f.key] = from
	return nil
}
