package config

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Effective is the configuration in force. Every value says where it is from.
type Effective struct {
	Egress        []Value[Egress]             `json:"egress"`
	Services      []Value[Service]            `json:"services"`
	Env           []Value[string]             `json:"env"`
	RO            []Value[string]             `json:"ro"`
	Cache         []Value[string]             `json:"cache"`
	Credentials   []Value[Credential]         `json:"credentials"` // the user's and the organisation's
	Named         []string                    `json:"named"`       // of them, those the repository asks for
	Hide          []Value[string]             `json:"hide"`
	Limits        Limits                      `json:"limits"`
	Home          Value[string]               `json:"home"`
	Staging       Value[string]               `json:"staging"`
	Commands      Value[string]               `json:"commands"`
	Profile       map[string]Value[string]    `json:"profile"`
	Profiles      map[string]Value[yaml.Node] `json:"-"`
	Model         Model                       `json:"model"`
	Policy        []Value[string]             `json:"policy"` // the organisation's first; the origin says whose
	PolicyKeys    []Value[string]             `json:"policy_keys"`
	Tools         []Value[string]             `json:"tools"`
	UpstreamProxy Value[string]               `json:"upstream_proxy"`
	ExtraRoots    []Value[string]             `json:"extra_roots"`
	Identity      Value[Identity]             `json:"identity"`
	Signing       Value[Signing]              `json:"signing"`
	Witnesses     Value[Witnesses]            `json:"witnesses"`
}

// Merge joins the three files; nil is an empty one. What narrows applies
// whoever says it: paths to hide add up, the lowest limit counts, a home that
// anybody discards is discarded, the strictest word about commands holds. What grants adds up over the organisation
// and the user, and over the repository only if trusted. Of single values the
// organisation's endpoint and proxy win, and the user's own choices.
func Merge(org, user, repo *File, trusted bool) Effective {
	org, user, repo = orEmpty(org), orEmpty(user), orEmpty(repo)
	granted := &File{}
	if trusted {
		granted = repo
	}
	e := Effective{
		Egress:        slices.Concat(org.Egress, user.Egress, granted.Egress),
		Services:      slices.Concat(org.Services, user.Services, granted.Services),
		Env:           slices.Concat(org.Env, user.Env, granted.Env),
		RO:            slices.Concat(org.RO, user.RO, granted.RO),
		Cache:         slices.Concat(org.Cache, user.Cache, granted.Cache),
		Credentials:   slices.Concat(org.Credentials, user.Credentials),
		Named:         named(granted),
		Hide:          slices.Concat(org.Hide, user.Hide, repo.Hide),
		Limits:        org.Limits.Lower(user.Limits).Lower(repo.Limits),
		Staging:       first(user.Staging, org.Staging, repo.Staging),
		Profile:       maps.Clone(org.Profile),
		Profiles:      maps.Clone(org.Profiles),
		Model:         Model{first(org.Model.Endpoint, user.Model.Endpoint), first(org.Model.Key, user.Model.Key)},
		Policy:        slices.Concat(org.Policy, user.Policy),
		PolicyKeys:    slices.Concat(org.PolicyKeys, user.PolicyKeys),
		Tools:         slices.Concat(org.Tools, user.Tools),
		UpstreamProxy: first(org.UpstreamProxy, user.UpstreamProxy),
		ExtraRoots:    slices.Concat(org.ExtraRoots, user.ExtraRoots),
		Identity:      first(user.Identity, org.Identity),
		Signing:       first(org.Signing, user.Signing),
		Witnesses:     first(org.Witnesses, user.Witnesses),
	}
	e.Home = mergeHome(org, user, repo)
	e.Commands = Strictest(org.Commands, user.Commands, repo.Commands)
	e.Profile = overlay(e.Profile, user.Profile)
	e.Profiles = overlay(e.Profiles, user.Profiles)
	return e
}

func mergeHome(files ...*File) Value[string] {
	var said Value[string]
	for _, f := range files {
		if f.Home.Value == "discard" {
			return f.Home
		}
		said = first(said, f.Home)
	}
	return said
}

// commandModes are what can be said of commands, the strictest last.
var commandModes = []string{"", "off", "record", "decide"}

// Strictest returns the strictest of what is said of commands.
func Strictest(modes ...Value[string]) (said Value[string]) {
	for _, m := range modes {
		if slices.Index(commandModes, m.Value) > slices.Index(commandModes, said.Value) {
			said = m
		}
	}
	return said
}

func overlay[T any](below, above map[string]T) map[string]T {
	if below == nil {
		below = map[string]T{}
	}
	maps.Copy(below, above)
	return below
}

func orEmpty(f *File) *File {
	if f == nil {
		return &File{}
	}
	return f
}
