package dns

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxToken is the bytes of a token file at most. A BIND key file with its comments has some hundred.
const maxToken = 16 << 10

// token returns the token of a provider, from the one place that has it.
func (o Options) token(k *kind) (string, error) {
	if k.name == "program" {
		if o.Token != "" || o.TokenFile != "" {
			return "", errors.New("[https.dns] provider \"program\" takes no token, your program keeps its own: remove CROFT_HTTPS_DNS_TOKEN and token_file")
		}
		return "", nil
	}
	token, from := o.Token, "CROFT_HTTPS_DNS_TOKEN"
	switch {
	case o.Token != "" && o.TokenFile != "":
		return "", errors.New("[https.dns] there is a token in CROFT_HTTPS_DNS_TOKEN and one in token_file: remove one of them")
	case o.Token == "" && o.TokenFile == "":
		return "", fmt.Errorf("[https.dns] provider %q needs a token: set CROFT_HTTPS_DNS_TOKEN, or token_file to a file of mode 0600 that has it", k.name)
	case o.TokenFile != "":
		var err error
		if token, err = readToken(o.TokenFile); err != nil {
			return "", fmt.Errorf("[https.dns] token_file: %w", err)
		}
		from = o.TokenFile
	}
	token = strings.TrimSpace(token)
	if token == "" {
		return "", fmt.Errorf("[https.dns] the token in %s is empty", from)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r > '~' || r < ' ' && r != '\n' && r != '\r' && r != '\t' }) {
		return "", fmt.Errorf("[https.dns] the token in %s has characters that no token has: copy it again", from)
	}
	return token, nil
}

// readToken reads a file that nobody but its owner may read, the owner being us or root.
func readToken(path string) (string, error) {
	info, err := os.Stat(path) // first, because to open a pipe would wait
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no file %s: make it, with the token in it, readable by Croft's own user alone", path)
	}
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return "", err
	}
	if err := private(path, info); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	if len(b) > maxToken {
		return "", fmt.Errorf("%s is longer than any token", path)
	}
	return string(b), nil
}
