package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/kardianos/service"
)

func underWindows() bool { return !service.Interactive() }

func keepingLogShort(ctx context.Context, work func(context.Context) error) error { return work(ctx) }

// logToFile puts a log aside that has grown too large, and leads standard output and error, which lead nowhere in a service, to the log file.
func logToFile() error {
	path := logFile(System())
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return fmt.Errorf("put the log aside: %w", err)
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	*os.Stdout, *os.Stderr = *f, *f // who holds one of them already writes there as well
	return nil
}
