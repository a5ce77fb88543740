package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/carrel-dev/carrel"
)

// wanting are the rules of the door that refuse for want of a grant. What
// another refuses (a name that is not the connection's, an address that is
// never dialled, a path with two readings) no grant allows, and proposing one
// would let an agent ask in a wrong way for more than it has.
var wanting = []string{"egress/none", "egress/unnamed", "egress/port", "egress/request", "policy/not-granted"}

// grant is one entry of the configuration's egress, with what it comes from.
type grant struct {
	Host     string   `yaml:"host"`
	Ports    []int    `yaml:"ports,flow"`
	Protocol string   `yaml:"protocol,omitempty"`
	Methods  []string `yaml:"methods,flow,omitempty"`
	Paths    []string `yaml:"paths,flow,omitempty"`

	what  string // the first that was refused
	at    int64  // its record
	times int64

	instead bool // another rule for the host is there, which this one may replace
}

// grantFor is the narrowest grant that would have allowed what was refused, or
// why there is none.
func grantFor(r Refused) (grant, string) {
	a := r.Action
	g := grant{Host: a.Host, Ports: []int{a.Port}, Protocol: string(a.Protocol), what: line(a), at: r.Record, times: max(1, r.Times)}
	wants := func(rule string) bool { return slices.Contains(wanting, rule) }
	switch {
	case !slices.ContainsFunc(r.Decision.Rules, wants) || a.Host == "":
		return g, "no grant lifts that"
	case a.Operation == carrel.OpResolve:
		if _, err := netip.ParseAddr(a.Host); err == nil {
			return g, "no grant lifts that"
		}
		g.Ports, g.Protocol = []int{443}, string(carrel.ProtoTLS)
		g.what += "; the port is a guess, because only the name was asked for"
	case a.Port == 0:
		return g, "it has no port"
	case a.Method != "":
		path, _, _ := strings.Cut(string(a.URL), "?")
		if strings.Contains(path, "*") || !strings.HasPrefix(path, "/") || a.Upgrade != "" {
			return g, "a rule for it needs a person: it would grant more than was refused"
		}
		g.Methods, g.Paths = []string{a.Method}, []string{path}
		g.instead = slices.Contains(r.Decision.Rules, "egress/request")
	}
	return g, ""
}

// learnGrants gathers grants, each once.
func learnGrants(all []grant) []grant {
	var out []grant
	for _, g := range all {
		i := slices.IndexFunc(out, g.same)
		if i < 0 {
			out = append(out, g)
			continue
		}
		out[i].times += g.times
	}
	slices.SortStableFunc(out, func(a, b grant) int { return cmp.Compare(a.Host, b.Host) })
	for i := range out { // which is said once for each host
		out[i].instead = out[i].instead && !slices.ContainsFunc(out[:i], func(g grant) bool { return g.instead && g.Host == out[i].Host })
	}
	return out
}

func (g grant) same(o grant) bool {
	return g.Host == o.Host && g.Protocol == o.Protocol && slices.Equal(g.Ports, o.Ports) && slices.Equal(g.Methods, o.Methods) && slices.Equal(g.Paths, o.Paths)
}

// node is the entry with its evidence as a comment.
func (g grant) node() (*yaml.Node, error) {
	var n yaml.Node
	if err := n.Encode(g); err != nil {
		return nil, err
	}
	n.HeadComment = fmt.Sprintf("refused %s; first %s, record %d of the log", times(int(g.times)), oneLine(g.what), g.at)
	if g.instead {
		n.HeadComment += fmt.Sprintf("\nrules that name %s count instead of one with a wildcard or a prefix: repeat for it\nwhat such a rule grants, or change that rule and leave this out", oneLine(g.Host))
	}
	return &n, nil
}
