package hook

import (
	"os"
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
	if p.Home != "" && (raw == "~" || len(raw) > 1 && raw[0] == '~' && os.IsPathSeparator(raw[1])) {
		raw = filepath.Join(p.Home, raw[1:])
	}
	real := resolved(absolute(raw, dir))
	if rel, ok := below(real, p.Workspace); ok {
		return norm.NFC.String(slashed(filepath.Join(string(filepath.Separator)+"workspace", rel)))
	}
	out := norm.NFC.String(slashed(real))
	if out == carrel.DeskWorkspace || strings.HasPrefix(out, carrel.DeskWorkspace+"/") {
		return "/host" + out // a directory of the host that only has the name
	}
	return out
}

// absolute is raw as somebody means it who works in dir. On Windows a path may
// begin at the root of that directory's drive, or name the drive as Git's
// shell does, /c/Users, unless there is a directory of that name.
func absolute(raw, dir string) string {
	switch {
	case filepath.IsAbs(raw):
		return raw
	case raw == "" || !os.IsPathSeparator(raw[0]):
		return filepath.Join(dir, raw)
	}
	here := filepath.VolumeName(dir)
	if drive, rest, _ := strings.Cut(raw[1:], "/"); raw[0] == '/' && len(drive) == 1 && isLetter(drive[0]) {
		if _, err := os.Lstat(here + "/" + drive); err != nil {
			return filepath.Clean(drive + ":/" + rest)
		}
	}
	return filepath.Join(here+string(filepath.Separator), raw)
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// anchored reports a path that does not begin where somebody works.
func anchored(raw string) bool {
	return filepath.IsAbs(raw) || filepath.VolumeName(raw) != "" || raw != "" && (os.IsPathSeparator(raw[0]) || raw[0] == '~')
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
