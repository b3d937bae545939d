package authority_test

import (
	"bytes"
	"strings"
	"testing"

	"croft/internal/https/authority"
)

func TestBytes(t *testing.T) {
	r := newRoot(t, "pi")
	again, err := authority.Parse(r.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if again.Fingerprint() != r.Fingerprint() || again.Name() != r.Name() || !bytes.Equal(again.Bytes(), r.Bytes()) {
		t.Errorf("%s %s became %s %s", r.Name(), r.Fingerprint(), again.Name(), again.Fingerprint())
	}
	if err := verify(r, issue(t, again, "pi"), "pi", now); err != nil {
		t.Error(err)
	}
	if n := bytes.Count(r.Bytes(), []byte("PRIVATE KEY")); n != 2 {
		t.Errorf("%d lines of private keys, where the root's is forgotten", n)
	}
}

func TestParseFaults(t *testing.T) {
	r, other := newRoot(t), newRoot(t)
	parts := func(r *authority.Root) (all []string) {
		for part := range strings.SplitAfterSeq(string(r.Bytes()), "-----\n") {
			all = append(all, part)
		}
		return []string{all[0] + all[1], all[2] + all[3], all[4] + all[5]}
	}
	p, o := parts(r), parts(other)
	for name, c := range map[string]struct{ text, why string }{
		"nothing":             {"", "no CERTIFICATE"},
		"the root alone":      {p[0], "no CERTIFICATE"},
		"no key":              {p[0] + p[1], "no PRIVATE KEY"},
		"another's key":       {p[0] + p[1] + o[2], "not the issuer's"},
		"another's root":      {o[0] + p[1] + p[2], "not of this root"},
		"the issuer as root":  {p[1] + p[1] + p[2], "not of this root"},
		"something after it":  {p[0] + p[1] + p[2] + "x", "follows"},
		"something before it": {"x\n" + p[0] + p[1] + p[2], "no CERTIFICATE"},
		"a broken block":      {"-----BEGIN CERTIFICATE-----\nAAAA", "broken CERTIFICATE"},
		"no certificate":      {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + p[1] + p[2], "the root's certificate"},
		"no key in the key":   {p[0] + p[1] + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "can't be read"},
	} {
		if _, err := authority.Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(newRoot(f, "pi", "croft.example.org").Bytes())
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := authority.Parse(b)
		if err != nil {
			return
		}
		// What can be read can be used.
		again, err := authority.Parse(r.Bytes())
		if err != nil || again.Fingerprint() != r.Fingerprint() {
			t.Errorf("read once, and not again: %v", err)
		}
		if r.Permits("croft.local") == nil {
			_, _ = r.Issue([]string{"croft.local"}, now)
		}
	})
}
