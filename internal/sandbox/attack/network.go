//go:build linux

package attack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// reach is how long a connection may take: a wall refuses at once.
const reach = 10 * time.Second

// said connects and says something; an answer may take as long as wait.
func said(network, address, text string, wait time.Duration) (net.Conn, error) {
	c, err := net.DialTimeout(network, address, reach)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(c, text); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// reaches connects, asks, and looks whether anybody but Carrel answers: a port
// that some rule names is accepted, so that the name can be judged.
func reaches(address string) func(*Stage) error {
	return func(*Stage) error {
		c, err := said("tcp", address, "GET / HTTP/1.1\r\nHost: attack\r\n\r\n", reach)
		if err != nil {
			return err
		}
		defer c.Close()
		b := make([]byte, 512)
		switch n, err := c.Read(b); {
		case n > 0 && strings.HasPrefix(string(b[:n]), "HTTP/1.1 403 "):
			return stopped("Carrel answers 403")
		case n > 0:
			return nil
		case errors.Is(err, io.EOF):
			return stopped("closed without a word")
		default:
			return err
		}
	}
}

// dials connects and says nothing.
func dials(network string, address func(*Stage) string) func(*Stage) error {
	return func(s *Stage) error {
		c, err := net.DialTimeout(network, address(s), reach)
		if err == nil {
			c.Close()
		}
		return err
	}
}

// asks sends a datagram and waits for an answer.
func asks(address func(*Stage) string) func(*Stage) error {
	return func(s *Stage) error {
		c, err := said("udp", address(s), "attack", 2*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Read(make([]byte, 64))
		return err
	}
}

// answered listens inside, connects and says a word.
func answered(network, address string) func(*Stage) error {
	return func(*Stage) error {
		l, err := net.Listen(network, address)
		if err != nil {
			return err
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				_, _ = c.Write([]byte("own"))
				c.Close()
			}
		}()
		c, err := net.DialTimeout(network, l.Addr().String(), reach)
		if err != nil {
			return err
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		if err == nil && string(b) != "own" {
			return fmt.Errorf("it says %q", b)
		}
		return err
	}
}

func unixTwin(s *Stage) error { return answered("unix", "/tmp/attack.sock")(s) }

// network are ways to addresses that nobody allowed.
func network() []Attack {
	const twinTries = "connect to an own server"
	twin := answered("tcp", "127.0.0.1:0")
	tcp := func(name, tries, address string) Attack {
		return Attack{Name: "tcp:" + name, Tries: tries, By: noRoute, Try: reaches(address), Twin: twin, TwinTries: twinTries}
	}
	port := func(host string) func(*Stage) string {
		return func(s *Stage) string {
			_, p, _ := net.SplitHostPort(s.TCP)
			return net.JoinHostPort(host, p)
		}
	}
	rows := []Attack{
		tcp("address", "connect to an address that nobody allowed", "192.0.2.1:443"),
		tcp("plain", "connect to it at port 80", "192.0.2.1:80"),
		tcp("ssh", "connect to it at port 22", "192.0.2.1:22"),
		tcp("dns-over-tls", "connect to it at port 853", "192.0.2.1:853"),
		tcp("metadata", "connect to a cloud's metadata", "169.254.169.254:80"),
		tcp("metadata6", "connect to a cloud's metadata over IPv6", "[fd00:ec2::254]:80"),
		tcp("private", "connect to a private network", "10.0.0.1:443"),
		tcp("home", "connect to a home router", "192.168.1.1:80"),
		tcp("carrier", "connect to a shared network", "100.64.0.1:80"),
		tcp("ipv6", "connect over IPv6", "[2001:db8::1]:443"),
		tcp("link-local", "connect over link-local IPv6", "[fe80::1%lo]:443"),
		tcp("synthetic", "connect to a made-up address that no name has", "198.19.255.254:443"),
		tcp("docker", "connect to a container engine on loopback", "127.0.0.1:2375"),
		{Name: "udp:address", Tries: "send a datagram to an address", By: noRoute, Try: asks(at("192.0.2.1:9999")), Twin: twin, TwinTries: twinTries},
		{Name: "udp:quic", Tries: "send a datagram to port 443", By: noRoute, Try: asks(at("192.0.2.1:443")), Twin: twin, TwinTries: twinTries},
		{Name: "udp:multicast", Tries: "send to a multicast group", By: either(noRoute, []error{unix.EINVAL}), Try: asks(at("224.0.0.251:5353")), Twin: twin, TwinTries: twinTries},
		{Name: "udp:ipv6", Tries: "send a datagram over IPv6", By: noRoute, Try: asks(at("[2001:db8::1]:53")), Twin: twin, TwinTries: twinTries},
		{Name: "interfaces", Tries: "find an interface besides the loopback", Try: interfaces, Twin: twin, TwinTries: twinTries},
	}
	for _, h := range [][2]string{{"loopback", "127.0.0.1"}, {"localhost", "localhost"}, {"loopback6", "::1"}, {"mapped", "::ffff:127.0.0.1"}, {"any", "0.0.0.0"}, {"loopback-net", "127.9.9.9"}} {
		rows = append(rows, Attack{Name: "host:" + h[0], Tries: "connect to a server of the host at " + h[1], By: noRoute, Try: dials("tcp", port(h[1])), Twin: twin, TwinTries: twinTries,
			Needs: func(s *Stage) bool { return s.TCP != "" }})
	}
	return append(rows,
		Attack{Name: "host:outward", Tries: "connect to a server of the host at its own address", By: noRoute, Twin: twin, TwinTries: twinTries,
			Try: func(s *Stage) error { return dials("tcp", port(s.Outward))(s) }, Needs: func(s *Stage) bool { return s.TCP != "" && s.Outward != "" }},
		Attack{Name: "host:udp", Tries: "send a datagram to a server of the host", By: noRoute, Try: asks(func(s *Stage) string { return s.UDP }), Twin: twin, TwinTries: twinTries,
			Needs: func(s *Stage) bool { return s.UDP != "" }},
		Attack{Name: "host:abstract", Tries: "connect to an abstract socket of the host", By: either(noRoute, absent), Try: dials("unix", func(s *Stage) string { return "@" + s.Abstract }),
			Twin: answered("unix", "@attack"), TwinTries: "connect to an own one", Needs: func(s *Stage) bool { return s.Abstract != "" }},
		Attack{Name: "host:socket", Tries: "connect to a socket of the host in the file system", By: absent, Try: dials("unix", func(s *Stage) string { return s.Socket }),
			Twin: unixTwin, TwinTries: "connect to an own one", Needs: func(s *Stage) bool { return s.Socket != "" }},
		Attack{Name: "service:port", Tries: "reach another port of the host through the service that was given", By: noRoute, Needs: door,
			Try: func(s *Stage) error {
				name, _, _ := net.SplitHostPort(s.Service)
				_, p, _ := net.SplitHostPort(s.TCP)
				return says(net.JoinHostPort(name, p), s.Canary)
			}, Twin: serves, TwinTries: "reach the service"},
	)
}

func interfaces(*Stage) error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			return nil
		}
	}
	return stopped("there is only the loopback")
}

func door(s *Stage) bool { return s.Service != "" }

// serves asks the service that the desk was given.
func serves(s *Stage) error { return says(s.Service, s.Canary) }

// says connects, asks as a web client does and looks for a word.
func says(address, word string) error {
	c, err := said("tcp", address, "GET / HTTP/1.0\r\n\r\n", reach)
	if err != nil {
		return err
	}
	defer c.Close()
	b, err := io.ReadAll(io.LimitReader(c, 4096))
	if !strings.Contains(string(b), word) {
		return errors.Join(err, stopped("no answer of the host (%d bytes)", len(b)))
	}
	return nil
}
