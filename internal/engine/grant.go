//go:build linux

package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/hook"
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
	if v.grants, v.rules, err = v.network(v.settings); err != nil {
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
	layers, err := v.allLayers(v.grants, v.rules, v.settings, v.extra)
	if err != nil {
		return err
	}
	if v.policy, err = v.e.policyInForce(ctx, layers...); err == nil {
		v.inForce.Replace(v.policy)
		go v.policy.Warm(carrel.OpExec) // while the desk is furnished
	}
	return err
}

// addRepository adds the repository's share to the settings s.
func (v *visit) addRepository(ctx context.Context, s *settings) error {
	return v.e.addRepository(ctx, s, func() (config.RepositoryID, error) { return repositoryID(ctx, v.ws, v.repo) }, v.repo)
}

// network is where the settings, the profile and the flags let the desk go.
func (v *visit) network(s *settings) (egress.Grants, *egress.Rules, error) {
	endpoint := ""
	if v.model != nil {
		endpoint = v.model.endpoint
	}
	grants, err := s.rules(v.opts, v.profileRules(), endpoint)
	if err != nil {
		return grants, nil, err
	}
	grants.Tools = v.profile.Hooks != ""
	rules, err := egress.NewRules(grants)
	return grants, rules, err
}

// allLayers are the run's layers in their order: in Go what it was granted, is
// lent and may show, the configuration's Rego, and that of flags and the
// repository.
func (v *visit) allLayers(grants egress.Grants, rules *egress.Rules, s *settings, extra []policy.Layer) ([]policy.Layer, error) {
	text, err := carrel.Canonical(grants)
	if err != nil {
		return nil, err
	}
	granted := []policy.Layer{egressLayer(rules, text), credentialLayer(rules, v.lent, text), exposeLayer(v.ports)}
	if grants.Tools {
		tools, err := hookLayer(hook.Rules{Tools: values(s.Tools)}, carrel.OpTool)
		if err != nil {
			return nil, err
		}
		granted = append(granted, tools)
	}
	return slices.Concat(granted, s.policyLayers, extra), nil
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
