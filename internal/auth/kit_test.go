package auth_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"croft/internal/auth"
	"croft/internal/errs"
	"croft/internal/identity"
	"croft/internal/settings"
	"croft/internal/store"
	"croft/internal/store/storetest"
)

// quick hashes in microseconds.
var quick = &argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}

const (
	good   = "correct horse battery"
	better = "staple of another kind"
)

var local = &identity.Caller{Kind: identity.Local}

// kit is accounts on a data file, with a clock.
type kit struct {
	*auth.Auth
	t        *testing.T
	db       *store.DB
	settings *settings.Settings
	options  auth.Options
	log      bytes.Buffer

	mu      sync.Mutex
	time    time.Time
	secrets []string // must be in no log
}

func newKit(t *testing.T, change ...func(*auth.Options)) *kit {
	t.Helper()
	k := &kit{t: t, time: time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)}
	k.options = auth.Options{Params: quick, HashMemory: 64 << 10, Now: k.now, Log: slog.New(slog.NewTextHandler(&k.log, nil))}
	for _, f := range change {
		f(&k.options)
	}
	t.Cleanup(func() { // when all is closed
		for _, s := range k.secrets {
			if strings.Contains(k.log.String(), s) {
				t.Errorf("the log holds the secret %s", s)
			}
		}
	})
	k.db = storetest.Open(t, filepath.Join(t.TempDir(), "croft.db"))
	k.start()
	return k
}

func (k *kit) start() {
	k.t.Helper()
	var err error
	if k.settings, err = settings.New(k.db); err != nil {
		k.t.Fatal(err)
	}
	if k.Auth, err = auth.New(k.db, k.settings, k.options); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(k.stop)
}

func (k *kit) stop() {
	k.t.Helper()
	if err := k.Close(); err != nil {
		k.t.Errorf("close: %v", err)
	}
}

// restart closes the file and opens it again.
func (k *kit) restart() {
	k.t.Helper()
	k.stop()
	k.db = storetest.Reopen(k.t, k.db)
	k.start()
}

func (k *kit) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.time
}

func (k *kit) pass(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.time = k.time.Add(d)
}

func from(addr string) auth.Client {
	return auth.Client{Addr: netip.MustParseAddr(addr), Agent: "Test/1.0"}
}

var home = from("192.0.2.1")

// admin sets the server up, and returns its first admin.
func (k *kit) admin() *identity.Caller {
	k.t.Helper()
	in, err := k.Setup(k.t.Context(), auth.SetupIn{Token: k.SetupToken(), Email: "ada@example.org", Password: good}, home)
	if err != nil {
		k.t.Fatalf("set up: %v", err)
	}
	return k.as(in.Token)
}

// as returns the caller of a token.
func (k *kit) as(token string) *identity.Caller {
	k.t.Helper()
	c, err := k.Authenticate(token)
	if err != nil {
		k.t.Fatalf("authenticate: %v", err)
	}
	return c
}

// user makes a user and returns their id.
func (k *kit) user(email string, roles ...string) string {
	k.t.Helper()
	u, err := k.CreateUser(k.t.Context(), local, auth.UserIn{Email: email, Password: good, Roles: roles})
	if err != nil {
		k.t.Fatalf("make %s: %v", email, err)
	}
	return u.ID
}

// login signs a user in and returns the token.
func (k *kit) login(email string, where auth.Client) string {
	k.t.Helper()
	in, err := k.Login(k.t.Context(), auth.LoginIn{Email: email, Password: good}, where)
	if err != nil {
		k.t.Fatalf("sign %s in: %v", email, err)
	}
	k.secrets = append(k.secrets, in.Token)
	return in.Token
}

// token makes an API token for the user of an address.
func (k *kit) token(email string) *auth.NewAPIToken {
	k.t.Helper()
	in := auth.TokenIn{Name: "reader", Scopes: []identity.Scope{{Collection: "notes", Actions: []string{"read"}}}, User: email}
	t, err := k.CreateToken(k.t.Context(), local, in)
	if err != nil {
		k.t.Fatalf("make an API token: %v", err)
	}
	return t
}

// wants fails the test unless an error has a code, and faults with these pointers and codes.
func wants(t *testing.T, what string, err error, code errs.Code, faults ...string) *errs.Error {
	t.Helper()
	var e *errs.Error
	if !errors.As(err, &e) {
		t.Errorf("%s: %v, want %s", what, err, code)
		return &errs.Error{}
	}
	var got []string
	for _, f := range e.Fields {
		got = append(got, f.Pointer+" "+f.Code)
	}
	if e.Code != code || !slices.Equal(got, faults) {
		t.Errorf("%s: %s %q, want %s %q", what, e.Code, got, code, faults)
	}
	return e
}

func (k *kit) refused(token string) {
	k.t.Helper()
	_, err := k.Authenticate(token)
	wants(k.t, "authenticate", err, errs.Unauthenticated)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
