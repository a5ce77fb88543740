package egress

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel"
)

// Operations are the operations that Rules answer for.
var Operations = []carrel.Operation{
	carrel.OpResolve, carrel.OpConnect, carrel.OpRequest, carrel.OpCredential,
}

// Grants are everything a desk may reach, from the layers of configuration
// that grant. The zero value grants nothing.
type Grants struct {
	Rules    []Rule
	Services []Service
	// Model is the URL of the agent's model endpoint, as the user or the
	// agent's profile says it; "" opens no model door.
	Model string
	// Tools says that the desk's client asks ToolHost before it uses a tool.
	Tools bool
}

// Rules are checked grants, ready to be matched. They never change. The nil
// pointer and the zero value match nothing.
type Rules struct {
	list     []compiled
	services map[string]Service // by name inside
	model    *url.URL
	tools    bool
}

// NewRules checks grants. Its errors name the rule.
func NewRules(g Grants) (*Rules, error) {
	rs := &Rules{services: make(map[string]Service), tools: g.Tools}
	for _, r := range g.Rules {
		c, err := compile(r)
		if err != nil {
			return nil, err
		}
		rs.list = append(rs.list, c)
	}
	for _, s := range g.Services {
		s, err := checkService(s)
		if err != nil {
			return nil, err
		}
		name := s.Name + deskSuffix
		if other, taken := rs.services[name]; taken && other != s {
			return nil, fmt.Errorf("host service %q is defined twice: %s and %s", s.Name, other, s)
		}
		rs.services[name] = s
	}
	model, err := checkModel(g.Model)
	if err != nil {
		return nil, err
	}
	rs.model = model
	return rs, nil
}

// checkModel accepts http and https URLs without user, query or fragment.
func checkModel(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("model endpoint %q: write https://HOST[:PORT][/PATH]", shorten(s))
	}
	if _, err := CanonicalHost(u.Hostname()); err != nil {
		return nil, fmt.Errorf("model endpoint: %w", err)
	}
	if p := u.Port(); p != "" {
		if _, err := parsePort(p); err != nil {
			return nil, fmt.Errorf("model endpoint: %w", err)
		}
	}
	return u, nil
}

// List returns the rules, each with its defaults filled in.
func (rs *Rules) List() []Rule {
	if rs == nil {
		return nil
	}
	out := make([]Rule, len(rs.list))
	for i, c := range rs.list {
		out[i] = c.rule
	}
	return out
}

// Match returns the rule for a canonical host and a port: the most specific
// host wins, an exact name before the longest suffix, the longest prefix
// among addresses.
func (rs *Rules) Match(host string, port int) (Rule, bool) {
	c, ok := rs.match(host, port)
	return c.rule, ok
}

func (rs *Rules) match(host string, port int) (best compiled, ok bool) {
	matched := rs.matches(host, port)
	if len(matched) == 0 {
		return compiled{}, false
	}
	return matched[0], true
}

// matches returns the rules for a destination that are equally specific, in
// their order; together they say what may be asked of it.
func (rs *Rules) matches(host string, port int) (best []compiled) {
	if rs == nil {
		return nil
	}
	weight := 0
	for _, c := range rs.list {
		w := c.weight(host)
		if _, named := c.protocols[port]; !named || w < weight {
			continue
		}
		if w > weight {
			best, weight = nil, w
		}
		best = append(best, c)
	}
	return best
}

// weight says how closely the rule names host; negative if it does not.
func (c compiled) weight(host string) int {
	switch {
	case c.name != "" && c.name == host:
		return 1 << 10
	case c.suffix != "" && strings.HasSuffix(host, c.suffix):
		return len(c.suffix)
	case c.prefix.IsValid():
		if addr, err := netip.ParseAddr(host); err == nil && c.prefix.Contains(addr) {
			return c.prefix.Bits()
		}
	}
	return -1
}

// Ports returns every port that something names, sorted: others are refused
// before a connection is made.
func (rs *Rules) Ports() []int {
	if rs == nil {
		return nil
	}
	var ports []int
	for _, c := range rs.list {
		ports = append(ports, c.rule.Ports...)
	}
	for _, s := range rs.services {
		ports = append(ports, s.Port)
	}
	if rs.model != nil || rs.tools {
		ports = append(ports, 80)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// Protocol returns what is spoken at a destination: what its rule says, else
// the usual protocol of the port.
func (rs *Rules) Protocol(host string, port int) carrel.Protocol {
	if c, ok := rs.match(host, port); ok {
		return c.protocols[port]
	}
	if port != 80 && port != 443 {
		return carrel.ProtoTCP
	}
	return protocolOf("", port)
}

// ModelEndpoint returns the destination behind the model door.
func (rs *Rules) ModelEndpoint() (host string, port int, protocol carrel.Protocol, ok bool) {
	if rs == nil || rs.model == nil {
		return "", 0, "", false
	}
	host, _ = CanonicalHost(rs.model.Hostname()) // checked by checkModel
	protocol, port = carrel.ProtoTLS, 443
	if rs.model.Scheme == "http" {
		protocol, port = carrel.ProtoHTTP, 80
	}
	if p := rs.model.Port(); p != "" {
		port, _ = strconv.Atoi(p) // checked by checkModel
	}
	return host, port, protocol, true
}

// modelService is how actions name the model door and what it stands for.
func (rs *Rules) modelService() string { return "model=" + rs.model.String() }
