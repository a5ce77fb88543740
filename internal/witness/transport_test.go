package witness

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A witness is asked through the host's proxy, where there is one, and over TLS
// only where its certificate is by an authority that counts.
func TestWaysOut(t *testing.T) {
	tr := newTree(t)
	tr.grow(t, 3, "a")
	r := tr.request(t, 0)
	k := newKey(t, "w.example")
	answer := func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasSuffix(req.URL.Path, "/prefix/add-checkpoint") || req.Method != http.MethodPost {
			http.NotFound(w, req)
			return
		}
		fmt.Fprint(w, k.cosign(r.Text, time.Now().Unix()))
	}
	proxied := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		proxied = req.URL.String()
		answer(w, req)
	}))
	defer proxy.Close()
	c := &Client{HTTP: NewHTTP(proxy.URL, "", nil)}
	n := c.ask(t.Context(), Witness{k.witness, "http://witness.invalid/prefix/"}, r)
	if n.Err != nil || proxied != "http://witness.invalid/prefix/add-checkpoint" {
		t.Errorf("through a proxy: %v, asked for %q", n.Err, proxied)
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(answer))
	defer secure.Close()
	w := Witness{k.witness, secure.URL + "/prefix"}
	if n := (&Client{HTTP: NewHTTP(proxy.URL, "", nil)}).ask(t.Context(), w, r); n.Err == nil {
		t.Error("a certificate that nobody vouches for")
	}
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	if n := (&Client{HTTP: NewHTTP(proxy.URL, "", roots)}).ask(t.Context(), w, r); n.Err != nil {
		t.Errorf("with its authority: %v", n.Err)
	}
}
