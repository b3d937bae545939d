package app

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"croft/internal/config"
	"croft/internal/https"
	"croft/internal/https/dns"
	"croft/internal/lan"
	"croft/internal/mdns"
)

// openHTTPS reads the certificates there are. A command works on the data file whatever the config says of how to get others.
func (a *App) openHTTPS(o Options) error {
	options, err := a.httpsOptions(o)
	if err == nil {
		a.https, err = https.New(a.store, options)
	}
	if err != nil && o.Command {
		a.log.Warn("the config of HTTPS can't be used", "error", err)
		a.https, err = https.New(a.store, https.Options{Log: a.log})
	}
	if err != nil {
		return err
	}
	a.closers = append(a.closers, a.https.Close)
	return nil
}

func (a *App) httpsOptions(o Options) (https.Options, error) {
	c := &a.config.HTTPS
	options := https.Options{
		Mode: c.Mode, Names: c.Names,
		Email: c.Email, Directory: c.Directory, Challenge: c.Challenge,
		Certificate: c.Certificate, Key: c.Key,
		LocalNames: a.localNames,
		HostNames:  func() []string { return a.settings.Get().HostNames },
		Log:        a.log, Now: o.Now,
	}
	if o.Command {
		options.Log = nil // who asks for the status gets it
	}
	if c.Mode != config.HTTPSACME {
		return options, nil
	}
	var rootsErr, dnsErr error // both are told at once
	if c.DirectoryRoots != "" {
		if options.DirectoryRoots, rootsErr = os.ReadFile(c.DirectoryRoots); rootsErr != nil {
			rootsErr = fmt.Errorf("read the certificate that the ACME authority is to be verified by ([https] directory_roots): %w", rootsErr)
		}
	}
	if c.Challenge == https.ChallengeDNS {
		options.DNS, dnsErr = dns.Solver(dns.Options{
			Provider: c.DNS.Provider, Token: c.DNS.Token, TokenFile: c.DNS.TokenFile,
			Server: c.DNS.Server, Program: c.DNS.Program, Resolvers: c.DNS.Resolvers,
		})
	}
	return options, errors.Join(rootsErr, dnsErr)
}

// localNames are the names and addresses that this machine has in the home network now.
func (a *App) localNames() []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil {
		host, domain, _ := strings.Cut(strings.ToLower(host), ".")
		names = append(names, host, host+".local")
		if domain != "" {
			names = append(names, host+"."+domain)
		}
	}
	if a.config.MDNS.Enabled {
		names = append(names, a.config.MDNS.Name+".local")
		if r := a.mdns.Load(); r != nil && r.Name() != "" {
			names = append(names, r.Name())
		}
	}
	for _, addr := range lan.Addresses() {
		names = append(names, addr.String())
	}
	return names
}

// trusted are the proxies that are believed.
func (a *App) trusted() (networks []netip.Prefix, err error) {
	for _, text := range a.config.Proxy.Trusted {
		network, err := config.Network(text)
		if err != nil {
			return nil, fmt.Errorf("[proxy] trusted: %w", err)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// announce makes the server known by name in the home network, unless it answers this machine alone. It serves without that too.
func (a *App) announce(plain, secure net.Addr) {
	at := plain
	if a.https.Mode() == https.Local {
		at = secure // otherwise the certificate is for other names, which plain HTTP leads to
	}
	tcp, ok := at.(*net.TCPAddr)
	if !a.config.MDNS.Enabled || !ok || tcp.IP.IsLoopback() {
		return
	}
	r, err := mdns.Start(mdns.Options{
		Name: a.config.MDNS.Name, Port: tcp.Port, TLS: at == secure, Address: tcp.AddrPort().Addr().Unmap(),
		Named: func(string) { a.https.NamesChanged() },
		Log:   a.log,
	})
	if err != nil {
		a.log.Warn("this server can't be found by its name in the home network", "name", a.config.MDNS.Name+".local", "error", err)
		return
	}
	a.mdns.Store(r)
}

// serving says where the server answers.
func (a *App) serving(plain, secure net.Addr) Serving {
	s := Serving{Addr: plain, Secure: secure}
	scheme, at := "http", plain
	if secure != nil {
		scheme, at = "https", secure
	}
	here, there := "localhost", ""
	tcp, _ := at.(*net.TCPAddr)
	switch {
	case a.https.Mode() == https.ACME || a.https.Mode() == https.Files:
		// A certificate is for names.
		named := func(name string) bool { return !strings.HasPrefix(name, "*.") }
		if i := slices.IndexFunc(a.https.Names(), named); i >= 0 {
			here = a.https.Names()[i]
		}
	case tcp != nil && !tcp.IP.IsUnspecified():
		here = tcp.IP.String()
	default:
		if best := lan.Best(); best.IsValid() {
			there = best.String()
		}
	}
	s.URL = urlOf(scheme, here, at)
	if there != "" {
		s.Network = urlOf(scheme, there, at)
	}
	if a.https.RootPEM() != nil {
		s.Trust = urlOf("http", cmp.Or(there, here), plain) + "/trust"
	}
	if token := a.auth.SetupToken(); token != "" {
		s.Setup = s.URL + "/#setup=" + token
	}
	return s
}

// urlOf is the address of a host at the port of a listener.
func urlOf(scheme, host string, at net.Addr) string {
	port := "0"
	if tcp, ok := at.(*net.TCPAddr); ok {
		port = strconv.Itoa(tcp.Port)
	}
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return scheme + "://" + host
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
