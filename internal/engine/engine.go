// Package engine is the composition root: it opens the state of one user,
// builds the gate, the log, the policy, the door and the desk from
// configuration, and connects them. It is trusted with everything this user's
// runs can do; nothing from inside a desk calls it except through the
// interfaces of the packages it connects.
package engine

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/carrel-dev/carrel"
)

// Host is what the commands know of the machine and the user. The engine
// reads nothing of its surroundings by itself.
type Host struct {
	Version string
	Self    string // path of this program
	Cwd     string
	Home    string
	UID     int
	User    string // name of the user, for records
	Environ []string
	Stdin   *os.File
	Stdout  *os.File
	Stderr  *os.File
	Paths   Paths
}

// Paths are where this user's Carrel keeps things.
type Paths struct {
	State      string // mode 0700: desks, runs, changes, log, keys
	Second     string // where the newest checkpoint is kept a second time
	UserConfig string
	OrgConfig  string
}

// DefaultPaths follows the XDG base directories; lookup reads the environment.
func DefaultPaths(home string, lookup func(string) string) (Paths, error) {
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
		OrgConfig:  "/etc/carrel/config.yaml",
	}, nil
}

// Interrupted is why a command's context ended: the user or the system asked
// for it.
type Interrupted struct{ Signal os.Signal }

// Error implements error.
func (i *Interrupted) Error() string { return i.Signal.String() }
