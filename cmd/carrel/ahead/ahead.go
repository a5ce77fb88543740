//go:build linux

// Package ahead starts PID 1 of a run's desk while the rest of the program is
// still being initialised. A process that links the policy engine spends
// several milliseconds there, on one processor; a desk's namespaces and PID 1
// take as long, and need nothing of it.
//
// Go initialises a package as soon as everything it imports is initialised, in
// the order of import paths (The Go Programming Language Specification,
// Package initialization). So this package imports little, and nothing that
// imports much.
//
// It owns nothing for long: the tier is the run's. It is trusted with starting
// no program but the one that lies in a directory of this user alone.
package ahead

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/carrel-dev/carrel/internal/place"
	"github.com/carrel-dev/carrel/internal/sandbox/native"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// Tier is the tier whose next desk is on its way; nil if this process is not
// about to run an agent. PID 1 holds nothing and sees nothing of anybody until
// it is told what to build, and ends with this process.
var Tier = begin()

func begin() *native.Tier {
	if !wanted(os.Args) {
		return nil
	}
	paths, err := place.Default(os.Getenv("HOME"), os.Getenv)
	if err != nil || !private(paths.State) {
		return nil // it is made, or refused, when everything is there
	}
	tier := native.New(native.Options{InstallDir: paths.Init()})
	tier.Prepare()
	return tier
}

// wanted reports whether the command line is that of a run. A run that turns
// out to be none costs a process that ends unused.
func wanted(args []string) bool {
	if len(args) < 3 || filepath.Base(args[0]) == desk.Name || args[1] != "run" {
		return false
	}
	for _, arg := range args[2:] {
		switch {
		case arg == "--":
			return true
		case arg == "-h", arg == "--help", strings.HasPrefix(arg, "--dry-run"):
			return false
		}
	}
	return true
}

// private reports whether nobody else can put a program there.
func private(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || info.Mode() != os.ModeDir|0o700 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}
