//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	originHost = "origin.test"
	kept       = 32               // connections that are kept
	download   = 100 << 20        // bytes
	longest    = 10 * time.Second // for requests on kept connections: then fewer are measured
)

// serveOrigin is the other end: HTTP/1.1 over TLS on loopback, small answers
// at / and a long one at /long. It prints its address.
func serveOrigin(args []string) ([]time.Duration, error) {
	pair, err := tls.LoadX509KeyPair(args[0], args[1])
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	fmt.Println(l.Addr())
	chunk := make([]byte, 1<<20)
	srv := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/long" {
				_, _ = io.WriteString(w, "hello")
				return
			}
			w.Header().Set("Content-Length", strconv.Itoa(download))
			for range download / len(chunk) {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}),
	}
	return nil, srv.ServeTLS(l, "", "")
}

// client is how a load reaches the origin.
type client struct {
	addr  string
	proxy *url.URL // nil: none
	tls   *tls.Config
}

// newClient reads HOST:PORT, the proxy ("-" for none, "env" for what the
// environment says) and a file of authorities.
func newClient(args []string) (client, error) {
	pem, err := os.ReadFile(args[2])
	if err != nil {
		return client{}, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	if path := os.Getenv("SSL_CERT_FILE"); path != "" { // inside a desk: the run's authority
		if more, err := os.ReadFile(path); err == nil {
			pool.AppendCertsFromPEM(more)
		}
	}
	c := client{addr: args[0], tls: &tls.Config{RootCAs: pool, ServerName: originHost, NextProtos: []string{"http/1.1"}}}
	switch args[1] {
	case "-":
	case "env":
		if c.proxy, err = url.Parse(os.Getenv("HTTPS_PROXY")); err == nil {
			err = listening(c.proxy.Host)
		}
	default:
		c.proxy = &url.URL{Host: args[1]}
	}
	return c, err
}

// listening waits for a server that may still be starting.
func listening(addr string) error {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}

func (c client) dial() (net.Conn, *bufio.Reader, error) {
	to := c.addr
	if c.proxy != nil {
		to = c.proxy.Host
	}
	conn, err := net.DialTimeout("tcp", to, 10*time.Second)
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(6 * longest))
	if c.proxy != nil {
		if err := c.tunnel(conn); err != nil {
			return nil, nil, fmt.Errorf("the proxy: %w", err)
		}
	}
	secure := tls.Client(conn, c.tls)
	if err := secure.Handshake(); err != nil {
		return nil, nil, err
	}
	return secure, bufio.NewReaderSize(secure, 64<<10), nil
}

// tunnel asks the proxy for the origin.
func (c client) tunnel(conn net.Conn) error {
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", c.addr, c.addr)
	if password, ok := c.proxy.User.Password(); ok {
		fmt.Fprintf(conn, "Proxy-Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(c.proxy.User.Username()+":"+password)))
	}
	if _, err := io.WriteString(conn, "\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), &http.Request{Method: "CONNECT"})
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return err
}

// get asks for a path and reads the answer, as cheaply as it can be done.
func (c client) get(conn net.Conn, r *bufio.Reader, path string) error {
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+c.addr+"\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"); err != nil {
		return err
	}
	length := int64(-1)
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.Contains(line, []byte(" 200 ")) {
			return fmt.Errorf("answered %q", line)
		}
		if len(line) == 2 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(": ")); bytes.EqualFold(name, []byte("Content-Length")) {
			length, _ = strconv.ParseInt(strings.TrimSpace(string(value)), 10, 64)
		}
	}
	if length < 0 {
		return errors.New("the answer does not say its length")
	}
	_, err := io.CopyN(io.Discard, r, length)
	return err
}

// openWork opens connections one after the other with one request each:
// median and 99th percentile.
func openWork(args []string) ([]time.Duration, error) {
	c, err := newClient(args)
	if err != nil {
		return nil, err
	}
	var each []time.Duration
	for range 300 {
		started := time.Now()
		conn, r, err := c.dial()
		if err != nil {
			return nil, err
		}
		if err := c.get(conn, r, "/"); err != nil {
			return nil, err
		}
		each = append(each, time.Since(started))
		_ = conn.Close()
	}
	slices.Sort(each)
	return []time.Duration{each[len(each)/2], each[len(each)*99/100]}, nil
}

