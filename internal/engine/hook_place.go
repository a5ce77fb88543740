package engine

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/hook"
	"github.com/carrel-dev/carrel/internal/workspace/risk"
)

// hookPlace says what the client's paths mean. A project that is the home or
// the whole machine is no workspace: nothing in it counts as the project's.
func (e *Records) hookPlace(call hook.Event, opts HookOptions) (hook.Place, error) {
	if !filepath.IsAbs(call.Cwd) && !call.Ends() {
		return hook.Place{}, errors.New("the client does not say in which directory it works")
	}
	root := opts.Project
	switch {
	case root != "":
	case call.Client().Name == hook.Codex: // call.Cwd is where the tool works
		root = projectAround(e.host.Cwd)
	default:
		root = projectAround(call.Cwd)
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	home, _ := filepath.EvalSymlinks(e.host.Home)
	if rel, err := filepath.Rel(root, home); err == nil && home != "" && filepath.IsLocal(rel) || filepath.Dir(root) == root {
		root = ""
	}
	temp, _ := e.host.lookup("TMPDIR")
	if !filepath.IsAbs(temp) {
		temp = ""
	}
	return hook.Place{
		Workspace: root, Home: e.host.Home, Temp: temp, Client: call.Client(),
		Program: e.host.program,
		Labels: func(path string, content []byte) []carrel.Label {
			f := risk.File{Now: risk.Head{Bytes: content, Whole: content != nil}}
			f.Path, f.Change, f.Kind = carrel.Text(path), carrel.Modified, carrel.FileRegular
			return risk.Assess(f)
		},
	}, nil
}

// projectAround is the nearest directory that is a repository's, else dir.
func projectAround(dir string) string {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Lstat(filepath.Join(d, ".git")); err == nil {
			return d
		}
		if filepath.Dir(d) == d {
			return dir
		}
	}
}

// program is where the shell would find a program on the user's PATH, links
// resolved; "" if that cannot be told.
func (h Host) program(name string) string {
	if strings.ContainsAny(name, `/\`) {
		return "" // relative to where the shell is by then
	}
	found := h.onPath(name)
	if found == "" {
		return ""
	}
	real, err := filepath.EvalSymlinks(found)
	if err != nil {
		return ""
	}
	return real
}

func (h Host) onPath(name string) string {
	path, _ := h.lookup("PATH")
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			return ""
		}
		for _, end := range h.programEnds() {
			found := filepath.Join(dir, name+end)
			if info, err := os.Stat(found); err == nil && info.Mode().IsRegular() && executable(info) {
				return found
			}
		}
	}
	return ""
}

// programEnds are what a program's name may lack; only Windows has any.
func (h Host) programEnds() []string {
	if runtime.GOOS != "windows" {
		return []string{""}
	}
	ends, ok := h.lookup("PATHEXT")
	if !ok {
		ends = ".com;.exe;.bat;.cmd"
	}
	return append(strings.Split(strings.ToLower(ends), ";"), "")
}

// executable reports the mode bit, which Windows has not.
func executable(info os.FileInfo) bool {
	return runtime.GOOS == "windows" || info.Mode().Perm()&0o111 != 0
}
