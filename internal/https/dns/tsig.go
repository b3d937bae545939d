package dns

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"
)

// A tsig is a key that a DNS server takes updates by (RFC 8945).
type tsig struct{ name, algorithm, secret string }

// algorithms are those that the library knows. MD5 is not among them any more.
var algorithms = []string{"hmac-sha256", "hmac-sha512", "hmac-sha384", "hmac-sha224", "hmac-sha1"}

var (
	keyStatement = regexp.MustCompile(`(?s)key\s+"?([^"\s{};]+)"?\s*\{(.*?)\}`)
	keyAlgorithm = regexp.MustCompile(`algorithm\s+"?([^"\s;]+)"?\s*;`)
	keySecret    = regexp.MustCompile(`secret\s+"?([^"\s;]+)"?\s*;`)
	keyComment   = regexp.MustCompile(`(?s)/\*.*?\*/|(?m:(?:^|\s)(?:#|//).*?$)`)
)

// parseTSIG reads "NAME SECRET", "NAME ALGORITHM SECRET", or what tsig-keygen prints.
func parseTSIG(token string) (tsig, error) {
	key := tsig{algorithm: algorithms[0]}
	if strings.Contains(token, "{") {
		statements := keyStatement.FindAllStringSubmatch(keyComment.ReplaceAllString(token, ""), -1)
		if len(statements) != 1 {
			return key, fmt.Errorf("a key file has one key \"name\" { … }; and this one has %d", len(statements))
		}
		algorithm, secret := keyAlgorithm.FindStringSubmatch(statements[0][2]), keySecret.FindStringSubmatch(statements[0][2])
		if algorithm == nil || secret == nil {
			return key, errors.New("the key file lacks the algorithm or the secret: use the output of tsig-keygen as it is")
		}
		key = tsig{statements[0][1], algorithm[1], secret[1]}
	} else {
		switch w := strings.Fields(token); len(w) {
		case 2:
			key.name, key.secret = w[0], w[1]
		case 3:
			key = tsig{w[0], w[1], w[2]}
		default:
			return key, fmt.Errorf("its token is NAME ALGORITHM SECRET (or NAME SECRET for hmac-sha256), or what tsig-keygen prints; this one has %d words", len(w))
		}
	}
	key.algorithm = strings.ToLower(strings.TrimSuffix(key.algorithm, "."))
	if !slices.Contains(algorithms, key.algorithm) {
		return key, fmt.Errorf("the key's algorithm is none of %s: make another key by tsig-keygen", strings.Join(algorithms, ", "))
	}
	key.name = mdns.CanonicalName(key.name) // the library looks the secret up by it
	if _, ok := mdns.IsDomainName(key.name); !ok {
		return key, errors.New("the key's name is not a domain name: the token is NAME ALGORITHM SECRET")
	}
	if b, err := base64.StdEncoding.DecodeString(key.secret); err != nil || len(b) == 0 {
		return key, errors.New("the key's secret is not base64: copy it again, with the = at its end")
	}
	return key, nil
}
