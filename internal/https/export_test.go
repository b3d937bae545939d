package https

// OnlyPlain has challenges answered on the plain listener alone.
func (h *HTTPS) OnlyPlain() { h.source.(*acmeSource).issuer.DisableTLSALPNChallenge = true }

// OnlySecure has them answered on the TLS listener alone.
func (h *HTTPS) OnlySecure() { h.source.(*acmeSource).issuer.DisableHTTPChallenge = true }
