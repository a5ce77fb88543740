package egress

import (
	"fmt"
	"net/netip"
	"strings"
)

// Service gives the agent one service of the host: NAME.desk on the same
// port leads to Host:Port and nowhere else.
type Service struct {
	Name string `json:"name" yaml:"name"`
	Host string `json:"host" yaml:"host"` // a name, an address, or localhost
	Port int    `json:"port" yaml:"port"`
}

// String shows the service as it is written, NAME=HOST:PORT; it is also how
// actions name it.
func (s Service) String() string {
	host := s.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s=%s:%d", s.Name, host, s.Port)
}

// ParseService reads NAME=HOST:PORT.
func ParseService(s string) (Service, error) {
	name, target, found := strings.Cut(s, "=")
	host, port, hasPort := cutPort(target)
	if !found || !hasPort {
		return Service{}, fmt.Errorf("host service %q: write NAME=HOST:PORT, with an IPv6 address in brackets as in db=[::1]:5432", s)
	}
	n, err := parsePort(port)
	if err != nil {
		return Service{}, fmt.Errorf("host service %q: %w", s, err)
	}
	return checkService(Service{name, host, n})
}

// checkService returns s in its one spelling.
func checkService(s Service) (Service, error) {
	if err := checkLabel(s.Name); err != nil {
		return Service{}, fmt.Errorf("host service %q: the name becomes %s%s: %w", s.Name, s.Name, deskSuffix, err)
	}
	switch s.Name + deskSuffix {
	case ModelHost:
		return Service{}, fmt.Errorf("host service %q: %s is the model door", s.Name, ModelHost)
	case ToolHost:
		return Service{}, fmt.Errorf("host service %q: %s is where clients ask about tools", s.Name, ToolHost)
	}
	host, err := CanonicalHost(s.Host)
	if err != nil {
		return Service{}, fmt.Errorf("host service %q: %w", s.Name, err)
	}
	if addr, err := netip.ParseAddr(host); err == nil && isMetadata(addr) {
		return Service{}, fmt.Errorf("host service %q: %s hands out the machine's own credentials and is never reachable", s.Name, addr)
	}
	if s.Port < 1 || s.Port > 65535 || s.Port == 53 {
		return Service{}, fmt.Errorf("host service %q: %d is not a port that can be served", s.Name, s.Port)
	}
	s.Host = host
	return s, nil
}
