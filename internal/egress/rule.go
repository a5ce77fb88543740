package egress

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel"
)

// ECHAllow is the way out for hosts whose clients insist on Encrypted Client
// Hello: the door then cannot see which name inside the host is meant.
const ECHAllow = "allow"

// Rule lets the agent reach one host, or the hosts below one suffix, on some
// ports. Its zero value is invalid and matches nothing.
type Rule struct {
	// Host is a name, "*." and the suffix of names below it, an address, or
	// a CIDR prefix.
	Host string `json:"host" yaml:"host"`
	// Ports default to 443, or to 80 where the protocol is http.
	Ports []int `json:"ports,omitempty" yaml:"ports,omitempty"`
	// Protocol is what must be spoken. It defaults to http on port 80 and to
	// tls on every other; tcp must be said.
	Protocol carrel.Protocol `json:"protocol,omitempty" yaml:"protocol,omitempty"`
	// ECH "allow" accepts a ClientHello that hides its server name.
	ECH string `json:"ech,omitempty" yaml:"ech,omitempty"`
	// Addresses narrow where a name may lead, and are the only way to a
	// private, local or otherwise special address: addresses or prefixes.
	Addresses []string `json:"addresses,omitempty" yaml:"addresses,omitempty"`
	// Methods and Paths narrow the rule to some requests, which the door must
	// see to decide: TLS to the host is then inspected. A path may have "*"
	// within a segment and "**" for any number of segments; "/a/**" is /a and
	// everything below it.
	Methods []string `json:"methods,omitempty" yaml:"methods,omitempty"`
	Paths   []string `json:"paths,omitempty" yaml:"paths,omitempty"`
	// WebSocket allows requests to become one, where the door sees requests.
	WebSocket bool `json:"websocket,omitempty" yaml:"websocket,omitempty"`
	// Upload bounds the bytes that may be sent under the rule in one run; 0
	// does not.
	Upload int64 `json:"upload,omitempty" yaml:"upload,omitempty"`
}

// String shows the rule as people write it on the command line.
func (r Rule) String() string {
	s := r.Host
	if len(r.Ports) > 0 {
		ports := make([]string, len(r.Ports))
		for i, p := range r.Ports {
			ports[i] = strconv.Itoa(p)
		}
		s += ":" + strings.Join(ports, ",")
	}
	if r.Protocol != "" {
		s += "/" + string(r.Protocol)
	}
	if len(r.Methods) > 0 {
		s += " " + strings.Join(r.Methods, ",")
	}
	if len(r.Paths) > 0 {
		s += " " + strings.Join(r.Paths, ",")
	}
	if r.WebSocket {
		s += " websocket"
	}
	return s
}

// compiled is a rule that was checked, ready to be matched.
type compiled struct {
	rule      Rule
	name      string         // exact name, or ""
	suffix    string         // ".suffix" of a wildcard, or ""
	prefix    netip.Prefix   // of an address rule, else invalid
	addresses []netip.Prefix // that the rule names; empty: public ones
	protocols map[int]carrel.Protocol
	paths     []*regexp.Regexp // of the rule's paths
}

// compile checks r strictly and fills in its defaults.
func compile(r Rule) (compiled, error) {
	c := compiled{protocols: make(map[int]carrel.Protocol)}
	fail := func(err error) (compiled, error) { return compiled{}, fmt.Errorf("egress rule %s: %w", r, err) }
	if err := c.setHost(&r); err != nil {
		return fail(err)
	}
	if err := c.setAddresses(&r); err != nil {
		return fail(err)
	}
	if err := c.setPorts(&r); err != nil {
		return fail(err)
	}
	if err := c.setRequests(&r); err != nil {
		return fail(err)
	}
	if r.ECH != "" && r.ECH != ECHAllow {
		return fail(fmt.Errorf("ech is either %q or left out", ECHAllow))
	}
	c.rule = r
	return c, nil
}

