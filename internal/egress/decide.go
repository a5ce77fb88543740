package egress

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel"
)

// Decide answers an action of one of Operations as the user's grants see it:
// one layer for the policy engine. Everything that nothing names is denied.
func (rs *Rules) Decide(a carrel.Action) carrel.Decision {
	if rs == nil {
		return deny("egress/none", "nothing is granted on the network")
	}
	if strings.HasSuffix(a.Host, deskSuffix) || a.Service != "" {
		return rs.decideDesk(a)
	}
	switch a.Operation {
	case carrel.OpResolve:
		return rs.decideName(a.Host)
	case carrel.OpConnect, carrel.OpRequest:
		if !carried(a.Protocol) {
			return deny("egress/protocol", fmt.Sprintf("only TCP leaves a desk, and this is %s to %s", a.Protocol, shorten(a.Host)))
		}
		return rs.decideDestination(a)
	}
	return deny("egress/operation", fmt.Sprintf("network rules do not grant %s of %s", a.Operation, shorten(a.Host)))
}

// carried reports whether a door can carry p at all.
func carried(p carrel.Protocol) bool {
	return p == carrel.ProtoTLS || p == carrel.ProtoHTTP || p == carrel.ProtoTCP
}

// decideName allows a name that a rule names on any port.
func (rs *Rules) decideName(host string) carrel.Decision {
	for _, c := range rs.list {
		if !c.prefix.IsValid() && c.weight(host) >= 0 {
			return allow(c, "")
		}
	}
	return unnamed(host, 443)
}

func (rs *Rules) decideDestination(a carrel.Action) carrel.Decision {
	matched := rs.matches(a.Host, a.Port)
	if len(matched) == 0 {
		return rs.explain(a)
	}
	switch c := matched[0]; {
	case c.protocols[a.Port] != a.Protocol:
		return deny("egress/protocol", fmt.Sprintf("the rule %s speaks %s on port %d, not %s", c.rule, c.protocols[a.Port], a.Port, a.Protocol))
	case a.Operation == carrel.OpRequest:
		return decideRequest(a, matched)
	case rs.Exact(a.Host, a.Port):
		return allow(c, carrel.ProtoHTTP)
	default:
		return allow(c, a.Protocol)
	}
}

// explain says what is nearest to an action that no rule names.
func (rs *Rules) explain(a carrel.Action) carrel.Decision {
	for _, c := range rs.list {
		if c.weight(a.Host) >= 0 {
			d := unnamed(a.Host, a.Port)
			d.Rules = []string{"egress/port"}
			d.Reason = fmt.Sprintf("%s is granted by %s, not on port %d", shorten(a.Host), c.rule, a.Port)
			return d
		}
	}
	return unnamed(a.Host, a.Port)
}

// decideDesk answers for names under .desk and for what stands behind them.
func (rs *Rules) decideDesk(a carrel.Action) carrel.Decision {
	if rs.model != nil && (a.Host == ModelHost || a.Service == rs.modelService()) {
		return rs.decideModel(a)
	}
	s, ok := rs.services[a.Host]
	switch {
	case rs.tools && a.Host == ToolHost && (a.Operation == carrel.OpResolve ||
		a.Operation == carrel.OpConnect && a.Port == 80 && a.Protocol == carrel.ProtoHTTP):
		return carrel.Decision{Verdict: carrel.Allow, Rules: []string{"egress/tools"}, Reason: "the agent's client asks there before it uses a tool"}
	case !ok:
		d := deny("egress/service", fmt.Sprintf("%s is no service of this desk", shorten(a.Host)))
		d.NextSteps = []string{"carrel run --host-service NAME=HOST:PORT"}
		return d
	case a.Operation == carrel.OpResolve,
		a.Operation == carrel.OpConnect && a.Port == s.Port && a.Service == s.String():
		return carrel.Decision{Verdict: carrel.Allow, Rules: []string{"egress/service " + s.Name}, Reason: "the host service " + s.String() + " is granted"}
	}
	d := deny("egress/service", fmt.Sprintf("%s is served on port %d only, where it is the host's %s", a.Host, s.Port, net.JoinHostPort(s.Host, strconv.Itoa(s.Port))))
	d.NextSteps = []string{fmt.Sprintf("connect to %s:%d", a.Host, s.Port)}
	return d
}

// decideModel allows the door itself, the endpoint behind it, and the use of
// its key there.
func (rs *Rules) decideModel(a carrel.Action) carrel.Decision {
	host, port, protocol, _ := rs.ModelEndpoint()
	door := a.Host == ModelHost && (a.Operation == carrel.OpResolve ||
		a.Operation == carrel.OpConnect && a.Port == 80 && a.Protocol == carrel.ProtoHTTP)
	behind := a.Service == rs.modelService() && a.Host == host && a.Port == port && a.Protocol == protocol &&
		(a.Operation == carrel.OpConnect || a.Operation == carrel.OpRequest || a.Operation == carrel.OpCredential)
	if door || behind {
		return carrel.Decision{Verdict: carrel.Allow, Rules: []string{"egress/model"}, Reason: "the agent's model endpoint is " + rs.model.String()}
	}
	return deny("egress/model", fmt.Sprintf("the model door is http://%s, and leads to %s only", ModelHost, rs.model))
}

// allow says which rule grants it, and how far what is granted can be seen.
func allow(c compiled, p carrel.Protocol) carrel.Decision {
	d := carrel.Decision{Verdict: carrel.Allow, Rules: []string{"egress/" + c.rule.String()}, Reason: "the rule " + c.rule.String() + " grants it"}
	if p == carrel.ProtoTLS {
		d.Reason += ", host level only: what is said inside TLS is not seen"
	}
	for _, p := range c.addresses {
		d.Addresses = append(d.Addresses, p.String())
	}
	return d
}

func deny(rule, reason string) carrel.Decision {
	return carrel.Decision{Verdict: carrel.Deny, Rules: []string{rule}, Reason: reason}
}

// unnamed denies a destination and says the narrowest rule that grants it.
func unnamed(host string, port int) carrel.Decision {
	rule := Rule{Host: host, Ports: []int{port}}
	if port != 80 && port != 443 {
		rule.Protocol = carrel.ProtoTCP
	}
	if addr, err := netip.ParseAddr(host); err == nil && isMetadata(addr) {
		return deny("egress/metadata", host+" hands out the machine's own credentials and is never reachable")
	}
	d := deny("egress/unnamed", fmt.Sprintf("no rule names %s on port %d", shorten(host), port))
	if port == 443 {
		rule.Ports = nil
		d.Reason = fmt.Sprintf("no rule names %s", shorten(host))
	}
	d.NextSteps = []string{"carrel run --allow " + rule.String()}
	if OnlyByName(host) {
		d.NextSteps = []string{onlyByNameHelp}
	}
	return d
}
