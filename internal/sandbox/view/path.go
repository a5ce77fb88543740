package view

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// defaultPath is the PATH inside where the host has none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// maxPath bounds how many entries of the PATH are looked at.
const maxPath = 128

// searchPath makes the entries of the PATH visible that may be, and computes
// the PATH inside.
func (b *builder) searchPath() {
	value, asked := b.asked["PATH"]
	if !asked {
		value = b.env["PATH"]
	}
	if value == "" {
		value = defaultPath
	}
	entries := filepath.SplitList(value)
	for _, entry := range entries[:min(len(entries), maxPath)] {
		if entry == Workspace || strings.HasPrefix(entry, Workspace+"/") || strings.HasPrefix(entry, b.plan.Home+"/") {
			b.addPath(filepath.Clean(entry))
			continue
		}
		if !filepath.IsAbs(entry) {
			continue // the current directory, or below it: another's program under a known name
		}
		if entry = filepath.Clean(entry); !slices.Contains(b.path, entry) && b.showDir(entry) {
			b.addPath(entry)
		}
	}
	// What the agent installs for itself comes last, so that it takes no
	// other program's name.
	b.addPath(b.plan.Home + "/.local/bin")
}

func (b *builder) addPath(entry string) {
	if !slices.Contains(b.path, entry) {
		b.path = append(b.path, entry)
	}
}

// showDir makes a directory of the PATH visible, with what its tools need.
func (b *builder) showDir(dir string) bool {
	if within(dir, b.Workspace) {
		b.baseOfVenv(dir)
		return true
	}
	hops, final, err := walk(dir)
	if err != nil {
		return false
	}
	if fi, err := os.Lstat(final); err != nil || !fi.IsDir() {
		return false
	}
	known := b.manage(dir)
	known = b.manage(final) || known
	if !known && !b.visible(final) {
		tree, why := b.around(final)
		if err := b.refuse(tree); err != nil {
			b.warn("PATH: %s is left out: %v", dir, err)
			return false
		}
		b.tree(tree, why)
		b.warnBeside(tree)
	}
	b.baseOfVenv(final)
	for _, hop := range hops {
		if !b.visible(hop.path) {
			b.add(sandbox.Mount{Kind: sandbox.MountSymlink, Target: hop.path, Source: hop.target})
		}
	}
	return true
}

// around returns the installation that a directory of programs is part of, if
// it has a form that is known: packages of npm, a virtual environment of
// Python; else the directory itself.
func (b *builder) around(dir string) (tree, why string) {
	if i := strings.Index(dir+"/", "/node_modules/"); i > 0 && b.refuse(dir[:i+len("/node_modules")]) == nil {
		return dir[:i+len("/node_modules")], "packages beside the program"
	}
	if venv := filepath.Dir(dir); exists(venv+"/pyvenv.cfg") && b.refuse(venv) == nil {
		return venv, "virtual environment of the program"
	}
	return dir, "directory of the program"
}

// warnBeside says that programs may miss their libraries where a directory is
// shown without what lies beside it.
func (b *builder) warnBeside(dir string) {
	if filepath.Base(dir) == "bin" && exists(filepath.Join(filepath.Dir(dir), "lib")) {
		b.warn("%s is visible without what lies beside it; if its programs need that: --ro %s", dir, filepath.Dir(dir))
	}
}

// rooted is a manager with the place where this user has it.
type rooted struct {
	manager
	root  string
	bins  []string // absolute
	moved bool     // by its variable, perhaps out of the home
	shown bool
}

// rootManagers works out once where each manager keeps its tools: its
// variable may have moved it.
func (b *builder) rootManagers() []*rooted {
	out := make([]*rooted, 0, len(managers))
	for _, m := range managers {
		r := &rooted{manager: m, root: filepath.Join(b.Home, m.root)}
		if dir := b.env[m.env]; m.env != "" && filepath.IsAbs(dir) && filepath.Clean(dir) != b.Home {
			r.root, r.moved = filepath.Clean(dir), true
		}
		for _, bin := range m.bins {
			r.bins = append(r.bins, filepath.Join(r.root, bin))
		}
		out = append(out, r)
	}
	return out
}

// manage shows what the managers need that dir belongs to, and reports
// whether there is one.
func (b *builder) manage(dir string) bool {
	found := false
	for _, m := range b.managers {
		if !m.moved && !b.own(dir) || !slices.ContainsFunc(m.bins, func(bin string) bool { return inBin(dir, bin) }) {
			continue
		}
		if !m.shown {
			m.shown = true
			b.showManager(m)
		}
		found = found || within(dir, m.root)
	}
	return found
}

// inBin reports whether dir is bin or below it; a component of bin may be *.
func inBin(dir, bin string) bool {
	before, after, wild := strings.Cut(bin, "/*")
	if !wild || !within(dir, before) {
		return !wild && within(dir, bin)
	}
	_, rest, _ := strings.Cut(strings.TrimPrefix(dir[len(before):], "/"), "/")
	return within("/"+rest, after)
}

func (b *builder) showManager(m *rooted) {
	for _, p := range m.paths {
		path := filepath.Join(m.root, p)
		hops, final, err := walk(path)
		if err != nil {
			continue
		}
		if err := b.refuseStore(final); err != nil || within(b.Home, final) {
			b.warn("%s: %s is left out: a credential store lies there", m.name, path)
			continue
		}
		if b.visible(final) || !b.copied(final, final, m.name) {
			b.tree(final, m.name)
		}
		if len(hops) > 0 {
			_, _ = b.follow(path)
		}
	}
	if m.env != "" {
		b.set[m.env] = m.root
	}
}
