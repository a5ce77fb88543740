package view

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

func TestCachesOfWhatTheWorkspaceUses(t *testing.T) {
	h := home(t, with(secrets, map[string]string{"ws/go.mod": "", "ws/package.json": "", "go/pkg/mod/cache/x": "", ".npm/_cacache/x": "", ".cargo/registry/x": "", ".npm/_logs/x": ""}))
	r := h.request("true")
	r.CacheDir = "/state/caches/ws"
	p := build(t, h, r)
	mod := p.mount("/var/cache/carrel/go/mod")
	if mod == nil || mod.Kind != sandbox.MountOverlay || mod.Lower != h.Home+"/go/pkg/mod" || mod.Upper != "/state/caches/ws/go-mod/upper" || !mod.Writable || !mod.Adopt {
		t.Errorf("modules: %+v", mod)
	}
	if p.env("GOMODCACHE") != "/var/cache/carrel/go/mod" || p.env("npm_config_cache") != "/var/cache/carrel/npm" || p.env("CARGO_HOME") != "" {
		t.Errorf("environment %v", p.Env)
	}
	// The host has no build cache: the workspace begins one.
	if m := p.mount("/var/cache/carrel/go/build"); m == nil || m.Kind != sandbox.MountBind || m.Source != "/state/caches/ws/go-build/upper" {
		t.Errorf("build cache: %+v", m)
	}
	if m := p.mount("/var/cache/carrel/npm/_cacache"); m == nil || m.Lower != h.Home+"/.npm/_cacache" {
		t.Errorf("npm: %+v", m)
	}
	for name := range secrets {
		if p.sees(h.Home + "/" + name) {
			t.Errorf("~/%s is visible", name)
		}
	}
	if !slices.Contains(p.MakeDirs, "/state/caches/ws/go-mod/work") {
		t.Errorf("directories to make: %v", p.MakeDirs)
	}

	r.Caches = []string{"cargo"}
	p = build(t, h, r)
	if p.mount("/var/cache/carrel/go/mod") != nil || p.env("CARGO_HOME") != "/var/cache/carrel/cargo" || p.sees(h.Home+"/.cargo/credentials.toml") {
		t.Errorf("only cargo was asked for: %v", p.Env)
	}
	r.Caches = []string{}
	if p = build(t, h, r); len(p.MakeDirs) != 0 {
		t.Errorf("no cache was asked for: %v", p.MakeDirs)
	}
	r.Caches, r.NoOverlay = nil, true
	p = build(t, h, r)
	for _, m := range p.Mounts {
		if strings.HasPrefix(m.Target, cacheRoot) && m.Kind == sandbox.MountOverlay {
			t.Errorf("an overlay where there can be none: %+v", m)
		}
	}
}

// A cache that the host's variables move is found where its owner looks for it.
func TestCachesAreWhereTheHostKeepsThem(t *testing.T) {
	files := map[string]string{"ws/x": ""}
	for _, dir := range []string{"xdg/go-build", "xdg/pip", "xdg/uv", "own/_cacache", "own/registry", "own/git", "own/pkg/mod", "own/go-build", "go/pkg/mod",
		".cache/go-build", ".cache/pip", ".npm/_cacache", ".cargo/registry"} {
		files[dir+"/x"] = ""
	}
	for _, c := range []struct{ variable, value, target, want string }{
		{"XDG_CACHE_HOME", "HOME/xdg", "go/build", "xdg/go-build"},
		{"XDG_CACHE_HOME", "HOME/xdg", "pip", "xdg/pip"},
		{"XDG_CACHE_HOME", "HOME/xdg", "uv", "xdg/uv"},
		{"XDG_CACHE_HOME", "xdg", "pip", ".cache/pip"}, // must be absolute (XDG Base Directory Specification)
		{"XDG_CACHE_HOME", "HOME/xdg", "go/mod", "go/pkg/mod"},
		{"GOCACHE", "HOME/own/go-build", "go/build", "own/go-build"},
		{"GOPATH", "HOME/own:HOME/go", "go/mod", "own/pkg/mod"},
		{"npm_config_cache", "HOME/own", "npm/_cacache", "own/_cacache"},
		{"CARGO_HOME", "HOME/own", "cargo/registry", "own/registry"},
		{"CARGO_HOME", "HOME/own", "cargo/git", "own/git"},
		{"CARGO_HOME", "HOME/nowhere", "cargo/registry", ""},
	} {
		h := home(t, files)
		r := h.request("true")
		r.CacheDir, r.Caches = "/state/caches/ws", CacheNames()
		h.Environ = append(h.Environ, c.variable+"="+strings.ReplaceAll(c.value, "HOME", h.Home))
		m := build(t, h, r).mount(filepath.Join(cacheRoot, c.target))
		want := c.want
		if want != "" {
			want = filepath.Join(h.Home, want)
		}
		if m == nil || m.Lower != want {
			t.Errorf("%s=%s: %s is over %+v, want %q", c.variable, c.value, c.target, m, want)
		}
	}
}