func (c *compiled) setHost(r *Rule) error {
	if err := noHost(r.Host); err != nil {
		return err
	}
	if strings.Contains(r.Host, "/") {
		return c.setPrefix(r)
	}
	suffix, wildcard := strings.CutPrefix(r.Host, "*.")
	host, err := CanonicalHost(suffix)
	if err != nil {
		return err
	}
	addr, addrErr := netip.ParseAddr(host)
	switch {
	case host == "localhost" || strings.HasSuffix(host, ".localhost") || addrErr == nil && addr.IsLoopback():
		return fmt.Errorf("loopback inside a desk is the desk's own; for a service of the host use --host-service NAME=%s:PORT", host)
	case !wildcard && addrErr == nil:
		c.prefix = netip.PrefixFrom(addr, addr.BitLen())
	case strings.HasSuffix("."+host, deskSuffix):
		return fmt.Errorf("names under %s are the desk's own; use --host-service", deskSuffix)
	case !wildcard:
		c.name = host
	case addrErr == nil || !strings.Contains(host, "."):
		return fmt.Errorf("a wildcard needs a domain of at least two parts, as in *.example.org")
	default:
		c.suffix, host = "."+host, "*."+host
	}
	r.Host = host
	return nil
}

func (c *compiled) setPrefix(r *Rule) (err error) {
	switch c.prefix, err = netip.ParsePrefix(r.Host); {
	case err != nil:
		return fmt.Errorf("%q is no prefix of addresses such as 10.0.0.0/8, and a name has no slash", shorten(r.Host))
	case c.prefix != c.prefix.Masked():
		return fmt.Errorf("%s has bits beyond its length; write %s", r.Host, c.prefix.Masked())
	}
	r.Host = c.prefix.String()
	return nil
}

// noHost says how to write what people write in a host's place; nil for
// everything else.
func noHost(s string) error {
	host, port, hasPort := cutPort(s)
	switch _, err := parsePort(port); {
	case strings.Contains(s, "://"):
		return notURL(s)
	case hasPort && err == nil:
		return fmt.Errorf("the port goes beside the host: {host: %s, ports: [%s]}", host, port)
	case strings.Contains(strings.TrimPrefix(s, "*."), "*"):
		return fmt.Errorf("%q: a wildcard stands for everything below a domain, as in *.example.org, and for nothing else", shorten(s))
	}
	return nil
}

func (c *compiled) setAddresses(r *Rule) error {
	if c.prefix.IsValid() {
		c.addresses = []netip.Prefix{c.prefix}
		if len(r.Addresses) > 0 {
			return fmt.Errorf("addresses belong to a rule with a name")
		}
	}
	for _, s := range r.Addresses {
		p, err := parsePrefix(s)
		if err != nil {
			return err
		}
		c.addresses = append(c.addresses, p)
	}
	for _, p := range c.addresses {
		if p.IsSingleIP() && isMetadata(p.Addr()) {
			return fmt.Errorf("%s hands out the machine's own credentials and is never reachable", p.Addr())
		}
	}
	return nil
}

// parsePrefix reads an address or a prefix.
func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p != p.Masked() || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix such as 10.0.0.0/8", s)
	}
	return p, nil
}

func (c *compiled) setPorts(r *Rule) error {
	switch r.Protocol {
	case "", carrel.ProtoTLS, carrel.ProtoHTTP, carrel.ProtoTCP:
	default:
		return fmt.Errorf("protocol %q is none of tls, http, tcp", r.Protocol)
	}
	if len(r.Ports) == 0 {
		switch r.Protocol {
		case carrel.ProtoTCP:
			return fmt.Errorf("a tcp rule must say its ports")
		case carrel.ProtoHTTP:
			r.Ports = []int{80}
		default:
			r.Ports = []int{443}
		}
	}
	r.Ports = slices.Clone(r.Ports)
	slices.Sort(r.Ports)
	r.Ports = slices.Compact(r.Ports)
	for _, port := range r.Ports {
		if port < 1 || port > 65535 {
			return fmt.Errorf("%d is not a port (1 to 65535)", port)
		}
		if port == 53 {
			return fmt.Errorf("port 53 belongs to the desk's own resolver")
		}
		c.protocols[port] = protocolOf(r.Protocol, port)
	}
	return nil
}

// protocolOf is what is spoken on a port when nothing else is said.
func protocolOf(said carrel.Protocol, port int) carrel.Protocol {
	switch {
	case said != "":
		return said
	case port == 80:
		return carrel.ProtoHTTP
	}
	return carrel.ProtoTLS
}
