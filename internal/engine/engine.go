// Package engine is the composition root: it opens the state of one user,
// builds the gate, the log, the policy, the door and the desk from
// configuration, and connects them. It is trusted with everything this user's
// runs can do; nothing from inside a desk calls it except through the
// interfaces of the packages it connects.
package engine

import (
	"os"

	"github.com/carrel-dev/carrel/internal/place"
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
	Paths   place.Paths
}

// Interrupted is why a command's context ended: the user or the system asked
// for it.
type Interrupted struct{ Signal os.Signal }

// Error implements error.
func (i *Interrupted) Error() string { return i.Signal.String() }
