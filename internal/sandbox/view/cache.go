package view

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// cache is a package manager's cache: the host's read-only below, a private
// layer of this workspace above, so that a poisoned package stays at the desk.
type cache struct {
	name   string
	uses   []string // files of a workspace that say it is used
	layers []layer
}

// layer is one directory of a cache.
type layer struct {
	name string // of the private layer
	host string // relative to the home
	from string // variable of the host that moves it
	sub  string // below what from names
	env  string // variable set inside to at; "" for none
	path string // below cacheRoot
	at   string // what env is set to, below cacheRoot
	root bool   // at is a private directory that holds further layers
}

// cacheRoot is where caches are inside: not in the home, which the agent
// writes and which outlives the run.
const cacheRoot = "/var/cache/carrel"

// caches is the table of caches. Only content that is fetched again when it is
// missing is below; no configuration and no credential.
var caches = []cache{
	{"go", []string{"go.mod", "go.work"}, []layer{
		{name: "go-mod", host: "go/pkg/mod", from: "GOMODCACHE", env: "GOMODCACHE", path: "go/mod", at: "go/mod"},
		{name: "go-build", host: ".cache/go-build", from: "GOCACHE", env: "GOCACHE", path: "go/build", at: "go/build"},
	}},
	{"npm", []string{"package.json"}, []layer{
		{name: "npm", env: "npm_config_cache", path: "npm", at: "npm", root: true},
		{name: "npm-content", host: ".npm/_cacache", from: "npm_config_cache", sub: "_cacache", path: "npm/_cacache"},
	}},
	{"pip", []string{"pyproject.toml", "requirements.txt", "setup.py", "setup.cfg", "Pipfile", "uv.lock", "poetry.lock"}, []layer{
		{name: "pip", host: ".cache/pip", from: "PIP_CACHE_DIR", env: "PIP_CACHE_DIR", path: "pip", at: "pip"},
		{name: "uv", host: ".cache/uv", from: "UV_CACHE_DIR", env: "UV_CACHE_DIR", path: "uv", at: "uv"},
	}},
	{"cargo", []string{"Cargo.toml"}, []layer{
		{name: "cargo", env: "CARGO_HOME", path: "cargo", at: "cargo", root: true},
		{name: "cargo-registry", host: ".cargo/registry", from: "CARGO_HOME", sub: "registry", path: "cargo/registry"},
		{name: "cargo-git", host: ".cargo/git", from: "CARGO_HOME", sub: "git", path: "cargo/git"},
	}},
}

// CacheNames lists the caches that can be asked for.
func CacheNames() []string {
	var names []string
	for _, c := range caches {
		names = append(names, c.name)
	}
	return names
}

func (b *builder) caches() {
	if b.CacheDir == "" {
		return
	}
	for _, c := range caches {
		wanted := slices.Contains(b.Caches, c.name)
		if b.Caches == nil {
			wanted = slices.ContainsFunc(c.uses, func(f string) bool { return exists(filepath.Join(b.Workspace, f)) })
		}
		if !wanted {
			continue
		}
		for _, l := range c.layers {
			b.cacheLayer(l)
		}
	}
}

func (b *builder) cacheLayer(l layer) {
	target := filepath.Join(cacheRoot, l.path)
	if l.env != "" {
		b.set[l.env] = filepath.Join(cacheRoot, l.at)
	}
	if l.root {
		b.add(sandbox.Mount{Kind: sandbox.MountTmpfs, Target: target, Mode: 0o700, Writable: true, Why: "private"})
		return
	}
	upper, work := filepath.Join(b.CacheDir, l.name, "upper"), filepath.Join(b.CacheDir, l.name, "work")
	b.plan.MakeDirs = append(b.plan.MakeDirs, upper, work)
	m := sandbox.Mount{Kind: sandbox.MountBind, Source: upper, Target: target, Writable: true, Adopt: true, Why: "cache of this workspace"}
	if lower := b.hostCache(l); lower != "" && !b.NoOverlay {
		m.Kind, m.Source, m.Lower, m.Upper, m.Work = sandbox.MountOverlay, "", lower, upper, work
		m.Why = "cache of the host below, of this workspace above"
	}
	b.add(m)
}

// hostCache returns the host's directory of a layer, or "" where there is
// none that may be shown.
func (b *builder) hostCache(l layer) string {
	dir := b.hostCacheDir(l)
	_, final, err := walk(dir)
	if dir == "" || err != nil || b.refuse(final) != nil || within(final, b.Workspace) {
		return ""
	}
	return final
}

// hostCacheDir is where the package manager looks on the host, or "".
func (b *builder) hostCacheDir(l layer) string {
	if moved := b.env[l.from]; l.from != "" && filepath.IsAbs(moved) {
		return filepath.Join(moved, l.sub)
	}
	if l.name == "go-mod" && filepath.IsAbs(b.env["GOPATH"]) {
		return filepath.Join(filepath.SplitList(b.env["GOPATH"])[0], "pkg/mod")
	}
	below, isCache := strings.CutPrefix(l.host, ".cache/")
	if xdg := b.env["XDG_CACHE_HOME"]; isCache && filepath.IsAbs(xdg) {
		return filepath.Join(xdg, below)
	}
	if b.Home == "" {
		return ""
	}
	return filepath.Join(b.Home, l.host)
}
