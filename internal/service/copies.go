package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"croft/internal/store"
)

// keepCopies is how many copies of the data file from before an upgrade are kept: of this one, and of the one before, for who finds
// out late.
const keepCopies = 2

// stem is what the names of the data file's copies begin with.
func (s *Service) stem() string {
	return strings.TrimSuffix(s.DataFile, filepath.Ext(s.DataFile)) + "-before-"
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9.+-]+`)

// copyData copies the data file, verified, by a program that knows its format, and as the service's user: root is not to write into a
// folder of somebody else's. It returns "" when there is no data file yet.
func (s *Service) copyData(ctx context.Context, program, version string) (path string, err error) {
	if _, err := os.Stat(s.DataFile); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	name := s.stem() + notInNames.ReplaceAllString(version, "_") + "-" + time.Now().UTC().Format(store.StampLayout)
	path = name + ".db"
	for n := 2; ; n++ {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		path = fmt.Sprintf("%s-%d.db", name, n)
	}
	if err := s.runAs(ctx, program, "backup", "--data", s.DataFile, path); err != nil {
		return "", fmt.Errorf("copy the data file: %w", err)
	}
	s.Say("Copied the data file to %s", path)
	return path, nil
}

// trimCopies removes copies from before earlier upgrades.
func (s *Service) trimCopies(newest string) error {
	if newest == "" {
		return nil
	}
	paths, err := filepath.Glob(globQuote(s.stem()) + "*.db")
	if err != nil {
		return err
	}
	type aged struct {
		path string
		time time.Time
	}
	var old []aged
	for _, path := range paths {
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && path != newest {
			old = append(old, aged{path, info.ModTime()})
		}
	}
	slices.SortFunc(old, func(a, b aged) int { return cmp.Or(b.time.Compare(a.time), cmp.Compare(b.path, a.path)) })
	var failed []error
	for _, a := range old[min(len(old), keepCopies-1):] {
		failed = append(failed, remove(a.path))
	}
	return errors.Join(failed...)
}

func globQuote(s string) string {
	if filepath.Separator == '\\' {
		return s // there, a backslash is no quote, and [ hardly in a name
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}
