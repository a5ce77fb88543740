package engine

import (
	"path"
	"regexp"
	"strings"
	"sync"
)

// codeowners are the rules of a CODEOWNERS file; of those that match a path
// the last counts.
type codeowners []ownerRule

type ownerRule struct {
	pattern *regexp.Regexp
	owners  []string
}

// maxOwnerRules bounds the rules that are read: each is tried on every file.
const maxOwnerRules = 5000

// parseCodeowners reads a CODEOWNERS file as forges do. Lines that cannot be
// read, and sections of other dialects, are left out: they say who should
// look, and decide nothing.
func parseCodeowners(raw []byte) codeowners {
	var out codeowners
	for line := range strings.Lines(string(raw)) {
		line, _, _ = strings.Cut(line, " #")
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") || strings.HasPrefix(fields[0], "[") || strings.HasPrefix(fields[0], "^[") || len(out) == maxOwnerRules {
			continue
		}
		if pattern, err := ownerPattern(fields[0]); err == nil {
			out = append(out, ownerRule{pattern, safeOwners(fields[1:])})
		}
	}
	return out
}

// safeOwners are names as forges have them: what else the file holds is not
// repeated to anybody.
func safeOwners(fields []string) []string {
	var out []string
	for _, f := range fields {
		if len(f) <= 100 && ownerName().MatchString(f) {
			out = append(out, f)
		}
	}
	return out
}

var ownerName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(@?[A-Za-z0-9._-]+(/[A-Za-z0-9._/-]+)?|[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+)$`)
})

// ownerPattern makes a regular expression of a pattern like those of
// gitignore: a slash within anchors it, a star stays within a component, and
// what names a directory means all below it.
func ownerPattern(p string) (*regexp.Regexp, error) {
	directory := strings.HasSuffix(p, "/")
	anchored := strings.Contains(strings.TrimSuffix(p, "/"), "/")
	p = strings.Trim(p, "/")
	var b strings.Builder
	b.WriteString("^")
	if !anchored {
		b.WriteString("(?:.*/)?")
	}
	for i := 0; i < len(p); i++ {
		switch {
		case strings.HasPrefix(p[i:], "**/"):
			b.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(p[i:], "**"):
			b.WriteString(".*")
			i++
		case p[i] == '*':
			b.WriteString("[^/]*")
		case p[i] == '?':
			b.WriteString("[^/]")
		default:
			b.WriteString(regexp.QuoteMeta(p[i : i+1]))
		}
	}
	switch {
	case directory:
		b.WriteString("/.*$")
	case path.Base(p) == "*" && anchored: // dir/* means the files of dir, not what lies deeper
		b.WriteString("$")
	default:
		b.WriteString("(?:/.*)?$")
	}
	return regexp.Compile(b.String())
}

// owners are those of the last rule that matches.
func (c codeowners) owners(rel string) []string {
	for i := len(c) - 1; i >= 0; i-- {
		if c[i].pattern.MatchString(rel) {
			return c[i].owners
		}
	}
	return nil
}
