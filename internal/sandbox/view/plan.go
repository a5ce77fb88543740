// Package view says what of the host a desk sees: it turns facts about the
// host and a request into mounts, the resolved program, its arguments and its
// environment.
//
// It is trusted with not showing too much: the home, credential stores,
// sockets and Carrel's own state never appear, whatever is on the PATH or
// asked for. It reads names, links and a few small files of the host, changes
// nothing, and looks at nothing in proportion to the size of a tree.
package view

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// Host is what the caller knows of the machine and its user. Nothing in this
// package reads the environment.
type Host struct {
	Home     string   // home of the invoking user; "" where there is none
	Cwd      string   // absolute
	Environ  []string // of the invoking user; PATH is in it
	State    []string // directories of Carrel's own: state, configuration, second checkpoint
	UserName string   // of the invoking user
	UID, GID int      // of the desk's user as it sees itself
}

// Request is what one run asks for.
type Request struct {
	Foundation *Foundation // of this host; nil: it is computed
	Argv       []string
	Workspace  string          // host path: absolute, clean, links resolved
	Staged     []sandbox.Mount // the workspace, at Workspace and at /workspace
	// HomeDir is a private host directory that becomes the home; "" gives a
	// home in memory that goes with the run.
	HomeDir string
	// OutDir is a private host directory, writable inside, where the
	// agent leaves its proposal for a commit message; "" for none.
	OutDir  string
	Notices string // host file with the run's notices, read-only inside; "" for none
	// CacheDir is a private host directory of this workspace that holds the
	// upper layers of the caches. Caches names them (go, npm, pip, cargo); nil
	// means those the workspace uses.
	CacheDir string
	Caches   []string
	// NoOverlay gives empty private caches, where the tier cannot have the
	// host's below.
	NoOverlay bool

	Env        []string // NAME (value of the host) or NAME=VALUE, as the user asked
	ProfileEnv []string // NAME=VALUE from the agent's profile and the doors; yields to Env
	RO         []Asked  // host paths to show, read-only
	Hide       []string // paths or patterns in the workspace to make empty
	GitName    string
	GitEmail   string
	Briefing   Briefing
	// Authority is a certificate, in PEM, that programs inside are to trust
	// besides the host's; empty for none.
	Authority []byte
	Files     []sandbox.Mount // further mounts of the profile (briefings, settings); after everything else
}

// Asked is a host path and what named it, for a person to find: an option, or
// a line of a file.
type Asked struct{ Path, By string }

func (a Asked) String() string { return a.By + " " + a.Path }

// Plan is what a tier needs to build what the desk sees.
type Plan struct {
	Mounts  []sandbox.Mount
	Program string   // absolute path inside
	Args    []string // with argv[0]
	Env     []string
	Dir     string // inside; the current directory if it is visible, else the workspace
	Home    string // inside
	// MakeDirs are private host directories that must exist, mode 0700, before
	// the tier starts: upper and work directories of caches.
	MakeDirs []string
	// Shown is what was asked for with --ro and is visible, read-only: absolute
	// paths.
	Shown []string
	// Handed names the variables that look like secrets and were handed in
	// because the user asked for it.
	Handed []string
	// Hidden are the patterns of Request.Hide that something matched.
	Hidden   []string
	Warnings []string
}

// Paths inside the desk.
const (
	Workspace    = carrel.DeskWorkspace
	outDir       = "/run/carrel/out"
	NoticesPath  = "/run/carrel/notices"
	briefingPath = "/run/carrel/briefing.md"
)

// ErrNotFound is a command that is nowhere on the PATH inside: exit code 127.
var ErrNotFound = errors.New("command not found")

// ErrNotExecutable is a command that exists and cannot be executed: 126.
var ErrNotExecutable = errors.New("not executable")

// within reports whether path is dir or lies below it. Both are clean.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// abs makes a path given by the user absolute, as seen from the host's
// current directory.
func (h Host) abs(path string) string {
	if path == "~" || strings.HasPrefix(path, "~/") {
		path = h.Home + path[1:]
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(h.Cwd, path)
	}
	return filepath.Clean(path)
}
