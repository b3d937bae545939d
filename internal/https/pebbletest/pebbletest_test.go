package pebbletest_test

import (
	"testing"

	"croft/internal/https/pebbletest"
)

func TestStart(t *testing.T) {
	p := pebbletest.Start(t, pebbletest.Options{})
	if ca := p.CA(); ca == nil {
		t.Error("no root")
	}
	p.Resolve("")
	p.Stop()
	p.Run()
}
