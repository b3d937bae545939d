package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"croft/internal/identity"
)

// Time is a moment as the API writes it: RFC 3339, UTC, milliseconds.
type Time struct{ time.Time }

const timeFormat = "2006-01-02T15:04:05.000Z"

// MarshalJSON writes the time.
func (t Time) MarshalJSON() ([]byte, error) {
	return t.UTC().AppendFormat(make([]byte, 0, len(timeFormat)+2), `"`+timeFormat+`"`), nil
}

// UnmarshalJSON reads any RFC 3339 time.
func (t *Time) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return errTime
	}
	parsed, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return errTime
	}
	t.Time = parsed.UTC().Truncate(time.Millisecond)
	return nil
}

var errTime = errors.New(`must be a time in RFC 3339, such as "2026-11-20T09:30:00Z"`)

// Change is a member of a merge patch: whether it is there, and what it says. null is the zero value.
type Change[T any] struct {
	Set   bool
	Value T
}

// To is a Change that sets a value.
func To[T any](v T) Change[T] { return Change[T]{true, v} }

// UnmarshalJSON reads the member. It runs only when it is there.
func (c *Change[T]) UnmarshalJSON(b []byte) error {
	var zero T
	c.Set, c.Value = true, zero
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	return json.Unmarshal(b, &c.Value)
}

// MarshalJSON writes what it says.
func (c Change[T]) MarshalJSON() ([]byte, error) { return json.Marshal(c.Value) }

// IsZero reports whether it is not there, for the tag omitzero.
func (c Change[T]) IsZero() bool { return !c.Set }

// Client is where a request comes from.
type Client struct {
	Addr  netip.Addr // invalid on the local socket
	Agent string     // the User-Agent header
}

// User is an account as admins, and its owner, see it.
type User struct {
	ID       string   `json:"id"`
	Email    string   `json:"email"`
	Name     string   `json:"name"`
	Roles    []string `json:"roles"`
	Disabled bool     `json:"disabled"`
	Verified bool     `json:"verified"` // whether the e-mail address is taken as proven: so far that of the setup, and what the operator entered
	Created  Time     `json:"created"`
	Updated  Time     `json:"updated"`
}

// SignIn is the answer to setup, signup and login: a new session. The token is told this once.
type SignIn struct {
	Token   string `json:"token,omitempty"` // api leaves it out when it sets a cookie
	Expires Time   `json:"expires"`         // at the latest; a session that is not used ends before
	User    User   `json:"user"`
}

// Session is one sign-in of a user.
type Session struct {
	ID       string `json:"id"`
	Created  Time   `json:"created"`
	LastUsed Time   `json:"last_used"` // within a minute or so
	Expires  Time   `json:"expires"`   // if it is not used until then
	Address  string `json:"address"`   // it was made from; empty for the local socket
	Agent    string `json:"user_agent"`
	Current  bool   `json:"current"`
}

// APIToken is a token for programs, without its secret.
type APIToken struct {
	ID       string           `json:"id"`
	User     string           `json:"user"` // the id of the user whose rights bound it
	Name     string           `json:"name"`
	Scopes   []identity.Scope `json:"scopes"`
	Created  Time             `json:"created"`
	LastUsed *Time            `json:"last_used"`
	Expires  *Time            `json:"expires"`
}

// NewAPIToken is an API token with its secret, which is told this once.
type NewAPIToken struct {
	APIToken
	Token string `json:"token"`
}

// Invite lets one person sign up, without its secret.
type Invite struct {
	ID        string   `json:"id"`
	Email     string   `json:"email"` // only this address may use it, if not empty
	Roles     []string `json:"roles"`
	Created   Time     `json:"created"`
	CreatedBy string   `json:"created_by"` // a user's id; empty for the local operator
	Expires   Time     `json:"expires"`
}

// NewInvite is an invite with its secret, which is told this once.
type NewInvite struct {
	Invite
	Token string `json:"token"`
}

// List is all there is of something.
type List[T any] struct {
	Items []T `json:"items"`
}

// UserPage is a part of the users, in the order they were made.
type UserPage struct {
	Items []User  `json:"items"`
	Next  *string `json:"next"` // the cursor of the rest, null at the end
}

// Page says which part of a list to return.
type Page struct {
	Limit  int // 0 is the default
	Cursor string
}

// What the routes take.
type (
	// SetupIn claims a new server.
	SetupIn struct {
		Token    string `json:"token"`
		Email    string `json:"email"`
		Password string `json:"password"`
	}
	// SignupIn makes an account of one's own.
	SignupIn struct {
		Email    string `json:"email"`
		Password string `json:"password"`
		Name     string `json:"name,omitempty"`
		Invite   string `json:"invite,omitempty"`
	}
	// LoginIn makes a session.
	LoginIn struct {
		Email    string `json:"email"`
		Password string `json:"password"`
		Cookie   bool   `json:"cookie,omitempty"` // for api: whether the token goes into a cookie
	}
	// MePatch changes one's own profile.
	MePatch struct {
		Name Change[string] `json:"name,omitzero"`
	}
	// PasswordIn changes one's own password.
	PasswordIn struct {
		Current string `json:"current"`
		New     string `json:"new"`
	}
	// UserIn makes an account for someone else.
	UserIn struct {
		Email    string   `json:"email"`
		Name     string   `json:"name,omitempty"`
		Roles    []string `json:"roles,omitempty"`
		Disabled bool     `json:"disabled,omitempty"`
		Password string   `json:"password"`
	}
	// UserPatch changes someone's account.
	UserPatch struct {
		Email    Change[string]   `json:"email,omitzero"`
		Name     Change[string]   `json:"name,omitzero"`
		Roles    Change[[]string] `json:"roles,omitzero"`
		Disabled Change[bool]     `json:"disabled,omitzero"`
		Password Change[string]   `json:"password,omitzero"`
	}
	// TokenIn makes an API token.
	TokenIn struct {
		Name    string           `json:"name"`
		Scopes  []identity.Scope `json:"scopes"`
		Expires *Time            `json:"expires,omitempty"`
		// User is the e-mail address or id of whom the token is for. The local operator, who has no account, must say;
		// others may not.
		User string `json:"user,omitempty"`
	}
	// InviteIn makes an invite.
	InviteIn struct {
		Email   string   `json:"email,omitempty"`
		Roles   []string `json:"roles,omitempty"`
		Expires *Time    `json:"expires,omitempty"` // a week from now if not given, at most 90 days
	}
)
