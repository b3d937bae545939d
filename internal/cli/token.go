package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// A token, of what the API tells about it, is what the tables show.
type token struct {
	ID       string  `json:"id"`
	User     string  `json:"user"`
	Name     string  `json:"name"`
	Scopes   []scope `json:"scopes"`
	LastUsed *string `json:"last_used"`
	Expires  *string `json:"expires"`
	Token    string  `json:"token"` // its secret, in the answer that makes it
}

func (p *program) tokenCommand() *cobra.Command {
	return p.group(&cobra.Command{
		Use:   "token",
		Short: "Make and revoke API tokens",
		Long: `An API token lets a program work on records as a user, within the scopes of the token
and the rights of the user.`,
	},
		p.tokenList(), p.tokenCreate(), p.tokenRevoke())
}

func (p *program) tokenList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all API tokens, without their secrets",
		Args:  cobra.NoArgs,
		RunE: p.withClient(func(ctx context.Context, c *client, _ []string) error {
			tokens, raw, err := items[token](ctx, c, "/auth/tokens")
			if err != nil {
				return err
			}
			if p.json {
				return p.printJSON(raw)
			}
			users, _, err := items[user](ctx, c, "/users")
			if err != nil {
				return err
			}
			emails := map[string]string{}
			for _, u := range users {
				emails[u.ID] = u.Email
			}
			var rows [][]string
			for _, t := range tokens {
				rows = append(rows, []string{t.Name, emails[t.User], scopeTexts(t.Scopes), or(t.Expires, "never"), or(t.LastUsed, "never"), t.ID})
			}
			return p.table(`There are no API tokens; make one with "croft token create".`,
				[]string{"NAME", "USER", "SCOPES", "EXPIRES", "LAST USED", "ID"}, rows)
		}),
	}
}

func (p *program) tokenCreate() *cobra.Command {
	var name, email, expires string
	var scopeFlags []string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an API token and print it, this once",
		Example: `  croft token create --user ann@example.com --name backup --scope notes:read --expires 90d
  croft token create --user ann@example.com --name sync --scope notes:read,create,update --scope lists:read`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&email, "user", "", "the e-mail address of the `USER` it acts for")
	cmd.Flags().StringVar(&name, "name", "", "what it is for")
	cmd.Flags().StringArrayVar(&scopeFlags, "scope", nil, "`COLLECTION:ACTIONS`, of read, create, update, delete; * is every collection; may be repeated")
	cmd.Flags().StringVar(&expires, "expires", "", "when it ends: 2027-01-31, 90d or 12h (default never)")
	for _, needed := range []string{"user", "name", "scope"} {
		if err := cmd.MarkFlagRequired(needed); err != nil {
			panic(err) // the flag is not there
		}
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body := map[string]any{"name": name, "user": email}
		var scopes []scope
		for _, text := range scopeFlags {
			s, err := parseScope(text)
			if err != nil {
				return err
			}
			scopes = append(scopes, s)
		}
		body["scopes"] = scopes
		if expires != "" {
			at, err := parseExpiry(expires, time.Now())
			if err != nil {
				return err
			}
			body["expires"] = at.UTC().Format(time.RFC3339)
		}
		return p.withClient(func(ctx context.Context, c *client, _ []string) error {
			raw, err := c.call(ctx, http.MethodPost, "/auth/tokens", body)
			if err != nil {
				return err
			}
			if p.json {
				return p.printJSON(raw)
			}
			var t token
			if err := json.Unmarshal(raw, &t); err != nil {
				return fmt.Errorf("the server's answer can't be read: %w", err)
			}
			fmt.Fprintln(p.stderr, "This is the token. It is shown this once: keep it where you keep passwords.")
			_, err = fmt.Fprintln(p.stdout, t.Token)
			return err
		})(cmd, args)
	}
	return cmd
}

func (p *program) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "End an API token at once",
		Args:  cobra.ExactArgs(1),
		RunE: p.withClient(func(ctx context.Context, c *client, args []string) error {
			raw, err := c.call(ctx, http.MethodDelete, "/auth/tokens/"+url.PathEscape(args[0]), nil)
			if err != nil {
				return err
			}
			return p.done(raw, "Revoked the token %s.", args[0])
		}),
	}
}

func or(s *string, none string) string {
	if s == nil {
		return none
	}
	return *s
}

type scope struct {
	Collection string   `json:"collection"`
	Actions    []string `json:"actions"`
}

func (s scope) String() string { return s.Collection + ":" + strings.Join(s.Actions, ",") }

func scopeTexts(scopes []scope) string {
	var texts []string
	for _, s := range scopes {
		texts = append(texts, s.String())
	}
	return strings.Join(texts, " ")
}

// parseScope reads notes:read,create.
func parseScope(text string) (scope, error) {
	collection, actions, ok := strings.Cut(text, ":")
	if !ok || collection == "" || actions == "" {
		return scope{}, fmt.Errorf("--scope %q is not of the form COLLECTION:ACTIONS; write for example notes:read,create", text)
	}
	return scope{collection, strings.Split(actions, ",")}, nil
}

// parseExpiry reads a date (2027-01-31), a time (RFC 3339) or a span from now on (90d, 12h).
func parseExpiry(text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return t, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 {
			return now.AddDate(0, 0, n), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d), nil
	}
	return time.Time{}, fmt.Errorf("--expires %q is neither a date nor a span; write for example 2027-01-31, 90d or 12h", text)
}
