package config

import (
	"fmt"
	"slices"
)

// checkRepository refuses what only the organisation and the user may say: a
// repository must not choose where keys come from, which policy judges it, or
// how long its files stay in a home.
func (f *File) checkRepository() error {
	var said []struct {
		name string
		line int
	}
	note := func(name string, line int) {
		if line > 0 {
			said = append(said, struct {
				name string
				line int
			}{name, line})
		}
	}
	for _, v := range f.Profile {
		note("profile", v.Origin.Line)
	}
	for _, v := range f.Profiles {
		note("profiles", v.Origin.Line)
	}
	for _, v := range slices.Concat(f.Policy, f.PolicyKeys, f.ExtraRoots) {
		note("policy, policy_keys and extra_roots", v.Origin.Line)
	}
	for _, v := range f.Tools {
		note("tools", v.Origin.Line)
	}
	note("model", f.Model.Endpoint.Origin.Line)
	note("model", f.Model.Key.Origin.Line)
	note("upstream_proxy", f.UpstreamProxy.Origin.Line)
	note("identity", f.Identity.Origin.Line)
	note("signing", f.Signing.Origin.Line)
	note("witnesses", f.Witnesses.Origin.Line)
	note("limits.best_effort", f.Limits.BestEffort.Origin.Line)
	if f.Home.Value == "keep" {
		note("home: keep", f.Home.Origin.Line)
	}
	if len(said) == 0 {
		return nil
	}
	return lineError(said[0].line, fmt.Sprintf("%s: only your own configuration or the organisation's may say this, not a repository", said[0].name))
}
