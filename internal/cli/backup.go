package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"croft/internal/app"
	"croft/internal/backup"
	"croft/internal/config"
)

func (p *program) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the data file, verified, while the server runs or not",
		Long: `Writes a copy of the data file as it is now into FILE, which must not exist yet. It
is there whole and verified, or not at all. Nobody who writes to a running server
waits for it. With - for FILE the copy goes to standard output, unverified; "croft
check" verifies what became of it.`,
		Example: `  croft backup /mnt/usb/croft-backup.db
  croft backup - | ssh elsewhere 'cat > croft-backup.db'`,
		Args: cobra.ExactArgs(1),
		RunE: p.run(func(cmd *cobra.Command, args []string) error {
			if args[0] == "-" && p.json {
				return p.usage("with - standard output is the copy itself, so it can't have --json as well")
			}
			cfg, err := p.config(cmd)
			if err != nil {
				return err
			}
			if args[0] == "-" {
				return p.backupToOutput(cmd.Context(), cfg)
			}
			return p.backup(cmd.Context(), cfg, args[0])
		}),
	}
}

// backup makes a file of the data file.
func (p *program) backup(ctx context.Context, cfg *config.Config, path string) error {
	if err := backup.CheckTarget(path, cfg.Data); err != nil {
		return err
	}
	started := time.Now()
	from, end, err := p.backupSource(ctx, cfg)
	if err != nil {
		return err
	}
	status := p.status()
	err = backup.WriteFile(ctx, path, from, backup.FileOptions{
		Progress: func(done, total int64) {
			status.show(fmt.Sprintf("copied %d of %d MiB", done>>20, total>>20))
		},
		Checking: func() { status.show("checking the copy") },
		Verify: func(ctx context.Context, path string) error {
			if changedSince(cfg.Data, started) {
				return backup.VerifyGently(ctx, path) // its clients are not to notice
			}
			return backup.VerifyWhole(ctx, path)
		},
	})
	status.clear()
	if err = errors.Join(err, end()); err != nil {
		return interrupted(ctx, err)
	}
	if !p.json {
		p.say("Backed up %s into %s, %s, and verified it.", cfg.Data, path, mebibytes(from.Size))
		return nil
	}
	raw, err := json.Marshal(struct {
		File   string `json:"file"`
		Bytes  int64  `json:"bytes"`
		Seq    uint64 `json:"seq"`
		TookMS int64  `json:"took_ms"`
	}{path, from.Size, from.Seq, time.Since(started).Milliseconds()})
	if err != nil {
		return err
	}
	return p.printJSON(raw)
}

// changedSince reports whether a file was written to after a time, as far as can be told.
func changedSince(path string, t time.Time) bool {
	info, err := os.Stat(path)
	return err == nil && info.ModTime().After(t)
}

// backupToOutput writes the data file to standard output.
func (p *program) backupToOutput(ctx context.Context, cfg *config.Config) error {
	if file, ok := p.stdout.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return p.usage("standard output is a terminal: name a file, or lead the output into one or another program")
	}
	from, end, err := p.backupSource(ctx, cfg)
	if err != nil {
		return err
	}
	n, err := io.Copy(p.stdout, readerUntil{ctx, from})
	if err == nil && n != from.Size {
		err = io.ErrUnexpectedEOF
	}
	if err = errors.Join(err, end()); err != nil {
		return fmt.Errorf("the copy is not whole, only %d of %d bytes were written: %w", n, from.Size, interrupted(ctx, err))
	}
	return nil
}

// readerUntil reads until a context ends.
type readerUntil struct {
	ctx context.Context
	io.Reader
}

func (r readerUntil) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}

// interrupted says what became of a backup that was stopped.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("stopped; no backup was made")
	}
	return err
}

// verifier returns what verifies a backup before it counts.
func (p *program) verifier() backup.Verifier { return backup.VerifyInChild() }

// backupSource returns the bytes of the data file, from its server, or else from the file.
func (p *program) backupSource(ctx context.Context, cfg *config.Config) (s backup.Source, end func() error, err error) {
	conn, dialErr := app.DialLocal(ctx, cfg.Data)
	if dialErr == nil {
		conn.Close() // it has shown what it was for
		return askForBackup(ctx, cfg.Data)
	}
	if _, err := os.Stat(cfg.Data); errors.Is(err, fs.ErrNotExist) {
		return s, nil, fmt.Errorf("there is no data file %s to back up; name another with --data", cfg.Data)
	}
	file, err := backup.OpenClosed(cfg.Data)
	if err != nil {
		// Without a socket, or with one whose server was killed, the file's own error is the whole story.
		if !errors.Is(dialErr, fs.ErrNotExist) && !errors.Is(dialErr, syscall.ECONNREFUSED) {
			err = fmt.Errorf("%w; and its server can't be asked: %w", err, dialErr)
		}
		return s, nil, err
	}
	return file.Source, file.Close, nil
}

