package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// maxDefinitions bounds what apply reads: the API takes a definition of 1 MiB, and a file may hold
// many.
const maxDefinitions = 64 << 20

// A collection, of what the API tells about it, is what the tables show.
type collection struct {
	Name    string           `json:"name"`
	Indexes []jsontext.Value `json:"indexes"`
	Access  map[string]any   `json:"access"`
	Updated string           `json:"updated"`
}

func collectionPath(name string) string { return "/collections/" + url.PathEscape(name) }

func (p *program) collectionCommand() *cobra.Command {
	return p.group(&cobra.Command{
		Use:   "collection",
		Short: "Define the collections that records are kept in",
	},
		p.collectionList(), p.collectionShow(), p.collectionApply(), p.collectionRemove())
}

func (p *program) collectionList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all collections",
		Args:  cobra.NoArgs,
		RunE: p.withClient(func(ctx context.Context, c *client, _ []string) error {
			collections, raw, err := items[collection](ctx, c, "/collections")
			if err != nil {
				return err
			}
			if p.json {
				return p.printJSON(raw)
			}
			var rows [][]string
			for _, col := range collections {
				row := []string{col.Name, strconv.Itoa(len(col.Indexes))}
				for _, action := range []string{"read", "create", "update", "delete"} {
					rule := "admins"
					if text, ok := col.Access[action].(string); ok {
						rule = text
					}
					row = append(row, rule)
				}
				rows = append(rows, row)
			}
			return p.table(`There are no collections; define one with "croft collection apply FILE".`,
				[]string{"NAME", "INDEXES", "READ", "CREATE", "UPDATE", "DELETE"}, rows)
		}),
	}
}

func (p *program) collectionShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Print a collection's definition as JSON",
		Args:  cobra.ExactArgs(1),
		RunE: p.withClient(func(ctx context.Context, c *client, args []string) error {
			raw, err := c.call(ctx, http.MethodGet, collectionPath(args[0]), nil)
			if err != nil {
				return err
			}
			return p.printJSON(raw)
		}),
	}
}

func (p *program) collectionApply() *cobra.Command {
	var dryRun, keep bool
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Define or change collections as a JSON file says",
		Long: `FILE (or - for standard input) holds one definition, or a list of them, each with its
"name" beside the members that the API takes, as "croft collection show" prints it.
One with a "rev" is applied only if the collection has not changed since then. Each
definition is applied by itself, in order; the first that is refused ends it.`,
		Example: `  croft collection show notes > notes.json
  croft collection apply notes.json --dry-run`,
		Args: cobra.ExactArgs(1),
		RunE: p.withClient(func(ctx context.Context, c *client, args []string) error {
			definitions, err := p.readDefinitions(args[0])
			if err != nil {
				return err
			}
			query := url.Values{}
			if dryRun {
				query.Set("dry_run", "true")
			}
			if keep {
				query.Set("existing", "keep")
			}
			for _, d := range definitions {
				path := collectionPath(d.name)
				if len(query) > 0 {
					path += "?" + query.Encode()
				}
				raw, err := c.call(ctx, http.MethodPut, path, d.body)
				if err != nil {
					return fmt.Errorf("%s: %w", d.name, err)
				}
				if dryRun || p.json {
					err = p.printJSON(raw)
				} else {
					p.say("Applied %s.", d.name)
					err = p.warn(raw)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "change nothing; tell what would change and which records would not fit")
	cmd.Flags().BoolVar(&keep, "keep-existing", false, "leave records that do not fit a new schema as they are")
	return cmd
}

func (p *program) collectionRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Delete a collection with all its records",
		Args:  cobra.ExactArgs(1),
		RunE: p.withClient(func(ctx context.Context, c *client, args []string) error {
			name := args[0]
			if _, err := c.call(ctx, http.MethodGet, collectionPath(name), nil); err != nil {
				return err
			}
			if err := p.confirm(ctx, yes, "This deletes "+name+" and all its records for good."); err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodDelete, collectionPath(name), nil)
			if err != nil {
				return err
			}
			return p.done(raw, "Deleted the collection %s.", name)
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return cmd
}

// A definition is a collection as a file has it: its name, and the body of the PUT.
type definition struct {
	name string
	body jsontext.Value
}

// readDefinitions reads one definition or a list of them.
func (p *program) readDefinitions(file string) ([]definition, error) {
	from, where := p.stdin, "standard input"
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from, where = f, file
	}
	text, err := io.ReadAll(io.LimitReader(from, maxDefinitions+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", where, err)
	}
	if len(text) > maxDefinitions {
		return nil, fmt.Errorf("%s is larger than %d MiB; split it", where, maxDefinitions>>20)
	}
	var list []jsontext.Value
	if jsontext.Value(text).Kind() == '[' {
		err = json.Unmarshal(text, &list)
	} else {
		list = make([]jsontext.Value, 1)
		err = json.Unmarshal(text, &list[0])
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, jsonError(text, err))
	}
	var definitions []definition
	for i, raw := range list {
		d, err := parseDefinition(raw)
		if err != nil && len(list) > 1 {
			return nil, fmt.Errorf("%s: definition %d: %w", where, i+1, err)
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		definitions = append(definitions, d)
	}
	return definitions, nil
}

// parseDefinition takes the name from a definition. All else is the API's to judge, so the whole is
// passed on as it is written; a "rev" in it is its condition that nobody changed the collection since.
func parseDefinition(raw jsontext.Value) (definition, error) {
	d := definition{body: raw}
	var named struct {
		Name string `json:"name"`
	}
	if raw.Kind() != '{' || json.Unmarshal(raw, &named) != nil || named.Name == "" {
		return d, errors.New(`a definition is an object with a name; add "name": "notes", say`)
	}
	d.name = named.Name
	return d, nil
}

// jsonError adds the line to an error of syntax.
func jsonError(text []byte, err error) error {
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		before := text[:min(int(syntax.ByteOffset), len(text))]
		return fmt.Errorf("line %d: this is not JSON: %w", 1+bytes.Count(before, []byte("\n")), syntax.Err)
	}
	return err
}

// warn tells what is odd about a definition, though it was taken.
func (p *program) warn(raw []byte) error {
	var answer struct {
		Warnings []struct {
			Pointer string `json:"pointer"`
			Message string `json:"message"`
		} `json:"warnings"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	for _, w := range answer.Warnings {
		fmt.Fprintf(p.stderr, "warning: %s: %s\n", w.Pointer, w.Message)
	}
	return nil
}
