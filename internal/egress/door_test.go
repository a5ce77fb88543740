package egress

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

const public = "93.184.216.34" // stands for the internet; leads to loopback in tests

// echoServer answers every line with itself.
func echoServer(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go serveEach(l, func(c net.Conn) { io.Copy(c, c) })
	return l.Addr().String()
}

// serveEach serves the connections to a listener until it is closed.
func serveEach(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

func say(t testing.TB, c net.Conn, line string) (string, error) {
	t.Helper()
	if _, err := fmt.Fprintln(c, line); err != nil {
		return "", err
	}
	got, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(got), err
}

func TestAllowedConnectionIsCarriedByName(t *testing.T) {
	d := newDesk(t, setup{
		grants:    Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{5432}, Protocol: carrel.ProtoTCP}}},
		addresses: map[string][]string{"ok.test": {public}},
		dial:      map[string]string{public + ":5432": echoServer(t)},
	})
	c := d.connect("ok.test", "5432")
	if got, err := say(t, c, "hello"); got != "hello" {
		t.Fatalf("echo: %q, %v", got, err)
	}
	c.Close()
	eventually(t, "intent and result of the connection", func() bool {
		var intent, result bool
		for _, r := range d.log.Records() {
			intent = intent || r.Kind == carrel.KindIntent && r.Action.Operation == carrel.OpConnect && r.Action.Host == "ok.test" && r.Action.Port == 5432
			result = result || r.Kind == carrel.KindResult && r.Outcome.Status == carrel.OutcomeDone && r.Outcome.Counts["bytes_out"] == 6 && r.Outcome.Counts["bytes_in"] == 6
		}
		return intent && result
	})
}

// 88: programs that ignore every proxy variable are refused at once.
func TestUnnamedDestinationsAreRefusedAtOnce(t *testing.T) {
	d := newDesk(t, setup{grants: Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{443}}}}})
	if addr, err := d.lookup("evil.test"); err == nil {
		t.Errorf("evil.test resolves to %s", addr)
	}
	d.wantRefused(carrel.OpResolve, "evil.test", "egress/unnamed")
	for network, addr := range map[string]string{"tcp": "1.1.1.1:22", "tcp4": "10.0.0.1:8080", "tcp6": "[2606:4700::1111]:443"} {
		start := time.Now()
		if c, err := d.dial(network, addr); err == nil {
			c.Close()
			t.Errorf("connect to %s succeeded", addr)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("refusing %s took %s", addr, took)
		}
	}
	d.wantRefused(carrel.OpConnect, "1.1.1.1", "egress/unnamed")
	d.wantRefused(carrel.OpConnect, "2606:4700::1111", "egress/unnamed")
	c, err := d.dial("tcp", "1.1.1.1:443") // a captured port: connect cannot know, the first read does
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("a refused connection ended with %v, want a reset", err)
	}
	d.wantRefused(carrel.OpConnect, "1.1.1.1", "egress/unnamed")
}

func TestHTTPIsCarriedAndDenialIsReadable(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Host, r.URL.RequestURI())
	}))
	defer srv.Close()
	d := newDesk(t, setup{
		grants:    Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{80}}}},
		addresses: map[string][]string{"ok.test": {public}},
		dial:      map[string]string{public + ":80": srv.Listener.Addr().String()},
	})
	body, status := get(t, d.client(), "http://ok.test/a%2Fb?x=1;2")
	if status != 200 || body != "ok.test /a%2Fb?x=1;2" {
		t.Errorf("allowed: %d %q", status, body)
	}
	body, status = get(t, d.client(), "http://1.1.1.1/")
	if status != 403 || !strings.Contains(body, `"rule":"egress/unnamed"`) || !strings.Contains(body, "--allow 1.1.1.1:80") || !strings.Contains(body, `"action":"act_`) {
		t.Errorf("denied: %d %s", status, body)
	}
}

func get(t testing.TB, c *http.Client, url string) (string, int) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return string(b), resp.StatusCode
}

func TestTLSPassesThroughUnchanged(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "inner") }))
	defer srv.Close()
	d := newDesk(t, setup{
		grants:    Grants{Rules: []Rule{{Host: "example.com"}}},
		addresses: map[string][]string{"example.com": {public}},
		dial:      map[string]string{public + ":443": srv.Listener.Addr().String()},
	})
	client := d.client()
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	if body, status := get(t, client, "https://example.com/"); status != 200 || body != "inner" {
		t.Errorf("%d %q", status, body)
	}
}
