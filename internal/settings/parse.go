package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"croft/internal/errs"
)

// maxNames bounds each list: every request from a browser, and every one with a foreign Host, is compared with one.
const maxNames = 100

// parse validates a merge patch and returns what it does to the values.
func parse(body []byte) (apply func(*Values), err error) {
	var patch struct {
		Signup      jsontext.Value `json:"signup"`
		CORSOrigins jsontext.Value `json:"cors_origins"`
		HostNames   jsontext.Value `json:"host_names"`
		Backup      jsontext.Value `json:"backup"`
	}
	if err := json.Unmarshal(body, &patch, json.RejectUnknownMembers(true)); err != nil {
		return nil, decodeFault(err)
	}
	var f faults
	v := Values{Signup: SignupInvite, CORSOrigins: []string{}, HostNames: []string{}}
	if patch.Signup != nil && patch.Signup.Kind() != 'n' {
		v.Signup = f.signup(patch.Signup)
	}
	v.CORSOrigins = f.list("/cors_origins", patch.CORSOrigins, origin)
	v.HostNames = f.list("/host_names", patch.HostNames, hostName)
	backup := f.backup(patch.Backup)
	if len(f) > 0 {
		return nil, &errs.Error{Code: errs.Invalid, Text: "Some settings don't fit.", Fields: f}
	}
	return func(now *Values) {
		if patch.Signup != nil {
			now.Signup = v.Signup
		}
		if patch.CORSOrigins != nil {
			now.CORSOrigins = v.CORSOrigins
		}
		if patch.HostNames != nil {
			now.HostNames = v.HostNames
		}
		backup(&now.Backup)
	}, nil
}

// decodeFault says what is wrong with a body that is not strict JSON of our members.
func decodeFault(err error) error {
	if syntax := (*jsontext.SyntacticError)(nil); errors.As(err, &syntax) {
		return errs.At(errs.InvalidJSON, string(syntax.JSONPointer), "invalid_json",
			fmt.Sprintf("The body is not strict JSON at byte %d.", syntax.ByteOffset))
	}
	if semantic := (*json.SemanticError)(nil); errors.As(err, &semantic) {
		if errors.Is(semantic.Err, json.ErrUnknownName) {
			return errs.At(errs.Invalid, string(semantic.JSONPointer), "unknown_field",
				"There is no such setting; there are signup, cors_origins, host_names and backup.")
		}
		return errs.At(errs.Invalid, string(semantic.JSONPointer), "wrong_type", "The body must be a JSON object of settings.")
	}
	return errs.Wrap(errs.InvalidJSON, "The body is not strict JSON; it may be empty or cut short.", err)
}

// faults gathers what is wrong with single values.
type faults []errs.Field

func (f *faults) add(pointer, code, message string) {
	*f = append(*f, errs.Field{Pointer: pointer, Code: code, Message: message})
}

func (f *faults) signup(raw jsontext.Value) string {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil || s != SignupInvite && s != SignupOpen {
		f.add("/signup", "invalid", `must be "invite" (only with an invite) or "open" (everyone)`)
	}
	return s
}

// list reads a list of names, each brought to one spelling by normal. A name that is there twice stays once.
func (f *faults) list(pointer string, raw jsontext.Value, normal func(string) (name, fault string)) []string {
	names := []string{}
	if raw == nil || raw.Kind() == 'n' {
		return names
	}
	var given []string
	if err := json.Unmarshal(raw, &given); err != nil {
		f.add(pointer, "wrong_type", "must be an array of strings")
		return names
	}
	if len(given) > maxNames {
		f.add(pointer, "too_many", fmt.Sprintf("has %d items, more than %d", len(given), maxNames))
		return names
	}
	for i, s := range given {
		name, fault := normal(s)
		if fault != "" {
			f.add(pointer+"/"+strconv.Itoa(i), "invalid", fault)
		} else if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// origin returns an origin as browsers send it: lower case, without the port that its scheme implies.
func origin(s string) (name, fault string) {
	const form = "must be an origin, such as https://app.example.org or http://localhost:5173"
	switch s {
	case "*":
		return "", "* is refused: any page on the internet could then use this server in the name of whoever opens it; list the origins of your apps"
	case "null":
		return "", "null is refused: every sandboxed page has that origin; serve the app from an address of its own"
	}
	s = strings.ToLower(s)
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) || rest == "" {
		return "", form
	}
	if strings.ContainsAny(rest, "/?#") {
		return "", form + "; without a path, and without a / at the end"
	}
	if strings.Contains(rest, "@") {
		return "", form + "; without a user name"
	}
	host, port := rest, ""
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.HasSuffix(rest, "]") {
		host, port = rest[:i], rest[i+1:]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port != strconv.FormatUint(n, 10) {
			return "", form + "; a port is a number from 1 to 65535"
		}
	}
	if !isIPv6(host) {
		if fault := nameFault(host); fault != "" {
			return "", form + "; " + fault
		}
	}
	if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return scheme + "://" + host, ""
	}
	return scheme + "://" + host + ":" + port, ""
}

// isScheme reports whether s is a scheme (RFC 3986); apps in a shell of their own have other ones than http.
func isScheme(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}
