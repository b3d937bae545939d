package service_test

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"croft/internal/cli"
)

// TestMain is croft itself when the program has that name: copies of it are what the tests install.
func TestMain(m *testing.M) {
	if name := strings.TrimPrefix(filepath.Base(os.Args[0]), "."); !strings.HasPrefix(name, "croft") {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // else every process lingers for a second under -race
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
