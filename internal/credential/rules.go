package credential

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
)

// Rules are checked definitions: which credential may go where. They never
// change. The nil pointer grants nothing.
type Rules struct{ list []Definition }

// NewRules checks definitions; compile reads their paths.
func NewRules(list []Definition, compile Compile) (*Rules, error) {
	rs := &Rules{}
	for _, d := range list {
		d, err := d.checked(compile)
		if err != nil {
			return nil, err
		}
		if _, taken := rs.find(d.Name); taken {
			return nil, fmt.Errorf("credential %s is defined twice", d.Name)
		}
		rs.list = append(rs.list, d)
	}
	return rs, nil
}

func (rs *Rules) find(name string) (Definition, bool) {
	if rs == nil {
		return Definition{}, false
	}
	i := slices.IndexFunc(rs.list, func(d Definition) bool { return d.Name == name })
	if i < 0 {
		return Definition{}, false
	}
	return rs.list[i], true
}

// Definitions returns the checked definitions.
func (rs *Rules) Definitions() []Definition {
	if rs == nil {
		return nil
	}
	return slices.Clone(rs.list)
}

// Bound reports whether a credential goes to this destination.
func (rs *Rules) Bound(host string, port int) bool { return len(rs.at(host, port)) > 0 }

// at returns the bindings of a destination.
func (rs *Rules) at(host string, port int) (out []Binding) {
	if rs == nil {
		return nil
	}
	for _, d := range rs.list {
		for _, b := range d.Bindings {
			if b.Host == host && b.Port == port {
				out = append(out, b)
			}
		}
	}
	return out
}

// A use of a credential that must not be is put to the gate like any other,
// so that the refusal is decided, recorded and told on the one road. Its
// reason begins with the rule that refuses it.
const (
	ruleMisplaced = "misplaced" // a placeholder where it does not belong
	ruleForeign   = "foreign"   // a key that is not one of ours, at a bound host
	ruleExpired   = "expired"
	ruleForm      = "form"   // a request that cannot be read in one way
	ruleUnread    = "unread" // a body that is compressed so that nobody can look inside
	leaseReason   = "lease until "
)

// ruleHelp is what to do about a refusal, by rule.
var ruleHelp = map[string]string{
	ruleMisplaced: "use the credential where it belongs, with the variable or file it was given in",
	ruleForeign:   "leave the header to Carrel's placeholder, or let the credential's entry say own: true",
	ruleExpired:   "start a new run, or lend the credential for longer with for: in its entry",
	ruleForm:      "send one plain request with the credential in one place",
	ruleUnread:    "send the body as it is, or in one of gzip, deflate and zstd",
	"method":      "add the method to the credential's entry",
	"path":        "add the path to the credential's entry",
	"host":        "add the host to the credential's entry",
}

// Decide answers an action of the operation credential: a lease of a known
// credential, or a use of one where it is bound. Everything else is denied.
func (rs *Rules) Decide(a carrel.Action) carrel.Decision {
	d, ok := rs.find(a.Subject)
	switch {
	case a.Operation != carrel.OpCredential:
		return refuse("operation", fmt.Sprintf("credential rules do not grant %s", a.Operation))
	case !ok:
		return refuse("unknown", "there is no such credential in the configuration")
	case a.Host == "" && strings.HasPrefix(string(a.Reason), leaseReason):
		return carrel.Decision{Verdict: carrel.Allow, Rules: []string{"credential/" + d.Name}, Reason: "the configuration lends " + d.Name}
	case a.Reason != "":
		rule, reason, _ := strings.Cut(string(a.Reason), ": ")
		return refuse(rule, reason)
	}
	return d.decideUse(a)
}

func (d Definition) decideUse(a carrel.Action) carrel.Decision {
	nearest := refuse("host", fmt.Sprintf("%s goes to %s only", d.Name, d.Bindings[0].Host))
	path, _, _ := strings.Cut(string(a.URL), "?")
	for _, b := range d.Bindings {
		switch {
		case b.Host != a.Host || b.Port != a.Port || a.Protocol != carrel.ProtoTLS:
		case len(b.Methods) > 0 && !slices.Contains(b.Methods, a.Method):
			nearest = refuse("method", fmt.Sprintf("%s is for %s at %s, not for %s", d.Name, strings.Join(b.Methods, ", "), b.Host, a.Method))
		case !b.covers(path):
			nearest = refuse("path", fmt.Sprintf("%s is for %s at %s, not for %s", d.Name, strings.Join(b.Paths, ", "), b.Host, shorten(path)))
		default:
			return carrel.Decision{Verdict: carrel.Allow, Rules: []string{"credential/" + d.Name}, Reason: fmt.Sprintf("%s goes to %s", d.Name, b)}
		}
	}
	return nearest
}

func refuse(rule, reason string) carrel.Decision {
	d := carrel.Decision{Verdict: carrel.Deny, Rules: []string{"credential/" + rule}, Reason: reason}
	if help := ruleHelp[rule]; help != "" {
		d.NextSteps = []string{help}
	}
	return d
}

func shorten(s string) string {
	if len(s) > 120 {
		return s[:117] + "..."
	}
	return s
}
