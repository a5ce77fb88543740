// Package ingress shows servers of a desk to programs of the host: a port
// inside becomes a port of the host's loopback, for as long as the run lasts.
//
// It owns the listeners on the host and the sockets that lead in. It is
// trusted with opening nothing but loopback, and with treating what comes out
// as bytes. Nothing of it runs inside: the sockets were made in the desk's
// network and handed out before the agent started.
package ingress

import (
	"fmt"
	"strconv"
	"strings"
)

// Port is one server inside and where the host finds it.
type Port struct {
	Host   int `json:"host"`   // on 127.0.0.1 and ::1 of the host
	Inside int `json:"inside"` // on 127.0.0.1 or ::1 of the desk
}

// Parse reads "PORT" or "HOSTPORT:PORT".
func Parse(s string) (Port, error) {
	host, inside, two := strings.Cut(s, ":")
	if !two {
		inside = host
	}
	h, err := parsePort(host)
	if err != nil {
		return Port{}, err
	}
	i, err := parsePort(inside)
	return Port{h, i}, err
}

func parsePort(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 || s != strconv.Itoa(n) {
		return 0, fmt.Errorf("%q is no port: write PORT, or HOSTPORT:PORT (1 to 65535)", s)
	}
	return n, nil
}

// String shows both sides.
func (p Port) String() string {
	return fmt.Sprintf("127.0.0.1:%d leads to port %d inside", p.Host, p.Inside)
}
