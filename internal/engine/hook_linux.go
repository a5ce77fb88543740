package engine

import (
	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/profile"
)

// networkLayers are the destinations that the configuration and the profile of
// an agent grant, if one is named.
func networkLayers(s *settings, agent string) ([]policy.Layer, error) {
	p, _ := profile.Get(agent)
	grants, err := s.rules(RunOptions{}, rulesOf(p.Destinations(false)), "")
	if err != nil {
		return nil, err
	}
	rules, err := egress.NewRules(grants)
	if err != nil {
		return nil, err
	}
	text, err := carrel.Canonical(grants)
	return []policy.Layer{egressLayer(rules, text)}, err
}
