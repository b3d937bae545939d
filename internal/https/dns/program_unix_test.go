//go:build unix

package dns_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddyserver/certmagic"

	"croft/internal/https/dns"
)

// script makes a provider of a shell script, which knows its own folder as $D.
func script(t *testing.T, text string) (p certmagic.DNSProvider, dir string) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, "my hook; true")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nD='"+dir+"'\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := dns.New(dns.Options{Provider: "program", Program: path})
	if err != nil {
		t.Fatal(err)
	}
	return p, dir
}

func TestProgram(t *testing.T) {
	t.Setenv("CROFT_HTTPS_DNS_TOKEN", "s3cret")
	t.Setenv("CROFT_DATA", "here")
	t.Setenv("SECRET_OF_ANOTHER", "s3cret")
	t.Setenv("HOME", "/nowhere")
	p, dir := script(t, `printf '%s|' "$@" >>"$D/args"; env >"$D/env"`)
	value := "-v `id` $HOME ;"
	if _, err := p.AppendRecords(t.Context(), "example.org.", txt("_acme-challenge", value)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.DeleteRecords(t.Context(), "example.org", txt("_acme-challenge", value)); err != nil {
		t.Fatal(err)
	}
	name := "_acme-challenge.example.org."
	if got, want := read(t, dir, "args"), "present|"+name+"|"+value+"|cleanup|"+name+"|"+value+"|"; got != want {
		t.Errorf("its arguments were\n%s, not\n%s", got, want)
	}
	env := read(t, dir, "env")
	for _, want := range []string{"PATH=", "HOME=/nowhere", "CROFT_DATA=here"} {
		if !strings.Contains("\n"+env, "\n"+want) {
			t.Errorf("no %s in its environment:\n%s", want, env)
		}
	}
	if strings.Contains(env, "s3cret") {
		t.Errorf("a secret is in its environment:\n%s", env)
	}
}

func TestProgramFails(t *testing.T) {
	p, _ := script(t, `i=0; while [ $i -lt 1000 ]; do echo "line $i of many"; i=$((i+1)); done; printf 'no such \033[31mzone\n' >&2; exit 3`)
	_, err := p.AppendRecords(t.Context(), "example.org.", txt("_acme-challenge", "one"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"The program could not add the TXT record _acme-challenge.example.org: ", "present: exit status 3: ", "line 999 of many no such [31mzone"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if text := err.Error(); len(text) > 5<<10 || strings.ContainsAny(text, "\x1b\n") {
		t.Errorf("%d bytes, or not on one line: %q", len(text), text)
	}
	p, _ = script(t, `exit 1`)
	if _, err = p.DeleteRecords(t.Context(), "example.org.", txt("_acme-challenge", "one")); err == nil || !strings.Contains(err.Error(), "cleanup: exit status 1: it printed nothing") {
		t.Errorf("silent: %v", err)
	}
}

// TestProgramKilled ends a program with all that it started: whoever lived on would hold the pipe open.
func TestProgramKilled(t *testing.T) {
	p, dir := script(t, `exec 9>"$D/alive"; echo started >&9; sleep 6000 & sleep 6000`)
	pipe := filepath.Join(dir, "alive")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := p.AppendRecords(ctx, "example.org.", txt("_acme-challenge", "one"))
		done <- err
	}()
	f, err := os.Open(pipe) // waits for the program to open it
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("want it cancelled: %v", err)
	}
	if _, err := io.Copy(io.Discard, f); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
