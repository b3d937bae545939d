package cli

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
)

func (p *program) httpsCommand() *cobra.Command {
	return p.group(&cobra.Command{
		Use:   "https",
		Short: "See, renew and trust the certificates of HTTPS",
		Long: `How HTTPS gets its certificates is said in croft.toml ([https] mode); "croft config
example" tells of each way. Certificates are renewed by themselves.`,
	},
		&cobra.Command{
			Use:   "status",
			Short: "The names, their certificates, and what last went wrong",
			Args:  cobra.NoArgs,
			RunE: p.withClient(func(ctx context.Context, c *client, _ []string) error {
				raw, err := c.call(ctx, http.MethodGet, "/https", nil)
				if err != nil {
					return err
				}
				return p.printCertificates(raw)
			}),
		},
		&cobra.Command{
			Use:   "renew",
			Short: "Get new certificates now",
			Long: `Gets a new certificate for every name now, and not only when the old one is about to
expire, and waits for it. Authorities allow only so many in a week.`,
			Args: cobra.NoArgs,
			RunE: p.withClient(func(ctx context.Context, c *client, _ []string) error {
				raw, err := c.call(ctx, http.MethodPost, "/https/renew", nil)
				if err != nil {
					return err
				}
				return p.printCertificates(raw)
			}),
		},
		p.rootCommand(),
	)
}

func (p *program) rootCommand() *cobra.Command {
	var forget bool
	cmd := &cobra.Command{
		Use:   "root",
		Short: "The certificate of this Croft's own authority, for devices to trust",
		Long: `Prints the certificate that devices must trust in mode local. It is the one that the
page /trust of this server offers, which shows the same fingerprint as "croft https
status".

With --forget the authority is deleted instead, as after a theft of the data file, or
when it is to vouch for other names. The next start of the server makes a new one,
which every device must be told to trust.`,
		Example: `  croft https root > croft-root.pem`,
		Args:    cobra.NoArgs,
		RunE: p.withClient(func(ctx context.Context, c *client, _ []string) error {
			if forget {
				if _, err := c.call(ctx, http.MethodDelete, "/https/root", nil); err != nil {
					return err
				}
				return p.done(nil, "The authority is forgotten: start the server again, which makes a new one, and have every device trust that.")
			}
			if p.json {
				return p.usage("the certificate is PEM and has no JSON form; leave --json out")
			}
			pem, err := c.callAt(ctx, http.MethodGet, "/trust/root.pem", nil)
			if err != nil {
				return err
			}
			_, err = p.stdout.Write(pem)
			return err
		}),
	}
	cmd.Flags().BoolVar(&forget, "forget", false, "delete the authority, so that the next start makes a new one")
	return cmd
}

// certificates is the API's answer, as far as it is printed.
type certificates struct {
	Mode            string `json:"mode"`
	RootFingerprint string `json:"root_fingerprint"`
	Problem         string `json:"problem"`
	Names           []struct {
		Name      string    `json:"name"`
		Issuer    string    `json:"issuer"`
		NotAfter  time.Time `json:"not_after"`
		DaysLeft  int       `json:"days_left"`
		LastError string    `json:"last_error"`
		LastTry   time.Time `json:"last_try"`
		NextTry   time.Time `json:"next_try"`
	} `json:"names"`
}

func (p *program) printCertificates(raw []byte) error {
	if p.json {
		return p.printJSON(raw)
	}
	var s certificates
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("GET /https: the answer can't be read: %w", err)
	}
	if s.Mode == "off" {
		p.say("HTTPS is off: set [https] mode in croft.toml.")
		return nil
	}
	var rows [][]string
	for _, n := range s.Names {
		row := []string{n.Name, n.Issuer, "", ""}
		if !n.NotAfter.IsZero() {
			row[2], row[3] = n.NotAfter.Local().Format(time.DateOnly), strconv.Itoa(n.DaysLeft)
		}
		rows = append(rows, row)
	}
	if err := p.table("There are no certificates.", []string{"NAME", "ISSUER", "UNTIL", "DAYS LEFT"}, rows); err != nil {
		return err
	}
	for _, n := range s.Names {
		if n.LastError == "" {
			continue
		}
		text := n.Name
		if !n.LastTry.IsZero() {
			text += ", " + n.LastTry.Local().Format(time.DateTime)
		}
		text += ": " + n.LastError
		if !n.NextTry.IsZero() {
			text += " (next try " + n.NextTry.Local().Format(time.DateTime) + ")"
		}
		p.say("%s", text)
	}
	if s.RootFingerprint != "" {
		p.say("Devices trust these once they trust the root certificate with the fingerprint (SHA-256)\n%s", s.RootFingerprint)
	}
	if s.Problem != "" {
		return fmt.Errorf("%s", s.Problem)
	}
	return nil
}
