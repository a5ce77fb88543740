package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// upstream is a proxy that the host itself needs to reach the world.
type upstream struct {
	url      *url.URL
	tls      *tls.Config // nil for an http proxy
	bypasses func(*url.URL) (*url.URL, error)
}

func newUpstream(cfg Config) (*upstream, error) {
	if cfg.Proxy == "" {
		return nil, nil
	}
	address := cfg.Proxy
	if !strings.Contains(address, "://") { // as the variables of the environment allow
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, errors.New("the host's proxy: only http and https proxies are understood; write http://[USER:PASSWORD@]HOST:PORT") // its URL may hold a password
	}
	up := &upstream{url: u}
	if u.Scheme == "https" {
		up.tls = &tls.Config{RootCAs: cfg.Roots, ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	}
	host := &url.URL{Scheme: u.Scheme, Host: u.Host}
	up.bypasses = (&httpproxy.Config{HTTPSProxy: host.String(), NoProxy: cfg.NoProxy}).ProxyFunc()
	return up, nil
}

// serves reports whether the way to a destination leads through the proxy.
// Services of the host never do.
func (u *upstream) serves(to reach) bool {
	if u == nil || to.direct {
		return false
	}
	target := &url.URL{Scheme: "https", Host: net.JoinHostPort(to.host, strconv.Itoa(to.port))}
	via, err := u.bypasses(target)
	return err == nil && via != nil
}

// proxyError is a failure of the host's proxy, or on the way to it: not of
// what was to be reached.
type proxyError struct {
	proxy string // its address, which the desk is not told
	err   error
}

// Error implements error.
func (e *proxyError) Error() string { return "the host's proxy " + e.proxy + ": " + e.err.Error() }

// Unwrap returns what went wrong.
func (e *proxyError) Unwrap() error { return e.err }

// connect opens a tunnel to hostport.
func (u *upstream) connect(ctx context.Context, hostport string) (net.Conn, error) {
	conn, err := u.dial(ctx)
	if err != nil {
		return nil, &proxyError{u.url.Host, err}
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	out, err := u.tunnel(conn, hostport)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, &proxyError{u.url.Host, err}
	}
	return out, nil
}

func (u *upstream) dial(ctx context.Context) (net.Conn, error) {
	port := u.url.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.url.Scheme]
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.url.Hostname(), port))
	if err != nil || u.tls == nil {
		return conn, err
	}
	secure := tls.Client(conn, u.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// tunnel says CONNECT. What the proxy sends after its answer belongs to the
// tunnel; a server that speaks first may already have.
func (u *upstream) tunnel(conn net.Conn, hostport string) (net.Conn, error) {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: hostport}, Host: hostport, Header: make(http.Header)}
	if user := u.url.User; user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	buffered := bufio.NewReader(conn)
	resp, err := http.ReadResponse(buffered, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("refused the connection: %s", resp.Status)
	}
	if buffered.Buffered() == 0 {
		return conn, nil
	}
	early, _ := buffered.Peek(buffered.Buffered())
	return &earlyConn{Conn: conn, early: append([]byte(nil), early...)}, nil
}

// earlyConn yields bytes that were read too soon first.
type earlyConn struct {
	net.Conn
	early []byte
}

func (c *earlyConn) Read(b []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.early)
	c.early = c.early[n:]
	return n, nil
}

// NetConn returns the connection below.
func (c *earlyConn) NetConn() net.Conn { return c.Conn }

// CloseWrite passes a half-close on.
func (c *earlyConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
