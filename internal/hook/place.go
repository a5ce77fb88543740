package hook

import (
	"path/filepath"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/carrel-dev/carrel"
)

// Place is where a client works: what its paths mean.
type Place struct {
	Workspace string // the project's directory, links resolved
	Home      string
	Temp      string // the user's own directory for temporary files; "": the system's only
	Client    *Client
	// Program finds a program as the client's shell would; "" if it cannot.
	Program func(name string) string
	// Labels says what is risky about content for a path of the workspace.
	Labels func(path string, content []byte) []carrel.Label
}

// path is what a policy sees of a host's path: absolute, clean, links
// resolved as far as there is something, and the workspace at /workspace.
func (p Place) path(raw, dir string) string {
	if rest, ok := strings.CutPrefix(raw, "~/"); ok && p.Home != "" {
		raw = filepath.Join(p.Home, rest)
	} else if raw == "~" && p.Home != "" {
		raw = p.Home
	}
	if !filepath.IsAbs(raw) {
		raw = filepath.Join(dir, raw)
	}
	real := resolved(raw)
	if rel, ok := below(real, p.Workspace); ok {
		return norm.NFC.String(slashed(filepath.Join(string(filepath.Separator)+"workspace", rel)))
	}
	out := norm.NFC.String(slashed(real))
	if out == carrel.DeskWorkspace || strings.HasPrefix(out, carrel.DeskWorkspace+"/") {
		return "/host" + out // a directory of the host that only has the name
	}
	return out
}

// below returns the path of p relative to dir.
func below(p, dir string) (string, bool) {
	if dir == "" {
		return "", false
	}
	rel, err := filepath.Rel(dir, p)
	return rel, err == nil && filepath.IsLocal(rel)
}

// slashed writes a path as policies read it: with slashes, the volume first.
func slashed(p string) string {
	volume := filepath.VolumeName(p)
	out := filepath.ToSlash(p[len(volume):])
	if volume != "" {
		out = "/" + strings.Trim(filepath.ToSlash(volume), "/") + out
	}
	return strings.TrimSuffix(out, "/.")
}

// resolved follows links as far as the path exists.
func resolved(p string) string {
	p = filepath.Clean(p)
	for rest := ""; ; {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			return filepath.Join(real, rest)
		}
		parent := filepath.Dir(p)
		if parent == p {
			return filepath.Join(p, rest)
		}
		rest, p = filepath.Join(filepath.Base(p), rest), parent
	}
}
