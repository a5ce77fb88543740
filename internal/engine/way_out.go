package engine

import (
	"crypto/x509"
	"fmt"
	"os"
)

// roots are the system's certificates and those the configuration adds; nil
// means the system's alone.
func (s *settings) roots() (*x509.CertPool, error) {
	if len(s.ExtraRoots) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificates: %w", err)
	}
	for _, v := range s.ExtraRoots {
		pem, err := os.ReadFile(v.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: extra_roots: %w", v.Origin, err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: extra_roots: %s has no PEM certificate", v.Origin, v.Value)
		}
	}
	return pool, nil
}

// upstreamProxy is the host's way out: the configuration's, else the one the
// user's own programs use.
func (s *settings) upstreamProxy(host Host) (proxy, noProxy string) {
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		if value, ok := host.lookup(name); ok {
			noProxy = value
		}
	}
	if set := s.UpstreamProxy; set.IsSet() {
		return set.Value, noProxy
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		if value, ok := host.lookup(name); ok && value != "" {
			proxy = value
		}
	}
	return proxy, noProxy
}
