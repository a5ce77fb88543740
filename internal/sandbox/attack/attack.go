//go:build linux

// Package attack holds the attacks on a desk's walls as data: what each tries,
// what may stop it, and its twin, the legitimate thing right next to it that
// must go on working. It is what `carrel selftest` and the tests of every tier
// have in common. The attacks run as an agent would, inside a desk; they open
// and never write outside it, and only on a stage that was made for them. It
// is trusted with nothing.
package attack

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Stage is what was set up outside for the attacks to try, and is told to
// them. Empty fields are things that are not there; attacks that need them do
// not apply.
type Stage struct {
	Canary     string  // a random word in every file that must not be read
	Home       string  // the host's home, with Secrets in it
	State      string  // Carrel's own directory for this run
	Outside    string  // a directory beside the workspace, with the file "canary"
	Workspace  string  // path of the workspace inside
	OwnHome    string  // path of the desk's home inside
	ReadOnly   string  // a file that is shown read-only
	Hidden     string  // a file of the workspace that is made empty
	Link       string  // a link in the workspace to the canary outside
	Supervisor Process // outside; it walls the desk in
	Bystander  Process // outside, of the same user
	TCP        string  // listener on the host's loopback
	UDP        string
	Abstract   string // name of an abstract socket of the host, without @
	Socket     string // path of a socket of the host
	Outward    string // address of the host that is not loopback
	Service    string // NAME:PORT inside that leads to a listener of the host which says Canary
	Allowed    string // a name that the agent may resolve
	Notices    string // what the agent is told about refusals
	Mark       string // seconds, unlike any other, that a process is left sleeping
	Pids       int    // limit of processes, 0: none was asked for
}

// Process is one outside. Inside its number may be another's.
type Process struct {
	PID     int
	Started uint64 // see StartOf
}

// Secrets are files that the stage's Home has, each with the canary.
var Secrets = []string{".ssh/id_ed25519", ".aws/credentials", ".netrc", ".config/gh/hosts.yml", ".docker/config.json", ".kube/config", ".bash_history"}

// Attack is one row.
type Attack struct {
	Name  string // stable, unique
	Group string
	Tries string // what it tries, as people read it

	// Try gets through (nil), is stopped (an error that By names, or a
	// *Stopped), or fails by chance (any other error), which is no wall.
	Try func(*Stage) error
	By  []error
	// Twin is what must work; TwinTries says what.
	Twin      func(*Stage) error
	TwinTries string

	// Alone attacks run in a process of their own, which they may lose.
	Alone bool
	// Needs says whether a stage has what it takes; nil: every stage.
	Needs func(*Stage) bool
}

// Stopped is what a wall does that is no error of the kernel: an empty file,
// an answer that says no.
type Stopped struct{ How string }

// Error implements error.
func (s *Stopped) Error() string { return s.How }

func stopped(format string, args ...any) error { return &Stopped{fmt.Sprintf(format, args...)} }

// Result is how one attack went.
type Result struct {
	Name    string `json:"name"`
	Held    bool   `json:"held"`
	How     string `json:"how"`                // what stopped it, or what it got
	Twin    bool   `json:"twin"`               // the twin works
	TwinHow string `json:"twin_how,omitempty"` // why not
	GotIn   bool   `json:"-"`
	TookMS  int64  `json:"took_ms"`
}

// All are the attacks, in the order in which they are shown.
func All() []Attack {
	groups := []struct {
		name string
		rows []Attack
	}{
		{"files", files()}, {"devices", devices()}, {"kernel files", kernelFiles()}, {"processes", processes()}, {"privileges", privileges()},
		{"system calls", calls()}, {"sockets", sockets()}, {"network", network()}, {"names", names()}, {"supervisor", supervisor()}, {"limits", limits()},
	}
	var rows []Attack
	for _, g := range groups {
		for _, a := range g.rows {
			a.Group = g.name
			rows = append(rows, a)
		}
	}
	return rows
}

// For returns the attacks that apply to a stage.
func For(s *Stage) []Attack {
	return slices.DeleteFunc(All(), func(a Attack) bool { return a.Needs != nil && !a.Needs(s) })
}

// run carries out one attack and its twin.
func (a *Attack) run(s *Stage) Result {
	r := Result{Name: a.Name}
	err := guarded(a.Try, s)
	r.How = describe(err)
	var said *Stopped
	switch {
	case err == nil:
		r.How = "got in"
	case errors.As(err, &said), slices.ContainsFunc(a.By, func(e error) bool { return errors.Is(err, e) }):
		r.Held = true
	default:
		r.How = "stopped by chance: " + r.How
	}
	if err := guarded(a.Twin, s); err != nil {
		r.TwinHow = describe(err)
	} else {
		r.Twin = true
	}
	return r
}

// guarded keeps one attack that breaks from ending the others.
func guarded(f func(*Stage) error, s *Stage) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f(s)
}

// describe names an error as the kernel's manual does.
func describe(err error) string {
	var e unix.Errno
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return unix.ErrnoName(e) + ", " + e.Error()
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}

// Walls by which attacks are stopped.
var (
	absent    = []error{fs.ErrNotExist, unix.ENOTDIR}
	forbidden = []error{unix.EPERM, unix.EACCES}
	readOnly  = []error{unix.EROFS, unix.EACCES, unix.EPERM}
	nobody    = []error{unix.ESRCH, unix.EPERM}
	noRoute   = []error{unix.ECONNREFUSED, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EADDRNOTAVAIL, unix.ECONNRESET, unix.EACCES, unix.EPERM, unix.ENETDOWN}
)

func either(lists ...[]error) []error { return slices.Concat(lists...) }
