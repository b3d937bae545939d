package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"embed"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	text "text/template"

	"github.com/google/uuid"

	"croft/internal/errs"
	"croft/internal/https/authority"
)

// The page on which a device learns to trust this server's own authority. It is read over plain HTTP, by someone whose browser
// has just warned of the HTTPS address: so it loads nothing, works without a script, and says what it can't prove.

//go:embed trust
var trustFiles embed.FS

// trustForms are the page and the profile, parsed when first asked for: most devices never do.
var trustForms = sync.OnceValue(func() (forms struct {
	page    *template.Template
	profile *text.Template
	style   template.CSS
	script  template.JS
	csp     []string
}) {
	style, script := trustFile("style.css"), trustFile("script.js")
	forms.page = template.Must(template.ParseFS(trustFiles, "trust/page.html"))
	forms.profile = text.Must(text.ParseFS(trustFiles, "trust/profile.xml"))
	forms.style, forms.script = template.CSS(style), template.JS(script)
	// The script asks the HTTPS address whether it opens.
	forms.csp = []string{"default-src 'none'; style-src " + cspHash(style) + "; script-src " + cspHash(script) +
		"; connect-src https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
	return forms
})

func trustFile(name string) []byte {
	b, err := trustFiles.ReadFile("trust/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return b
}

func cspHash(b []byte) string {
	digest := sha256.Sum256(b)
	return "'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'"
}

// A trustedRoot is the authority's certificate as a page tells of it.
type trustedRoot struct {
	cert *x509.Certificate
	Name string
	File string // what it is called when downloaded
}

// parseTrusted reads the certificate that devices shall trust. There is none but in https mode local.
func parseTrusted(root []byte) (trustedRoot, error) {
	block, _ := pem.Decode(root)
	if block == nil {
		return trustedRoot{}, errs.New(errs.NotFound, `this server has no authority of its own to trust: that is for https.mode "local"`)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return trustedRoot{}, fmt.Errorf("the authority's certificate: %w", err)
	}
	name := cert.Subject.CommonName
	return trustedRoot{cert, name, "croft-root-" + name[strings.LastIndexByte(name, ' ')+1:] + ".crt"}, nil
}

// A trustSystem is a kind of device, and the steps for it.
type trustSystem struct {
	ID, Title string
	Open      bool
	Steps     template.HTML
}

// trustSystems stand on the page in this order, but for the reader's own, which is first.
var trustSystems = []trustSystem{
	{ID: "ios", Title: "iPhone and iPad"},
	{ID: "android", Title: "Android"},
	{ID: "macos", Title: "Mac"},
	{ID: "windows", Title: "Windows"},
	{ID: "linux", Title: "Linux"},
}

// systemOf guesses the reader's system from its User-Agent; "" for one that is none of ours.
func systemOf(agent string) string {
	for _, s := range []struct{ word, id string }{
		{"iPhone", "ios"}, {"iPad", "ios"}, {"iPod", "ios"}, {"Android", "android"}, // Android says Linux as well
		{"Windows", "windows"}, {"Macintosh", "macos"}, {"Linux", "linux"},
	} {
		if strings.Contains(agent, s.word) {
			return s.id
		}
	}
	return ""
}

// trustPage answers with the page. port is that of the HTTPS listener.
func (q *request) trustPage(root []byte, port int) error {
	trusted, err := parseTrusted(root)
	if err != nil {
		return err
	}
	forms := trustForms()
	page := struct {
		trustedRoot
		Style       template.CSS
		Script      template.JS
		Secure      bool
		Origin      string
		Until       string
		Fingerprint []string // in lines
		Domains     []string
		Systems     []trustSystem
	}{
		trustedRoot: trusted, Style: forms.style, Script: forms.script,
		Secure: q.tls, Origin: q.secureOrigin(port), Until: trusted.cert.NotAfter.Format("2 January 2006"), Domains: trusted.cert.PermittedDNSDomains,
	}
	// A line of a phone has room for eight bytes of two digits and a colon.
	for rest := authority.Fingerprint(trusted.cert); rest != ""; {
		n := min(8*3, len(rest))
		page.Fingerprint, rest = append(page.Fingerprint, rest[:n]), rest[n:]
	}
	own := systemOf(q.header("User-Agent"))
	for _, s := range trustSystems {
		var steps bytes.Buffer
		if err := forms.page.ExecuteTemplate(&steps, s.ID, trusted); err != nil {
			return fmt.Errorf("the steps for %s: %w", s.Title, err)
		}
		s.Steps = template.HTML(steps.String())
		if s.Open = s.ID == own; s.Open {
			page.Systems = append([]trustSystem{s}, page.Systems...)
		} else {
			page.Systems = append(page.Systems, s)
		}
	}
	var out bytes.Buffer
	if err := forms.page.ExecuteTemplate(&out, "page.html", page); err != nil {
		return fmt.Errorf("the page for trust: %w", err)
	}
	q.Header()["Content-Security-Policy"] = forms.csp
	q.set("Content-Type", "text/html; charset=utf-8")
	q.send(http.StatusOK, out.Bytes())
	return nil
}

// secureOrigin is this server's HTTPS address by the name that the reader used. Who came to a port that is not our own came by way
// of a router or a container's, which has HTTPS at its usual port or nowhere that we know of.
func (q *request) secureOrigin(port int) string {
	if q.tls {
		return "https://" + q.host
	}
	host, asked := withoutPort(q.host), "80"
	if _, p, err := net.SplitHostPort(q.host); err == nil {
		asked = p
	}
	own, _ := q.r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	switch {
	case port != 443 && own != nil && asked == strconv.Itoa(own.Port):
		host = net.JoinHostPort(host, strconv.Itoa(port))
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	return "https://" + host
}

// trustRoot answers with the certificate. As a download of this type and name it opens the installer of Windows and macOS, and Android
// finds it; browsers that would install it by themselves on sight, such as Firefox, leave its reader the time to compare.
func (q *request) trustRoot(root []byte) error {
	trusted, err := parseTrusted(root)
	if err != nil {
		return err
	}
	q.set("Content-Type", "application/x-x509-ca-cert")
	q.set("Content-Disposition", `attachment; filename="`+trusted.File+`"`)
	q.send(http.StatusOK, root)
	return nil
}

// trustProfile answers with the certificate in a configuration profile, for iPhones and iPads: Safari's handling of a bare certificate
// changes from version to version (26.5 saves it as .html), a profile always opens the installer.
func (q *request) trustProfile(root []byte) error {
	trusted, err := parseTrusted(root)
	if err != nil {
		return err
	}
	// Made from the certificate, so that a second install replaces the first.
	id := uuid.NewSHA1(uuid.NameSpaceOID, trusted.cert.Raw)
	var out bytes.Buffer
	err = trustForms().profile.Execute(&out, map[string]string{
		"Name": template.HTMLEscapeString(trusted.Name), "File": template.HTMLEscapeString(trusted.File),
		"UUID": strings.ToUpper(id.String()), "CertificateUUID": strings.ToUpper(uuid.NewSHA1(id, trusted.cert.Raw).String()),
		"Base64": base64.StdEncoding.EncodeToString(trusted.cert.Raw),
	})
	if err != nil {
		return fmt.Errorf("the profile: %w", err)
	}
	q.set("Content-Type", "application/x-apple-aspen-config")
	q.set("Content-Disposition", `attachment; filename="`+strings.TrimSuffix(trusted.File, ".crt")+`.mobileconfig"`)
	q.send(http.StatusOK, out.Bytes())
	return nil
}
