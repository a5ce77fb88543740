package view

import (
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// Describe lists what a desk sees, one line per mount, for --dry-run. The
// caller escapes it for the terminal.
func Describe(p Plan) []string {
	var out []string
	for _, m := range p.Mounts {
		if line := describe(m); line != "" {
			out = append(out, line)
		}
	}
	return out
}

func describe(m sandbox.Mount) string {
	access := "ro"
	if m.Writable {
		access = "rw"
	}
	what := ""
	switch m.Kind {
	case sandbox.MountBind:
		if what = m.Target; m.Source != m.Target {
			what += " ← " + m.Source
		}
	case sandbox.MountOverlay:
		what = m.Target + " ← " + m.Lower + ", changes kept apart"
	case sandbox.MountTmpfs:
		what = m.Target + " (in memory)"
	case sandbox.MountFile:
		what = fmt.Sprintf("%s (made here, %d bytes)", m.Target, len(m.Content))
	case sandbox.MountSymlink:
		what = m.Target + " → " + m.Source
	case sandbox.MountDir:
		return ""
	}
	line := access + "  " + what
	if m.Why != "" {
		line += "  # " + m.Why
	}
	return strings.TrimRight(line, " ")
}
