//go:build linux

package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// internet is an upstream proxy of the host behind which names lead to servers
// of a test: public names are reached, and nothing leaves the machine.
type internet struct {
	h     *host
	proxy net.Listener
	ca    *x509.Certificate
	key   *ecdsa.PrivateKey

	mu    sync.Mutex
	sites map[string]string // HOST:PORT to an address of loopback
	asked []string          // every destination, in order
}

// newInternet makes it the host's, with an authority that the host trusts.
// more is further configuration of the user.
func newInternet(h *host, more string) *internet {
	h.Helper()
	n := &internet{h: h, sites: map[string]string{}}
	n.ca, n.key = n.certificate(nil, "Test Authority")
	h.write("config/carrel/ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.ca.Raw})))
	var err error
	if n.proxy, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { n.proxy.Close() })
	go n.run()
	h.write("config/carrel/config.yaml", "upstream_proxy: http://"+n.proxy.Addr().String()+"\nextra_roots: [ca.pem]\n"+more)
	return n
}

func (n *internet) certificate(parent *x509.Certificate, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		n.h.Fatal(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true}
	signer := key
	if parent == nil {
		parent, t.IsCA, t.KeyUsage = t, true, x509.KeyUsageCertSign
	} else {
		signer, t.DNSNames, t.KeyUsage = n.key, []string{name}, x509.KeyUsageDigitalSignature
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, signer)
	if err != nil {
		n.h.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		n.h.Fatal(err)
	}
	return c, key
}

// serve answers at https://NAME.
func (n *internet) serve(name string, handler http.Handler) {
	n.h.Helper()
	cert, key := n.certificate(n.ca, name)
	config := &tls.Config{NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	n.listen(net.JoinHostPort(name, "443"), &http.Server{Handler: handler, TLSConfig: config})
}

// servePlain answers at http://NAME.
func (n *internet) servePlain(name string, handler http.Handler) {
	n.h.Helper()
	n.listen(net.JoinHostPort(name, "80"), &http.Server{Handler: handler})
}

func (n *internet) listen(name string, s *http.Server) {
	n.h.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.h.Fatal(err)
	}
	s.ErrorLog = log.New(io.Discard, "", 0)
	n.h.Cleanup(func() { s.Close() })
	n.mu.Lock()
	n.sites[name] = l.Addr().String()
	n.mu.Unlock()
	if s.TLSConfig != nil {
		go s.ServeTLS(l, "", "")
		return
	}
	go s.Serve(l)
}

func (n *internet) run() {
	for {
		c, err := n.proxy.Accept()
		if err != nil {
			return
		}
		go n.tunnel(c)
	}
}

// tunnel answers CONNECT.
func (n *internet) tunnel(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil || r.Method != http.MethodConnect {
		return
	}
	n.mu.Lock()
	to, ok := n.sites[r.Host]
	n.asked = append(n.asked, r.Host)
	n.mu.Unlock()
	out, err := net.Dial("tcp", to)
	if !ok || err != nil {
		_, _ = io.WriteString(c, "HTTP/1.1 502 no such host\r\n\r\n")
		return
	}
	defer out.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(out, in)
		_ = out.(*net.TCPConn).CloseWrite()
		close(done)
	}()
	_, _ = io.Copy(c, out)
	_ = c.(*net.TCPConn).CloseWrite()
	<-done
}

// seen is what a server got of a request.
type seen struct {
	mu   sync.Mutex
	list []string // METHOD HOST PATH?QUERY Authorization
}

func (s *seen) add(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, strings.Join([]string{r.Method, r.Host, r.URL.RequestURI(), r.Header.Get("Authorization") + r.Header.Get("X-Api-Key")}, " "))
}

// has reports whether some request had all of the words.
func (s *seen) has(words ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.list {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}

func (s *seen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.list, "\n")
}
