package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// A user, of what the API tells about it, is what the tables show.
type user struct {
	ID       string   `json:"id"`
	Email    string   `json:"email"`
	Name     string   `json:"name"`
	Roles    []string `json:"roles"`
	Disabled bool     `json:"disabled"`
	Created  string   `json:"created"`
}

func (u user) state() string {
	if u.Disabled {
		return "disabled"
	}
	return "active"
}

func (u user) path() string { return "/users/" + url.PathEscape(u.ID) }

func (p *program) userCommand() *cobra.Command {
	return p.group(&cobra.Command{
		Use:   "user",
		Short: "Make and change user accounts",
		Long: `Users are named by their e-mail address. Passwords are asked for on the terminal or
read from the first line of standard input, never given as a flag.`,
	},
		p.userList(), p.userShow(), p.userAdd(), p.userSet(), p.userPassword(),
		p.userDisable(true), p.userDisable(false), p.userRemove())
}

func (p *program) userList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all users",
		Args:  cobra.NoArgs,
		RunE: p.withClient(func(ctx context.Context, c *client, _ []string) error {
			users, raw, err := items[user](ctx, c, "/users")
			if err != nil {
				return err
			}
			if p.json {
				return p.printJSON(raw)
			}
			var rows [][]string
			for _, u := range users {
				rows = append(rows, []string{u.Email, u.Name, strings.Join(u.Roles, ","), u.state(), u.ID})
			}
			return p.table(`There are no users; make one with "croft user add EMAIL --roles admin".`,
				[]string{"EMAIL", "NAME", "ROLES", "STATE", "ID"}, rows)
		}),
	}
}

func (p *program) userShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show EMAIL",
		Short: "Show one user",
		Args:  cobra.ExactArgs(1),
		RunE: p.withClient(func(ctx context.Context, c *client, args []string) error {
			u, err := findUser(ctx, c, args[0])
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodGet, u.path(), nil)
			if err != nil {
				return err
			}
			if p.json {
				return p.printJSON(raw)
			}
			if err := json.Unmarshal(raw, &u); err != nil {
				return err
			}
			return p.table("", []string{"EMAIL", u.Email}, [][]string{
				{"NAME", u.Name}, {"ROLES", strings.Join(u.Roles, ",")}, {"STATE", u.state()},
				{"CREATED", u.Created}, {"ID", u.ID},
			})
		}),
	}
}

func (p *program) userAdd() *cobra.Command {
	var name string
	var roles []string
	cmd := &cobra.Command{
		Use:   "add EMAIL",
		Short: "Make a user",
		Example: `  croft user add ann@example.com --name Ann --roles admin
  pass show croft/ben | croft user add ben@example.com`,
		Args: cobra.ExactArgs(1),
		RunE: p.withClient(func(ctx context.Context, c *client, args []string) error {
			password, err := p.readPassword(ctx, args[0])
			if err != nil {
				return err
			}
			body := map[string]any{"email": args[0], "password": password}
			if name != "" {
				body["name"] = name
			}
			if len(roles) > 0 {
				body["roles"] = roles
			}
			raw, err := c.call(ctx, http.MethodPost, "/users", body)
			if err != nil {
				return err
			}
			return p.done(raw, "Made the user %s.", args[0])
		}),
	}
	cmd.Flags().StringVar(&name, "name", "", "the user's name")
	cmd.Flags().StringSliceVar(&roles, "roles", nil, "roles, with commas between; admin may do everything")
	return cmd
}

func (p *program) userSet() *cobra.Command {
	var email, name string
	var roles []string
	cmd := &cobra.Command{
		Use:   "set EMAIL",
		Short: "Change a user's name, address or roles",
		Example: `  croft user set ben@example.com --roles editor,admin
  croft user set ben@example.com --roles "" --email benjamin@example.com`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&email, "email", "", "the new e-mail address")
	cmd.Flags().StringVar(&name, "name", "", "the new name")
	cmd.Flags().StringSliceVar(&roles, "roles", nil, "all the roles from now on, with commas between")
	cmd.MarkFlagsOneRequired("email", "name", "roles")
	cmd.RunE = p.withClient(func(ctx context.Context, c *client, args []string) error {
		body := map[string]any{}
		for flag, value := range map[string]any{"email": email, "name": name, "roles": append([]string{}, roles...)} {
			if cmd.Flags().Changed(flag) {
				body[flag] = value
			}
		}
		return p.changeUser(ctx, c, args[0], body, "Changed the user %s.")
	})
	return cmd
}

func (p *program) userPassword() *cobra.Command {
	return &cobra.Command{
		Use:   "password EMAIL",
		Short: "Give a user a new password",
		Args:  cobra.ExactArgs(1),
		RunE: p.withClient(func(ctx context.Context, c *client, args []string) error {
			password, err := p.readPassword(ctx, args[0])
			if err != nil {
				return err
			}
			return p.changeUser(ctx, c, args[0], map[string]any{"password": password}, "Changed the password of %s and ended the user's sessions.")
		}),
	}
}

func (p *program) userDisable(disabled bool) *cobra.Command {
	use, short, done := "disable EMAIL", "Lock a user out and end its sessions", "Disabled the user %s."
	if !disabled {
		use, short, done = "enable EMAIL", "Let a disabled user in again", "Enabled the user %s."
	}
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: p.withClient(func(ctx context.Context, c *client, args []string) error {
			return p.changeUser(ctx, c, args[0], map[string]any{"disabled": disabled}, done)
		}),
	}
}

func (p *program) userRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "remove EMAIL",
		Short: "Delete a user for good",
		Args:  cobra.ExactArgs(1),
		RunE: p.withClient(func(ctx context.Context, c *client, args []string) error {
			u, err := findUser(ctx, c, args[0])
			if err != nil {
				return err
			}
			if err := p.confirm(ctx, yes, "This deletes the user "+u.Email+" for good."); err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodDelete, u.path(), nil)
			if err != nil {
				return err
			}
			return p.done(raw, "Deleted the user %s.", u.Email)
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return cmd
}

// changeUser patches a user and says so.
func (p *program) changeUser(ctx context.Context, c *client, email string, body map[string]any, done string) error {
	u, err := findUser(ctx, c, email)
	if err != nil {
		return err
	}
	raw, err := c.call(ctx, http.MethodPatch, u.path(), body)
	if err != nil {
		return err
	}
	return p.done(raw, done, u.Email)
}

// done ends a command that changed something: a sentence for people, the API's answer for programs.
func (p *program) done(raw []byte, format string, args ...any) error {
	if p.json && len(raw) > 0 {
		return p.printJSON(raw)
	}
	p.say(format, args...)
	return nil
}

// findUser looks a user up by e-mail address, or id.
func findUser(ctx context.Context, c *client, email string) (user, error) {
	users, _, err := items[user](ctx, c, "/users")
	if err != nil {
		return user{}, err
	}
	address := strings.ToLower(strings.TrimSpace(email)) // as accounts are told apart; EqualFold takes ſ for s
	for _, u := range users {
		if strings.ToLower(u.Email) == address || u.ID == email {
			return u, nil
		}
	}
	return user{}, fmt.Errorf(`there is no user %s; "croft user list" shows who there is`, email)
}
