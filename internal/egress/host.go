package egress

import (
	"fmt"
	"net/netip"
	"strings"
)

// deskSuffix is the domain of what the supervisor itself serves. It is not in
// the root zone, and nothing below it is ever asked of a resolver.
const deskSuffix = ".desk"

// ModelHost is the name of the model door inside a desk.
const ModelHost = "model" + deskSuffix

// ToolHost is where an agent's own client asks before it uses a tool.
const ToolHost = "tools" + deskSuffix

// CanonicalHost returns the one spelling of a host that rules, decisions and
// connections use: a lower-case name without the final dot, or an address
// without a zone, an IPv4 address never dressed up as IPv6. Anything that two
// programs could understand differently is an error: spaces, ports, user
// names, percent signs, other scripts than ASCII, numbers that only some
// resolvers take for addresses.
func CanonicalHost(s string) (string, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" {
			return "", fmt.Errorf("host %q: an address with a zone names no host", s)
		}
		return addr.Unmap().String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if name == "" || len(name) > 253 {
		return "", fmt.Errorf("host %q: a name has 1 to 253 characters", shorten(s))
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if err := checkLabel(label); err != nil {
			return "", fmt.Errorf("host %q: %w", shorten(s), err)
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" || looksHex(last) {
		return "", fmt.Errorf("host %q: ends like a number but is no address", shorten(s))
	}
	return name, nil
}

// checkLabel accepts letters, digits and hyphens only.
func checkLabel(label string) error {
	if label == "" || len(label) > 63 {
		return fmt.Errorf("each part has 1 to 63 characters")
	}
	if label[0] == '-' || label[len(label)-1] == '-' {
		return fmt.Errorf("no part begins or ends with a hyphen")
	}
	for i := range len(label) {
		switch c := label[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
		case c >= 0x80:
			return fmt.Errorf("write names of other scripts in their ASCII form (xn--…)")
		default:
			return fmt.Errorf("a name has only letters, digits and hyphens, not %q", c)
		}
	}
	return nil
}

func looksHex(label string) bool {
	digits, ok := strings.CutPrefix(label, "0x")
	return ok && strings.Trim(digits, "0123456789abcdef") == ""
}

// OnlyByName reports whether a host, as rules and connections spell it, is an
// IPv6 address or prefix: a desk connects over IPv4 alone, and reaches a host
// that has nothing but IPv6 by its name.
func OnlyByName(host string) bool { return strings.Contains(host, ":") }

// onlyByNameHelp is what to do instead of connecting to such an address.
const onlyByNameHelp = "connect by the host's name, with a rule for that name: a desk has no IPv6 of its own"

// shorten bounds what is quoted of a name that came from the desk.
func shorten(s string) string {
	if len(s) > 80 {
		return s[:77] + "..."
	}
	return s
}