// askForBackup has the server of a data file send it.
func askForBackup(ctx context.Context, data string) (s backup.Source, end func() error, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/api/v1/backup", http.NoBody)
	if err != nil {
		return s, nil, err
	}
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return app.DialLocal(ctx, data) }}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return s, nil, fmt.Errorf("ask the server for the backup: %w", err)
	}
	end = func() error {
		err := resp.Body.Close()
		t.CloseIdleConnections()
		return err
	}
	if resp.StatusCode != http.StatusOK {
		refused := &problem{Title: resp.Status}
		if err := json.UnmarshalRead(resp.Body, refused); err != nil {
			return s, nil, errors.Join(fmt.Errorf("ask the server for the backup: %s, and its explanation can't be read: %w", resp.Status, err), end())
		}
		return s, nil, errors.Join(refused, end())
	}
	seq, err := strconv.ParseUint(resp.Header.Get("Croft-Seq"), 10, 64)
	if err == nil && resp.ContentLength <= 0 {
		err = errors.New("it has no length")
	}
	if err != nil {
		return s, nil, errors.Join(fmt.Errorf("the server's answer is not a backup: %w", err), end())
	}
	return backup.Source{Reader: cutShort{resp.Body}, Size: resp.ContentLength, Seq: seq}, end, nil
}

// cutShort explains a stream that ends too early.
type cutShort struct{ io.Reader }

func (r cutShort) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("the server ended the backup early, and its log says why: %w", err)
	}
	return n, err
}

// A status is a line of a terminal that says how far something is.
type status struct {
	terminal *os.File // nil when nobody looks
	last     time.Time
}

func (p *program) status() *status {
	if file, ok := p.stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return &status{terminal: file}
	}
	return &status{}
}

// show shows a text, though not more often than anybody can read.
func (s *status) show(text string) {
	if s.terminal != nil && time.Since(s.last) > 200*time.Millisecond {
		s.last = time.Now()
		fmt.Fprint(s.terminal, "\r\x1b[K", text)
	}
}

func (s *status) clear() {
	if s.terminal != nil {
		fmt.Fprint(s.terminal, "\r\x1b[K")
	}
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func (p *program) backupsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backups",
		Short: "List the backups of the schedule, or take one now",
		Long: `Lists what became of the backups that were taken into their folder, which is set by
[backup] folder in the configuration. They are taken now by "croft backups take", and by a
schedule that admins set through the API:

  PATCH /api/v1/settings {"backup": {"every": "24h", "keep": 7}}

Each is verified before it counts; of those that count, keep are kept.`,
		Args: cobra.NoArgs,
		RunE: p.withClient(func(ctx context.Context, c *client, _ []string) error {
			raw, err := c.call(ctx, http.MethodGet, "/backups", nil)
			if err != nil {
				return err
			}
			if p.json {
				return p.printJSON(raw)
			}
			var list struct {
				Folder string        `json:"folder"`
				Items  []takenBackup `json:"items"`
			}
			if err := json.Unmarshal(raw, &list); err != nil {
				return fmt.Errorf("GET /backups: the answer can't be read: %w", err)
			}
			var rows [][]string
			for _, b := range list.Items {
				rows = append(rows, b.row(list.Folder))
			}
			return p.table(`No backup was taken yet; take one with "croft backups take".`, []string{"TIME", "SIZE", "TOOK", "CHECK", "FILE"}, rows)
		}),
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "take",
		Short: "Take a backup into the folder now",
		Args:  cobra.NoArgs,
		RunE: p.withClient(func(ctx context.Context, c *client, _ []string) error {
			raw, err := c.call(ctx, http.MethodPost, "/backups", nil)
			if err != nil {
				return err
			}
			var b takenBackup
			if err := json.Unmarshal(raw, &b); err != nil {
				return fmt.Errorf("POST /backups: the answer can't be read: %w", err)
			}
			return p.done(raw, "Took the backup %s, %s, and verified it.", b.Name, mebibytes(b.Size))
		}),
	})
	return cmd
}

// A takenBackup is a backup of the folder, as the API tells it.
type takenBackup struct {
	Name    string `json:"name"`
	Time    string `json:"time"`
	Size    int64  `json:"size"`
	TookMS  int64  `json:"took_ms"`
	Check   string `json:"check"`
	Error   string `json:"error"`
	Present bool   `json:"present"`
}

func (b takenBackup) row(folder string) []string {
	file := filepath.Join(folder, b.Name)
	check := b.Check
	switch {
	case b.Error != "":
		file = strings.ReplaceAll(b.Error, "\n", "; ")
	case !b.Present:
		check = "removed"
	}
	took := (time.Duration(b.TookMS) * time.Millisecond).String()
	return []string{b.Time, mebibytes(b.Size), took, check, file}
}
