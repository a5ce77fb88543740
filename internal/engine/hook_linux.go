package engine

import (
	"context"
	"errors"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/credential"
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

// announceKeys makes the keys that the configuration takes from variables and
// files known to redact, as a run does, so that an action that shows one is
// digested and recorded without it. A key that cannot be read is none that
// could be shown; keys from programs are not fetched for every hook. An error
// says that what was read cannot be kept out.
func announceKeys(ctx context.Context, host Host, s *settings, redact *audit.Redactor) (failed error) {
	keys := []config.Key{s.Model.Key.Value}
	for _, c := range s.Credentials {
		keys = append(keys, c.Value.From)
	}
	for _, k := range keys {
		var source *credential.Source
		switch {
		case k.Env != "":
			source = credential.FromEnv(k.Env, host.lookup)
		case k.File != "":
			source = credential.FromFile(k.File)
		default:
			continue
		}
		known := false
		err := unlogged(source, func(key string, spellings []string) error { known = true; return redact.Add(key, spellings) }).Announce(ctx)
		if known {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// unlogged keeps what a source gives out of the log. Keys that are too short
// to be told from other text stay what they are.
func unlogged(s *credential.Source, add func(key string, spellings []string) error) *credential.Source {
	return s.Tell(func(key string, spellings []string) error {
		if len(key) < audit.MinSecret {
			return nil
		}
		return add(key, spellings)
	})
}
