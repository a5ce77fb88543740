//go:build linux

package engine

import (
	"fmt"
	"slices"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/ingress"
	"github.com/carrel-dev/carrel/internal/policy"
)

// exposed reads --expose.
func (o RunOptions) exposed() ([]ingress.Port, error) {
	var ports []ingress.Port
	for _, s := range o.Expose {
		p, err := ingress.Parse(s)
		if err != nil {
			return nil, fmt.Errorf("--expose %s: %w", s, err)
		}
		if slices.ContainsFunc(ports, func(q ingress.Port) bool { return q.Host == p.Host }) {
			return nil, fmt.Errorf("--expose %s: the host's port %d is already taken by another --expose", s, p.Host)
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// exposeLayer is the user's word on which servers of the desk are shown: the
// ones the command line names.
func exposeLayer(ports []ingress.Port) policy.Layer {
	text, _ := carrel.Canonical(ports) // small integers always encode; without a text there is no layer
	return policy.Layer{
		Name: "expose", Kind: policy.User, Governs: []carrel.Operation{carrel.OpExpose}, Text: text,
		Func: func(a carrel.Action) policy.Answer {
			for _, p := range ports {
				if a.Port == p.Host && a.Subject == fmt.Sprintf("desk:%d", p.Inside) {
					return policy.Answer{Verdict: carrel.Allow, Rules: []string{"flag"}, Reason: "--expose shows it"}
				}
			}
			return policy.Answer{Verdict: carrel.Deny, Rules: []string{"flag"}, Reason: "no --expose names it"}
		},
	}
}
