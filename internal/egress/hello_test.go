package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// clientHello is what Go's own client sends for a name.
func clientHello(t testing.TB, name string) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	go tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true}).HandshakeContext(context.Background())
	server.SetDeadline(time.Now().Add(5 * time.Second))
	defer server.Close()
	h, err := readHello(server)
	if err != nil {
		t.Fatal(err)
	}
	return h.raw
}

// withExtension appends an extension to a ClientHello in one record.
func withExtension(raw []byte, kind int, data []byte) []byte {
	out := slices.Clone(raw)
	body := out[recordHeader+4:]
	at := 2 + 32
	at += 1 + int(body[at])
	at += 2 + int(body[at])<<8 + int(body[at+1])
	at += 1 + int(body[at])
	ext := append([]byte{byte(kind >> 8), byte(kind), byte(len(data) >> 8), byte(len(data))}, data...)
	grow := func(b []byte, n int) { // a big-endian length
		for i := len(b) - 1; i >= 0; i-- {
			n += int(b[i])
			b[i], n = byte(n), n>>8
		}
	}
	grow(body[at:at+2], len(ext))
	grow(out[recordHeader+1:recordHeader+4], len(ext))
	grow(out[3:5], len(ext))
	return append(out, ext...)
}

// fragmented spreads a ClientHello over records of n bytes.
func fragmented(raw []byte, n int) (out []byte) {
	for part := range slices.Chunk(raw[recordHeader:], n) {
		out = append(out, raw[0], raw[1], raw[2], byte(len(part)>>8), byte(len(part)))
		out = append(out, part...)
	}
	return out
}

func TestReadHello(t *testing.T) {
	raw := clientHello(t, "ok.test")
	h, err := readHello(bytes.NewReader(append(slices.Clone(raw), "more"...)))
	if err != nil || h.sni != "ok.test" || h.ech || !bytes.Equal(h.raw, raw) {
		t.Errorf("%q %v %v, %v", h.sni, h.ech, bytes.Equal(h.raw, raw), err)
	}
	for _, n := range []int{1, 3, 100} {
		if h, err := readHello(bytes.NewReader(fragmented(raw, n))); err != nil || h.sni != "ok.test" {
			t.Errorf("in records of %d bytes: %q, %v", n, h.sni, err)
		}
	}
	if h, err := readHello(bytes.NewReader(withExtension(raw, extensionECH, []byte{1, 2, 3}))); err != nil || !h.ech {
		t.Errorf("ECH is not seen: %v", err)
	}
	if h, err := readHello(bytes.NewReader(clientHello(t, ""))); err != nil || h.sni != "" {
		t.Errorf("without a name: %q, %v", h.sni, err)
	}
	for name, bad := range map[string][]byte{
		"two names":       withExtension(raw, extensionSNI, []byte{0, 12, 0, 0, 9, 'e', 'v', 'i', 'l', '.', 't', 'e', 's', 't'}),
		"cut short":       raw[:len(raw)-1],
		"ServerHello":     append(append(slices.Clone(raw[:5]), 2), raw[6:]...),
		"alert":           {21, 3, 1, 0, 2, 1, 0},
		"empty records":   {22, 3, 1, 0, 0, 22, 3, 1, 0, 0},
		"ssh":             []byte("SSH-2.0-OpenSSH_9.9\r\n"),
		"http":            []byte("GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
		"sslv2":           {0x80, 0x2e, 1, 0, 2},
		"huge":            append([]byte{22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff}, make([]byte, 1<<14)...),
		"nothing":         {},
		"trailing record": func() []byte { b := append(slices.Clone(raw), 0); b[4]++; return b }(),
	} {
		if h, err := readHello(bytes.NewReader(bad)); err == nil {
			t.Errorf("%s was read as a ClientHello for %q", name, h.sni)
		}
	}
}

// Whatever Go's own server sees as the name, we see, or we refuse.
func FuzzHelloAgreesWithTLS(f *testing.F) {
	raw := clientHello(f, "ok.test")
	f.Add(raw)
	f.Add(withExtension(raw, extensionECH, []byte{1}))
	f.Add(fragmented(raw, 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHello(bytes.NewReader(b))
		if err != nil {
			return
		}
		var seen *tls.ClientHelloInfo
		conn := &replay{Reader: bytes.NewReader(b)}
		stop := errors.New("seen")
		_ = tls.Server(conn, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			seen = i
			return nil, stop
		}}).HandshakeContext(context.Background())
		if seen != nil && strings.ToLower(seen.ServerName) != h.sni {
			t.Errorf("we read %q, crypto/tls %q", h.sni, seen.ServerName)
		}
	})
}

