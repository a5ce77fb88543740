package egress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
)

const (
	// authorityTime is how long a run's authority is good for; a run that
	// lasts longer loses its inspected destinations, not their inspection.
	authorityTime = 14 * 24 * time.Hour
	// leafTime is how long a certificate for one destination is used.
	leafTime = 12 * time.Hour
	// clockSlack is for clocks that were set back.
	clockSlack = time.Hour
	// maxLeaves bounds the certificates that are kept.
	maxLeaves = 1024
)

// Authority signs the certificates that the door shows where it inspects. It
// is made for one run, its key never leaves memory, and it is good for the
// names that the run's rules let the door inspect and for nothing else.
type Authority struct {
	pem    []byte
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	leaf   *ecdsa.PrivateKey // one key for all of them: they all end here
	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// Destination is a canonical host and a port.
type Destination struct {
	Host string
	Port int
}

// NewAuthority returns the authority a run needs, or nil if nothing is to be
// inspected. bound is where credentials go.
func NewAuthority(rules *Rules, bound []Destination) (*Authority, error) {
	names, addresses := rules.inspected(bound)
	if len(names)+len(addresses) == 0 {
		return nil, nil
	}
	key, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	leaf, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("making the run's authority: %w", err)
	}
	template := authorityTemplate(names, addresses)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making the run's authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making the run's authority: %w", err)
	}
	return &Authority{pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		cert: cert, key: key, leaf: leaf, leaves: make(map[string]*tls.Certificate)}, nil
}

func authorityTemplate(names []string, addresses []*net.IPNet) *x509.Certificate {
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Carrel, authority of one run", Organization: []string{"Carrel"}},
		NotBefore: now.Add(-clockSlack), NotAfter: now.Add(authorityTime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: names, PermittedIPRanges: addresses,
	}
	if len(names) == 0 { // an empty list would permit every name
		t.PermittedDNSDomains = []string{"invalid"}
	}
	if len(addresses) == 0 {
		t.ExcludedIPRanges = []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}}
	}
	return t
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil { // crypto/rand never fails
		panic(err)
	}
	return n.Add(n, big.NewInt(1))
}

// PEM is the authority's certificate, for the desk's bundles.
func (a *Authority) PEM() []byte { return slices.Clone(a.pem) }

// covers reports whether a's certificates are good for a canonical host. Rules
// that came later may inspect more.
func (a *Authority) covers(host string) bool {
	if a == nil {
		return false
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return slices.ContainsFunc(a.cert.PermittedIPRanges, func(n *net.IPNet) bool { return n.Contains(addr.AsSlice()) })
	}
	return slices.ContainsFunc(a.cert.PermittedDNSDomains, func(d string) bool { return host == d || strings.HasSuffix(host, "."+d) })
}

// certificate returns a certificate for a canonical host.
func (a *Authority) certificate(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.leaves[host]; ok && time.Until(c.Leaf.NotAfter) > leafTime/4 {
		return c, nil
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{Organization: []string{"Carrel"}},
		NotBefore: now.Add(-clockSlack), NotAfter: now.Add(leafTime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		t.IPAddresses = []net.IP{addr.AsSlice()}
	} else {
		t.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &a.leaf.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("a certificate for %s: %w", host, err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("a certificate for %s: %w", host, err)
	}
	if len(a.leaves) >= maxLeaves {
		clear(a.leaves)
	}
	c := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.leaf, Leaf: parsed}
	a.leaves[host] = c
	return c, nil
}

// inspected lists the names and addresses that the door may have to show a
// certificate for.
func (rs *Rules) inspected(bound []Destination) (names []string, addresses []*net.IPNet) {
	if rs == nil {
		return nil, nil
	}
	for _, c := range rs.list {
		switch {
		case !c.rule.exact() || !c.speaks(carrel.ProtoTLS):
		case c.prefix.IsValid():
			addresses = append(addresses, network(c.prefix))
		case c.suffix != "":
			names = append(names, c.suffix[1:])
		default:
			names = append(names, c.name)
		}
	}
	for _, d := range bound {
		if c, ok := rs.match(d.Host, d.Port); !ok || c.protocols[d.Port] != carrel.ProtoTLS {
			continue
		}
		if addr, err := netip.ParseAddr(d.Host); err == nil {
			addresses = append(addresses, network(netip.PrefixFrom(addr, addr.BitLen())))
		} else {
			names = append(names, d.Host)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), addresses
}

func network(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// speaks reports whether the rule has p on any port.
func (c compiled) speaks(p carrel.Protocol) bool {
	for _, q := range c.protocols {
		if p == q {
			return true
		}
	}
	return false
}

// config is for a handshake in the place of host. shown is set when the client
// is about to see the certificate.
func (a *Authority) config(host string, shown *bool) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			*shown = true
			return a.certificate(host)
		},
	}
}
