// Package identity says who makes a request. It is a leaf: auth makes a Caller, the others ask it.
package identity

import "slices"

// Kind is how a caller is known.
type Kind uint8

const (
	Anonymous Kind = iota
	User           // signed in by a session or an API token
	Local          // the operator, on the local socket or with the data file in hand
)

// Admin is the role that passes every rule.
const Admin = "admin"

// Caller is who makes a request. The zero value is anonymous. Callers are shared between requests: they and
// what they point to are never changed.
type Caller struct {
	Kind     Kind
	ID       string // the user's id
	Email    string
	Roles    []string
	Verified bool   // whether the e-mail address is proven
	Session  string // the session's id, when it is by a session
	Token    *Token // the API token, when it is by one
}

// Token is what an API token allows.
type Token struct {
	ID     string
	Scopes []Scope
}

// Scope is a collection and what a token may do there. "*" stands for every collection.
type Scope struct {
	Collection string   `json:"collection"`
	Actions    []string `json:"actions"`
}

// The actions of rules and scopes.
const (
	Read   = "read"
	Create = "create"
	Update = "update"
	Delete = "delete"
)

// Actions lists them.
var Actions = []string{Read, Create, Update, Delete}

// SignedIn reports whether the caller is known.
func (c *Caller) SignedIn() bool { return c.Kind != Anonymous }

// IsAdmin reports whether the caller passes every access rule: the local operator, and users with the role. An API
// token of an admin does too, within its scopes.
func (c *Caller) IsAdmin() bool {
	return c.Kind == Local || c.Kind == User && slices.Contains(c.Roles, Admin)
}

// Manages reports whether the caller may use the routes for admins. API tokens never may: they are for records alone.
func (c *Caller) Manages() bool { return c.Token == nil && c.IsAdmin() }

// InScope reports whether the caller's API token, if it uses one, covers an action on a collection.
func (c *Caller) InScope(collection, action string) bool {
	if c.Token == nil {
		return true
	}
	for _, s := range c.Token.Scopes {
		if (s.Collection == "*" || s.Collection == collection) && slices.Contains(s.Actions, action) {
			return true
		}
	}
	return false
}
