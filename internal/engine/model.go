//go:build linux

package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/credential"
	"github.com/carrel-dev/carrel/internal/profile"
)

// modelDoor is the agent's model endpoint and the key that stays outside.
type modelDoor struct {
	endpoint string
	header   string // "Authorization" carries a bearer token
	source   *credential.Source
	from     string // where the key comes from, for people; never the key
	env      []profile.Variable
	args     []string
}

// chooseModel finds the endpoint and the key: the configuration's, else what
// the profile knows. Without a key the door stays shut, and a login that the
// agent keeps in its own home goes straight to the hosts of the profile.
func (v *visit) chooseModel() (*modelDoor, error) {
	known := v.profile.Model
	set := v.settings.Model
	if known == nil && !set.Endpoint.IsSet() {
		return nil, nil
	}
	d := &modelDoor{header: "Authorization"}
	if known != nil {
		d.endpoint, d.header, d.env, d.args = known.Endpoint, known.Header, known.Env, known.Args
		for _, name := range known.EndpointEnv {
			if value, ok := v.e.host.lookup(name); ok && value != "" {
				d.endpoint = value
			}
		}
	}
	if set.Endpoint.IsSet() {
		d.endpoint = set.Endpoint.Value
	}
	if set.Key.IsSet() {
		return d, v.keyFromConfig(d, set.Key.Value)
	}
	if known == nil {
		return d, nil
	}
	found, err := v.keyFromProfile(d, known)
	if err != nil || !found {
		return nil, err
	}
	return d, nil
}

func (v *visit) keyFromConfig(d *modelDoor, k config.Key) (err error) {
	switch {
	case k.Env != "":
		d.source, d.from = credential.FromEnv(k.Env, v.e.host.lookup), "variable "+k.Env
	case k.File != "":
		d.source, d.from = credential.FromFile(k.File, v.ws.Root()), "file "+k.File
	default:
		d.source, err = credential.FromCommand(k.Command, v.e.host.Environ)
		d.from = "command " + strings.Join(k.Command, " ")
	}
	return err
}

// keyFromProfile takes the first place where a key is.
func (v *visit) keyFromProfile(d *modelDoor, m *profile.Model) (bool, error) {
	for _, k := range m.Keys {
		source, from, err := v.keySource(k)
		if err != nil {
			return false, err
		}
		if source == nil {
			continue
		}
		d.source, d.from = source, from
		if k.Header != "" {
			d.header = k.Header
		}
		return true, nil
	}
	return false, nil
}

// keySource returns nil where no key is.
func (v *visit) keySource(k profile.KeySource) (*credential.Source, string, error) {
	switch {
	case k.Env != "":
		if value, ok := v.e.host.lookup(k.Env); !ok || value == "" {
			return nil, "", nil
		}
		return credential.FromEnv(k.Env, v.e.host.lookup), "variable " + k.Env, nil
	case k.Helper != "":
		command, err := memberOf(v.expand(k.Helper), k.JSON)
		if err != nil || command == "" {
			return nil, "", err
		}
		// The agent runs its helper with a shell; so do we, on the host, as it would.
		source, err := credential.FromCommand([]string{"/bin/sh", "-c", command}, v.e.host.Environ)
		return source, "the agent's own helper", err
	case k.JSON != "":
		path := v.expand(k.File)
		value, err := memberOf(path, k.JSON)
		if err != nil || value == "" {
			return nil, "", err
		}
		return credential.FromEnv(k.File, func(string) (string, bool) {
			value, err := memberOf(path, k.JSON)
			return value, err == nil && value != ""
		}), "file " + k.File, nil
	}
	path := v.expand(k.File)
	if _, err := os.Stat(path); err != nil {
		return nil, "", nil
	}
	return credential.FromFile(path, v.ws.Root()), "file " + k.File, nil
}

func (v *visit) expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(v.e.host.Home, rest)
	}
	return path
}

// memberOf reads a string member, named a.b.c, of a JSON file of the user;
// "" where the file or the member is not there.
func memberOf(path, name string) (string, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking for a key: %w", err)
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return "", fmt.Errorf("looking for a key in %s: %w", path, err)
	}
	for part := range strings.SplitSeq(name, ".") {
		object, _ := value.(map[string]any)
		value = object[part]
	}
	s, _ := value.(string)
	return s, nil
}

// profileEnv is what the profile and the model door set.
func (v *visit) profileEnv() []string {
	var out []string
	add := func(vars []profile.Variable) {
		for _, e := range vars {
			out = append(out, e.Name+"="+e.Value)
		}
	}
	for _, p := range v.ecosystems {
		add(p.Env)
	}
	add(v.profile.Env)
	if v.model != nil {
		add(v.model.env)
	}
	return out
}