func TestHiddenFilesAreEmptyAtBothPlaces(t *testing.T) {
	h := home(t, map[string]string{"ws/.env": "canary", "ws/sub/.env.local": "canary", "ws/sub/deep/.env": "canary", "ws/keys/a": "canary", "ws/ok": "",
		"ws/node_modules/x/.env": "", "ws/link": "->ok", "ws/dir": "->keys"})
	for _, c := range []struct {
		patterns []string
		want     []string
	}{
		{[]string{".env"}, []string{".env"}},
		{[]string{"./.env", ".env"}, []string{".env"}},
		{[]string{"**/.env*"}, []string{".env", "sub/.env.local", "sub/deep/.env"}},
		{[]string{"keys/"}, []string{"keys"}},
		{[]string{"*/.env*"}, []string{"sub/.env.local"}},
		{[]string{"/workspace/keys/a"}, []string{"keys/a"}},
		{[]string{"HOME/ws/ok"}, []string{"ok"}},
		{[]string{"link", "dir/*", "not-there"}, nil},
	} {
		r := h.request("true")
		for _, pattern := range c.patterns {
			r.Hide = append(r.Hide, strings.ReplaceAll(pattern, "HOME", h.Home))
		}
		p := build(t, h, r)
		var got []string
		for _, m := range p.Mounts {
			if m.Why == "hidden" && within(m.Target, Workspace) {
				rel := strings.TrimPrefix(m.Target, "/workspace/")
				got = append(got, rel)
				if twin := p.mount(h.Home + "/ws/" + rel); twin == nil || twin.Kind != m.Kind || len(twin.Content) != 0 {
					t.Errorf("%s is open at its own path: %+v", rel, twin)
				}
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%v hides %v, want %v", c.patterns, got, c.want)
		}
	}
	for _, bad := range []string{"..", "../x", "/etc/passwd", ".", "[", "~/.ssh"} {
		r := h.request("true")
		r.Hide = []string{bad}
		if _, err := Build(h, r); err == nil {
			t.Errorf("--hide %s is accepted", bad)
		}
	}
}

func TestVisibleSecretsAreListed(t *testing.T) {
	h := home(t, map[string]string{"ws/.env": "", "ws/.env.example": "", "ws/a/.main.go.swp": "", "ws/.idea/workspace.xml": "", "ws/a/b/.env": "", "ws/certs/server.key": "", "ws/main.go": "", "ws/node_modules/.env": ""})
	found, more := VisibleSecrets(h.Home+"/ws", []string{"certs/server.key"})
	slices.Sort(found)
	if want := []string{".env", ".idea", "a/.main.go.swp"}; !slices.Equal(found, want) || more {
		t.Errorf("%v, %v", found, more)
	}
}

func TestWhatIsMadeHere(t *testing.T) {
	h := home(t, nil)
	r := h.request("true")
	r.GitName, r.GitEmail = "A \"B\" \n[core]\n\tpager=canary", "a@b.test"
	r.Notices, r.OutDir, r.HomeDir = "/run/n", "/state/out", "/state/home"
	r.Briefing = Briefing{Reach: []string{"api.test:443"}, Overlay: true}
	p := build(t, h, r)
	content := func(target string) string {
		if m := p.mount(target); m != nil {
			return string(m.Content)
		}
		t.Errorf("%s is missing", target)
		return ""
	}
	if c := content("/etc/gitconfig"); strings.Contains(c, "\n[core]pager") || strings.Contains(c, "\npager") || !strings.Contains(c, "directory = *") {
		t.Errorf("gitconfig: %s", c)
	}
	if c := content("/etc/passwd"); !strings.Contains(c, "u:x:1000:1000::/home/desk:") {
		t.Errorf("passwd: %s", c)
	}
	if c := content("/etc/resolv.conf"); !strings.HasPrefix(c, "nameserver 127.0.0.1\n") {
		t.Errorf("resolv.conf: %s", c)
	}
	if c := content(briefingPath); !strings.Contains(c, "api.test:443") || !strings.Contains(c, "EXDEV") || !strings.Contains(c, outDir+"/commit-message") || len(c) > 3000 {
		t.Errorf("briefing (%d): %s", len(c), c)
	}
	if m := p.mount("/home/desk"); m == nil || m.Source != "/state/home" || !m.Writable || !m.Adopt {
		t.Errorf("home: %+v", m)
	}
	if m := p.mount("/etc/shadow"); m != nil {
		t.Errorf("shadow: %+v", m)
	}
	for _, m := range p.Mounts {
		if m.Writable && m.Kind == sandbox.MountBind && m.Source != "/state/home" && m.Source != "/state/out" {
			t.Errorf("writable: %+v", m)
		}
		if m.Target == "" || m.Target[0] != '/' || m.Kind == "" {
			t.Errorf("incomplete: %+v", m)
		}
	}
}
