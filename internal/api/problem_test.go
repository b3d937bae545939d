package api

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"croft/internal/errs"
	"croft/internal/store"
)

// Every code of package errs must have a line in the table of problems.
func TestEveryCodeIsAProblem(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "errs", "errs.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != "Code" {
			return true
		}
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		codes++
		if problems[errs.Code(code)].status == 0 {
			t.Errorf("errs.%s (%s) has no line in problems", spec.Names[0].Name, code)
		}
		return true
	})
	if codes != len(problems) {
		t.Errorf("errs has %d codes and problems has %d lines", codes, len(problems))
	}
}

func TestErrorsBecomeProblems(t *testing.T) {
	for _, c := range []struct {
		err  error
		code errs.Code
	}{
		{errs.New(errs.Stale, "x"), errs.Stale},
		{fmt.Errorf("wrapped: %w", errs.New(errs.Stale, "x")), errs.Stale},
		{fmt.Errorf("put: %w", store.ErrDiskFull), errs.DiskFull},
		{errs.Wrap(errs.Internal, "x", store.ErrDiskFull), errs.DiskFull},
		{store.ErrFatal, errs.Internal},
		{store.ErrDamaged, errs.Internal},
		{store.ErrClosed, errs.Busy},
		{context.DeadlineExceeded, errs.Timeout},
		{context.Canceled, errs.Busy},
		{os.ErrDeadlineExceeded, errs.Timeout},
		{errors.New("a secret of the machine"), errs.Internal},
		{errs.New("made_up", "x"), errs.Internal},
	} {
		e := asProblem(c.err)
		if e.Code != c.code {
			t.Errorf("%v: code %s, want %s", c.err, e.Code, c.code)
		}
		if e.Text == "a secret of the machine" || e.Text == "" {
			t.Errorf("%v: the text is %q", c.err, e.Text)
		}
	}
}

func TestProblemDocument(t *testing.T) {
	e := &errs.Error{
		Code: errs.NeedsIndex, Text: "say \"this\"\n",
		Cause:      errors.New("not for the client"),
		Fields:     []errs.Field{{Pointer: "/a~1b", Code: "c", Message: "m"}, {Pointer: "", Code: "d", Message: "n"}},
		Members:    map[string]any{"index": map[string]any{"fields": []string{"b", "a"}}, "also": 1},
		RetryAfter: time.Second,
	}
	const want = `{"type":"about:blank","title":"Needs an index","status":422,"detail":"say \"this\"\n","code":"needs_index",` +
		`"errors":[{"pointer":"/a~1b","code":"c","message":"m"},{"pointer":"","code":"d","message":"n"}],` +
		`"also":1,"index":{"fields":["b","a"]},"request_id":"0123"}`
	if got := string(appendProblem(nil, e, 422, "Needs an index", "0123")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestHostAllowed(t *testing.T) {
	names := []string{"croft.example.org"}
	for host, want := range map[string]bool{
		"127.0.0.1":              true,
		"127.0.0.1:8080":         true,
		"192.168.1.7:80":         true,
		"[::1]":                  true,
		"[fe80::1]:8080":         true,
		"localhost":              true,
		"LOCALHOST:8080":         true,
		"raspberry":              true,
		"raspberry:8080":         true,
		"box.local":              true,
		"Box.Local.:8080":        true,
		"a.b.local":              true,
		"croft.example.org":      true,
		"CROFT.example.org:443":  true,
		"croft.example.org.":     true,
		"":                       false,
		".local":                 false,
		"evil.example":           false,
		"croft.example.org.evil": false,
		"evil.croft.example.org": false,
		"127.0.0.1.evil.example": false,
		"notlocal.locale":        false,
		"[::1":                   false,
		"[::1]x":                 false,
		"::1":                    false,
		"evil.example:local":     false,
	} {
		if got := hostAllowed(host, names); got != want {
			t.Errorf("hostAllowed(%q) = %v", host, got)
		}
	}
}
