package engine

import (
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/profile"
)

// networkLayers are the destinations that configuration and profile grant.
func networkLayers(s *settings) ([]policy.Layer, error) {
	p, _ := profile.Get("claude")
	grants, err := s.rules(RunOptions{}, profileRules(p, false), "")
	if err != nil {
		return nil, err
	}
	rules, err := egress.NewRules(grants)
	if err != nil {
		return nil, err
	}
	digest, err := digestOf(grants)
	return []policy.Layer{egressLayer(rules, digest)}, err
}
