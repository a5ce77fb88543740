package egress

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framesOf is a client of HTTP/2 that sends any header fields at all.
func framesOf(t *testing.T, d *testDesk, host string) *http2.Framer {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(d.door.cfg.Authority.PEM())
	c := tls.Client(d.connect(host, "443"), &tls.Config{RootCAs: pool, ServerName: host, NextProtos: []string{"h2"}})
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

// statusOf sends one request of these fields and returns the status of its
// answer, or "reset".
func statusOf(t *testing.T, f *http2.Framer, body string, fields ...string) string {
	t.Helper()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // to memory
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: body == ""}); err != nil {
		t.Fatal(err)
	}
	if body != "" {
		if err := f.WriteData(1, true, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return fmt.Sprint(err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "reset"
		}
	}
}

// 119: what HTTP/2 can say in two ways is refused, as in HTTP/1.
func TestAttackAmbiguousFrames(t *testing.T) {
	o := newOrigin(t, false, nil)
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET", "POST"}}}}})
	plain := []string{":method", "POST", ":scheme", "https", ":authority", "example.com", ":path", "/x"}
	for name, c := range map[string]struct {
		want   string
		fields []string
	}{
		"plain":               {"200", plain},
		"one length":          {"200", append(plain[:8:8], "content-length", "3")},
		"host beside":         {"200", append(plain[:8:8], "host", "example.com")},
		"another host beside": {"403", append(plain[:8:8], "host", "evil.test")},
		"host within path":    {"403", append(plain[:6:6], ":path", "https://evil.test/x")},
		"user within path":    {"403", append(plain[:6:6], ":path", "https://u@example.com/x")},
		"two lengths":         {"400", append(plain[:8:8], "content-length", "3", "content-length", "4")},
		"odd length":          {"400", append(plain[:8:8], "content_length", "0")},
		"odd coding":          {"400", append(plain[:8:8], "transfer_encoding", "chunked")},
		"coding":              {"400", append(plain[:8:8], "transfer-encoding", "chunked")},
		"CONNECT":             {"403", []string{":method", "CONNECT", ":authority", "example.com:443"}},
		"two authorities":     {"reset", append(plain[:8:8], ":authority", "evil.test")},
	} {
		if got := statusOf(t, framesOf(t, d, "example.com"), "abc", c.fields...); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if n := len(o.asked()); n != 3 {
		t.Errorf("the origin was asked %v", o.asked())
	}
}
