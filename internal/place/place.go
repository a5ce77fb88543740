// Package place says where a user's Carrel keeps things. It touches nothing,
// and is trusted with naming places that only this user should be able to enter:
// whoever uses one checks that.
package place

import (
	"fmt"
	"path/filepath"

	"github.com/carrel-dev/carrel"
)

// Paths are where this user's Carrel keeps things.
type Paths struct {
	State      string // mode 0700: desks, runs, changes, log, keys
	Second     string // where the newest checkpoint is kept a second time
	UserConfig string
	OrgConfig  string
}

// Init is where PID 1's program is kept.
func (p Paths) Init() string { return filepath.Join(p.State, "init") }

// Default follows the XDG base directories; lookup reads the environment.
func Default(home string, lookup func(string) string) (Paths, error) {
	dir := func(name, fallback string) (string, error) {
		if v := lookup(name); v != "" {
			if !filepath.IsAbs(v) {
				return "", fmt.Errorf("%s is %q: it must be an absolute path", name, v)
			}
			return filepath.Clean(v), nil
		}
		if home == "" {
			return "", fmt.Errorf("neither HOME nor %s is set", name)
		}
		return filepath.Join(home, fallback), nil
	}
	state, err := dir("XDG_STATE_HOME", ".local/state")
	if err != nil {
		return Paths{}, err
	}
	data, err := dir("XDG_DATA_HOME", ".local/share")
	if err != nil {
		return Paths{}, err
	}
	config, err := dir("XDG_CONFIG_HOME", ".config")
	if err != nil {
		return Paths{}, err
	}
	return Paths{
		State:      filepath.Join(state, "carrel"),
		Second:     filepath.Join(data, "carrel", "checkpoint-"+carrel.DigestBytes([]byte(state)).Short()), // one for each log
		UserConfig: filepath.Join(config, "carrel", "config.yaml"),
		OrgConfig:  filepath.Join(organisation(), "config.yaml"),
	}, nil
}