type replay struct {
	net.Conn
	io.Reader
}

func (r *replay) Read(b []byte) (int, error)  { return r.Reader.Read(b) }
func (r *replay) Write(b []byte) (int, error) { return len(b), nil }
func (r *replay) Close() error                { return nil }

// 113: a tls rule carries TLS and nothing else. 115: under the decided name.
func TestOnlyTLSForTheDecidedNamePasses(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer srv.Close()
	front := srv.Listener.Addr().String()
	d := newDesk(t, setup{
		grants:    Grants{Rules: []Rule{{Host: "ok.test"}, {Host: "other.test"}, {Host: "grease.test", ECH: ECHAllow}, {Host: public}}},
		addresses: map[string][]string{"ok.test": {public}, "other.test": {public}, "grease.test": {public}},
		dial:      map[string]string{public + ":443": front},
	})
	ech := []byte{0, 0, 1, 0, 1, 0, 0, 0, 0, 0}
	good := clientHello(t, "ok.test")
	for _, c := range []struct {
		name, host string
		send       []byte
		rule       string // "" passes
	}{
		{"its own name", "ok.test", good, ""},
		{"ssh", "ok.test", []byte("SSH-2.0-OpenSSH_9.9\r\n"), "egress/not-tls"},
		{"http", "ok.test", []byte("GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n"), "egress/not-tls"},
		{"random", "ok.test", []byte("\x8fq\x00\x01canary"), "egress/not-tls"},
		{"http2 preface", "ok.test", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "egress/not-tls"},
		{"another name", "ok.test", clientHello(t, "evil.test"), "egress/server-name"},
		{"another allowed name", "ok.test", clientHello(t, "other.test"), "egress/server-name"},
		{"no name", "ok.test", clientHello(t, ""), "egress/server-name"},
		{"hidden name", "ok.test", withExtension(good, extensionECH, ech), "egress/ech"},
		{"hidden name where that is allowed", "grease.test", withExtension(clientHello(t, "grease.test"), extensionECH, ech), ""},
		{"another name where hiding is allowed", "grease.test", withExtension(clientHello(t, "evil.test"), extensionECH, ech), "egress/server-name"},
	} {
		before := len(d.dialledTo())
		addr, err := d.lookup(c.host)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := d.dial("tcp", addr+":443")
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		conn.Write(c.send)
		n, err := conn.Read(make([]byte, 16))
		conn.Close()
		if passed := n > 0; passed != (c.rule == "") {
			t.Errorf("%s: read %d bytes, %v", c.name, n, err)
		}
		if c.rule != "" {
			if len(d.dialledTo()) != before {
				t.Errorf("%s: the host was dialled all the same", c.name)
			}
			eventually(t, c.name+" reported", func() bool { return d.lastBreach().Rule == c.rule })
			if c.name == "no name" && !strings.Contains(d.lastBreach().Reason, "asks for no name") {
				t.Errorf("%s: %s", c.name, d.lastBreach().Reason)
			}
		}
	}
	for _, rule := range []string{"egress/not-tls", "egress/server-name", "egress/ech"} {
		d.wantBreach(rule)
	}
	literal := &tls.Config{InsecureSkipVerify: true}
	conn, err := d.dial("tcp", public+":443")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := tls.Client(conn, literal).HandshakeContext(context.Background()); err != nil {
		t.Errorf("an allowed address, without a name: %v", err)
	}
}

// 112: only the ports of the rule.
func TestPortsOfTheRuleOnly(t *testing.T) {
	d := newDesk(t, setup{
		grants:    Grants{Rules: []Rule{{Host: "ok.test"}, {Host: "db.test", Ports: []int{6379}, Protocol: carrel.ProtoTCP}}},
		addresses: map[string][]string{"ok.test": {public}, "db.test": {public}},
		dial:      map[string]string{public + ":6379": echoServer(t)},
	})
	for _, port := range []string{"22", "25", "80", "6379", "8443"} {
		if got, err := d.exchange("ok.test", port, "canary"); err == nil {
			t.Errorf("port %s answered %q", port, got)
		}
	}
	d.wantRefused(carrel.OpConnect, "ok.test", "egress/port")
	if got, err := d.exchange("db.test", "6379", "hello"); got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if len(d.dialledTo()) != 1 {
		t.Errorf("dialled %v", d.dialledTo())
	}
}
