package https

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"croft/internal/errs"
)

// files serves a certificate from two files, which somebody else renews. They are read again from time to time: they are small, and
// what they hold says more than when they were changed.
type files struct {
	*HTTPS

	turn sync.Mutex // held while the files are read
	// What was read last, and what is wrong with it. With turn.
	certText, keyText []byte
	verdict           error

	mu   sync.Mutex
	cert *tls.Certificate // the last good one
	bad  trouble          // why the files as they are now are not served
}

func newFiles(h *HTTPS) (*files, error) {
	if h.o.Certificate == "" || h.o.Key == "" {
		return nil, errors.New("https mode files needs https.certificate and https.key: the paths of two PEM files")
	}
	f := &files{HTTPS: h}
	h.setNames(h.o.Names)
	f.read()
	return f, nil
}

func (f *files) start(ctx context.Context, run *sync.WaitGroup) {
	run.Go(func() {
		tick := time.NewTicker(f.o.Poll)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				f.read()
			}
		}
	})
}

func (*files) close() {}

// read reads the files, and serves them if they are good. It returns what is wrong with them.
func (f *files) read() error {
	f.turn.Lock()
	defer f.turn.Unlock()
	certText, err := readFile(f.o.Certificate)
	keyText, keyErr := readFile(f.o.Key)
	var cert *tls.Certificate // one that is new
	if err = errors.Join(err, keyErr); err == nil {
		if !bytes.Equal(certText, f.certText) || !bytes.Equal(keyText, f.keyText) {
			f.certText, f.keyText = certText, keyText
			cert, f.verdict = parsePair(certText, keyText)
		}
		if err = f.verdict; err != nil {
			err = fmt.Errorf("%s and %s: %w", f.o.Certificate, f.o.Key, err)
		}
	}
	now := f.o.Now()
	t := trouble{}
	if err != nil {
		t = trouble{Text: strings.ReplaceAll(err.Error(), "\n", "; "), At: now}
	}
	f.mu.Lock()
	news := t.Text != f.bad.Text
	if news {
		f.bad = t
	}
	if cert != nil {
		f.cert = cert
	}
	serving := f.cert != nil
	f.mu.Unlock()
	if cert != nil {
		f.setNames(f.namesWith(cert))
		f.log.Info("a certificate was read", "file", f.o.Certificate, "names", namesIn(cert.Leaf), "until", cert.Leaf.NotAfter)
		if fault := validity(cert.Leaf, now); fault != "" {
			f.log.Warn("the certificate isn't valid", "file", f.o.Certificate, "reason", fault)
		}
	}
	switch {
	case t.Text != "" && news && serving:
		f.log.Warn("the certificate's files can't be used; the one from before is served", "reason", t.Text)
	case t.Text != "" && news:
		f.log.Warn("the certificate's files can't be used; browsers will warn", "reason", t.Text)
	}
	return err
}

// maxFile is more than any certificate with its chain.
const maxFile = 1 << 20

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path) // a pipe would be waited for
	}
	var text []byte
	if err == nil {
		var file *os.File
		if file, err = os.Open(path); err == nil {
			defer file.Close()
			text, err = io.ReadAll(io.LimitReader(file, maxFile+1))
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s may not be read by the user that Croft runs as: give that user's group the right to", path)
	case err != nil:
		return nil, err
	case len(text) > maxFile:
		return nil, fmt.Errorf("%s is too long for a certificate or a key", path)
	}
	return text, nil
}

func (f *files) certificate(*tls.ClientHelloInfo) *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cert
}

// namesWith are the names of the options and of a certificate.
func (f *files) namesWith(cert *tls.Certificate) []string {
	names := slices.Clone(f.o.Names)
	for _, name := range namesIn(cert.Leaf) {
		if name = strings.ToLower(name); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (f *files) renew(context.Context) error {
	if err := f.read(); err != nil {
		return errs.New(errs.Conflict, err.Error())
	}
	return nil
}

func (f *files) state() []Name {
	names := f.Names()
	if len(names) == 0 {
		names = []string{f.o.Certificate}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Name
	for _, name := range names {
		cert := f.cert
		if cert != nil && cert.Leaf.VerifyHostname(name) != nil && !slices.Contains(cert.Leaf.DNSNames, name) {
			cert = nil // one that the server answers to, without a certificate for it
		}
		n := nameOf(name, cert, f.o.Now())
		n.trouble(f.bad)
		if cert == nil && f.cert != nil && f.bad.Text == "" {
			n.LastError = "the certificate in " + f.o.Certificate + " isn't for this name"
		}
		out = append(out, n)
	}
	return out
}
