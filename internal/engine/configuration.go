package engine

import (
	"context"
	"runtime"
	"strings"

	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/policy"
)

// settings are the configuration in force, in the types of the packages that
// use it.
type settings struct {
	config.Effective
	policyLayers []policy.Layer // organisation's and user's Rego
	org, user    *config.File
	repo         *config.File   // nil: the base commit has none
	wishes       []config.Grant // of the repository, not accepted
	repoPolicy   []policy.Layer // the repository's Rego, if that was accepted
}

// userSettings reads the organisation's and the user's configuration, and the
// Rego that it names.
func (e *Records) userSettings() (*settings, error) {
	s, err := e.configured()
	if err != nil {
		return nil, err
	}
	s.policyLayers, err = e.configuredLayers(s.Effective)
	return s, err
}

// configured is userSettings without the Rego.
func (e *Records) configured() (*settings, error) {
	org, err := config.Load(config.Source{Layer: config.Organisation, Path: e.host.Paths.OrgConfig, Home: e.host.Home})
	if err != nil {
		return nil, err
	}
	user, err := config.Load(e.userSource())
	if err != nil {
		return nil, err
	}
	s := &settings{org: org, user: user, Effective: config.Merge(org, user, nil, false)}
	_, err = s.witnesses() // a key that is none must not come to light when the work is done
	return s, err
}

// cannotBeRead is why no verb can go by the configuration and the policy that
// it names; "" if all can. No run starts then.
func (e *Records) cannotBeRead(ctx context.Context) string {
	s, err := e.userSettings()
	if err != nil {
		return err.Error()
	}
	engine, err := policy.New(ctx, s.policyLayers...)
	if err != nil {
		return err.Error()
	}
	engine.Close()
	return ""
}

func (e *Records) userSource() config.Source {
	return config.Source{Layer: config.User, Path: e.host.Paths.UserConfig, Home: e.host.Home}
}

// lookup finds a variable of the host.
func (h Host) lookup(name string) (string, bool) {
	for i := len(h.Environ) - 1; i >= 0; i-- {
		is, value, ok := strings.Cut(h.Environ[i], "=")
		if ok && (is == name || runtime.GOOS == "windows" && strings.EqualFold(is, name)) { // there it is "Path"
			return value, true
		}
	}
	return "", false
}

// values drops the origins.
func values[T any](in []config.Value[T]) []T {
	var out []T
	for _, v := range in {
		out = append(out, v.Value)
	}
	return out
}