// keepWork sends requests on connections that are kept, as many as it is told
// or as the bound in time lets it: the time from one to the next, and the 99th
// percentile of how long one took.
func keepWork(args []string) ([]time.Duration, error) {
	c, err := newClient(args)
	if err != nil {
		return nil, err
	}
	total, err := strconv.Atoi(args[3])
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var each []time.Duration
	var failed error
	var done sync.WaitGroup
	var started time.Time
	start := make(chan struct{})
	for range kept {
		conn, r, err := c.dial() // one after the other: some peers have short queues
		done.Go(func() {
			<-start
			own := make([]time.Duration, 0, total/kept)
			for at := time.Now(); err == nil && len(own) < total/kept && time.Since(started) < longest; at = time.Now() {
				err = c.get(conn, r, "/")
				own = append(own, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			each, failed = append(each, own...), errors.Join(failed, err)
		})
	}
	started = time.Now()
	close(start)
	done.Wait()
	took := time.Since(started)
	if failed != nil {
		return nil, failed
	}
	slices.Sort(each)
	return []time.Duration{took / time.Duration(len(each)), each[len(each)*99/100]}, nil
}

// longWork downloads the long answer.
func longWork(args []string) ([]time.Duration, error) {
	c, err := newClient(args)
	if err != nil {
		return nil, err
	}
	conn, r, err := c.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	started := time.Now()
	if err := c.get(conn, r, "/long"); err != nil {
		return nil, err
	}
	return []time.Duration{time.Since(started)}, nil
}

// way is one way to the origin.
type way struct {
	name, missing string
	proxy         string // "-": none; "env": what the environment says
	host          string // how the origin is named
	wrap          func([]string) once
	close         func()
}

// http measures requests to a TLS server on this machine: direct, through
// tunnels, and through programs that read what is said inside.
func (b *bench) http() error {
	ws := b.path("http")
	if err := b.tree(ws, 10); err != nil {
		return err
	}
	ca, cert, key, err := b.authority()
	if err != nil {
		return err
	}
	addr, stop, err := b.startOrigin(cert, key)
	if err != nil {
		return err
	}
	defer stop()
	_, port, _ := net.SplitHostPort(addr)
	ways := b.ways(ws, port, ca)
	for _, w := range ways {
		if w.close != nil {
			defer w.close()
		}
	}
	const requests = 20_000
	samples := make([][5]sample, len(ways))
	for range max(3, b.o.n/7) {
		for i := range ways {
			w := &ways[i]
			if w.missing != "" {
				continue
			}
			measure := func(work string, more ...string) []float64 {
				out, err := figures(w.wrap(append([]string{b.self, "work", work, w.host + ":" + port, w.proxy, ca}, more...)))
				if err != nil && w.missing == "" {
					w.missing = err.Error()
				}
				return append(out, 0, 0)
			}
			opened, many, long := measure("open"), measure("keep", strconv.Itoa(requests)), measure("long")
			for j, v := range []float64{opened[0], opened[1], 1000 / many[0], many[1], download / 1048576 / (long[0] / 1000)} {
				samples[i][j] = append(samples[i][j], v)
			}
		}
	}
	t := table{Title: fmt.Sprintf("HTTPS to a server on this machine, %d kept connections", kept),
		Columns: []string{"new connection ms", "p99", "requests/s", "x", "p99 ms", "100 MiB: MiB/s", "x "}}
	for i, w := range ways {
		s := samples[i]
		t.Rows = append(t.Rows, row{Name: w.name, Missing: w.missing, Figures: map[string]float64{
			"new connection ms": s[0].median(), "p99": s[1].median(), "requests/s": s[2].median(), "x": s[2].median() / samples[0][2].median(),
			"p99 ms": s[3].median(), "100 MiB: MiB/s": s[4].median(), "x ": s[4].median() / samples[0][4].median(),
		}})
	}
	b.print(t)
	if b.o.ways != "" {
		return nil
	}
	b.flat(slices.DeleteFunc(ways, func(w way) bool { return !strings.HasPrefix(w.name, "carrel") }), port, ca)
	return nil
}

func (b *bench) startOrigin(cert, key string) (addr string, stop func(), err error) {
	cmd := exec.Command(b.self, "work", "origin", cert, key)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	addr, err = bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(addr), func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }, err
}
