package egress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// 116: what is wrong with a certificate decides what helps; another authority
// in the configuration does so only where nobody knows the authority.
func TestAdviceFitsWhatIsWrongWithACertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change  func(*x509.Certificate)
		unknown bool
		want    string
	}{
		"expired":           {func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, false, "renew"},
		"not yet":           {func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) }, false, "clock"},
		"another name":      {func(c *x509.Certificate) { c.DNSNames = []string{"other.test"} }, false, "by a name"},
		"no name":           {func(c *x509.Certificate) { c.DNSNames = nil }, false, "by a name"},
		"for clients":       {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, false, "replace"},
		"unknown authority": {func(*x509.Certificate) {}, true, "extra_roots"},
	} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
			DNSNames: []string{"ok.test"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		c.change(template)
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		if !c.unknown {
			roots.AddCert(cert)
		}
		_, err = cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "ok.test"})
		if err == nil {
			t.Fatalf("%s: it is good", name)
		}
		help := certificateHelp(carrel.Action{Host: "ok.test"}, fmt.Errorf("dialling: %w", &tls.CertificateVerificationError{Err: err}))
		if len(help) != 1 || !strings.Contains(help[0], c.want) || strings.Contains(help[0], "extra_roots") != c.unknown {
			t.Errorf("%s (%v): %q", name, err, help)
		}
	}
}
