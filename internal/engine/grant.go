//go:build linux

package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/profile"
)

// grant joins what configuration, repository, profile and flags give the desk,
// and compiles the policy that decides about it.
func (v *visit) grant(ctx context.Context) (err error) {
	if v.limits, v.upload, err = v.settings.limits(v.opts); err != nil {
		return err
	}
	if v.roots, err = v.settings.roots(); err != nil {
		return err
	}
	if v.model, err = v.chooseModel(); err != nil {
		return err
	}
	if v.model != nil && v.model.source != nil {
		v.e.unlogged(v.model.source)
	}
	endpoint := ""
	if v.model != nil {
		endpoint = v.model.endpoint
	}
	if v.grants, err = v.settings.rules(v.opts, v.profileRules(), endpoint); err != nil {
		return err
	}
	if v.rules, err = egress.NewRules(v.grants); err != nil {
		return err
	}
	text, err := carrel.Canonical(v.grants)
	if err != nil {
		return err
	}
	if v.lent, err = v.chooseCredentials(); err != nil {
		return err
	}
	if v.ports, err = v.opts.exposed(); err != nil {
		return err
	}
	v.lent.leads(v.rules)
	if v.authority, err = egress.NewAuthority(v.rules, v.lent.destinations()); err != nil {
		return err
	}
	v.extra = append(v.extra, v.settings.repoPolicy...)
	v.granted = []policy.Layer{egressLayer(v.rules, text), credentialLayer(v.rules, v.lent, text), exposeLayer(v.ports)}
	if v.policy, err = policy.New(ctx, v.allLayers(v.settings.policyLayers, v.extra)...); err == nil {
		v.inForce.Replace(v.policy)
		go v.policy.Warm(carrel.OpExec) // while the desk is furnished
	}
	return err
}

// allLayers are the run's layers in their order: what it was granted, the
// configuration's Rego, and that of flags and the repository.
func (v *visit) allLayers(configured, extra []policy.Layer) []policy.Layer {
	return slices.Concat(v.granted, configured, extra)
}

// flagLayers reads the Rego of --policy.
func (v *visit) flagLayers() ([]policy.Layer, error) {
	var out []policy.Layer
	for i, path := range v.opts.Policy {
		layer, err := policy.FromPath(fmt.Sprintf("run%d", i+1), policy.User, path)
		if err != nil {
			return nil, fmt.Errorf("--policy: %w", err)
		}
		out = append(out, layer)
	}
	return out, nil
}

// profileRules are what the agent and the package managers need to reach.
func (v *visit) profileRules() []egress.Rule {
	destinations := v.profile.Destinations(v.model != nil)
	for _, p := range v.ecosystems {
		destinations = append(destinations, p.Egress...)
	}
	return rulesOf(destinations)
}

func rulesOf(destinations []profile.Destination) []egress.Rule {
	var rules []egress.Rule
	for _, d := range destinations {
		rules = append(rules, egress.Rule{Host: d.Host, Ports: d.Ports, Protocol: carrel.Protocol(d.Protocol), Methods: d.Methods, Paths: d.Paths})
	}
	return rules
}
