package engine

import (
	"context"
	"fmt"

	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/policy"
)

// PolicyOptions says which policy a verb asks.
type PolicyOptions struct {
	// Paths are Rego files, directories or bundles that are asked with the
	// built-in floor and nothing else. Empty: the organisation's and the
	// user's configuration, with what it grants.
	Paths []string
	// Entry is the package that is asked, as "data.team.rules"; see
	// policy.Layer.
	Entry string
	// Keys are files of public keys, of which one must have signed each bundle
	// among Paths.
	Keys []string
}

// OpenPolicy makes the policy that decides outside a run: it needs no desk, no
// log and no network, and works on every system. The caller closes it.
func OpenPolicy(ctx context.Context, host Host, opts PolicyOptions) (*policy.Engine, error) {
	layers, err := host.policyLayers(opts)
	if err != nil {
		return nil, err
	}
	return OpenRecords(host).policyInForce(ctx, layers...)
}

func (h Host) policyLayers(opts PolicyOptions) ([]policy.Layer, error) {
	if len(opts.Paths) == 0 {
		s, err := OpenRecords(h).userSettings()
		if err != nil {
			return nil, err
		}
		network, err := networkLayers(s, "")
		return append(network, s.policyLayers...), err
	}
	var layers []policy.Layer
	for i, path := range opts.Paths {
		name := "user"
		if len(opts.Paths) > 1 {
			name = fmt.Sprintf("user%d", i+1)
		}
		layer, err := opts.read(name, path)
		if err != nil {
			return nil, err
		}
		layer.Entry = opts.Entry
		layers = append(layers, layer)
	}
	return layers, nil
}

func (o PolicyOptions) read(name, path string) (policy.Layer, error) {
	if !policy.IsBundle(path) {
		return policy.FromPath(name, policy.User, path)
	}
	var keys []config.Value[string]
	for _, k := range o.Keys {
		keys = append(keys, config.Value[string]{Value: k})
	}
	known, err := bundleKeys(policy.User, keys)
	if err != nil {
		return policy.Layer{}, err
	}
	return policy.FromBundle(name, policy.User, path, known)
}
