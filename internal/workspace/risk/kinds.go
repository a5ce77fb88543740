package risk

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
)

// byKind labels what a path is.
func byKind(f File, out *collector) {
	switch f.Kind {
	case carrel.FileSpecial:
		out.add("special-file", carrel.SeverityHigh, "it is a FIFO, socket or device")
	case carrel.FileLink:
		byTarget(f, out)
	}
	if f.Change == carrel.TypeChanged {
		out.add("changes-type", carrel.SeverityMedium, "it was a "+string(f.Before.Kind)+" and becomes a "+string(f.Kind))
	}
	if f.Nlink > 1 {
		out.add("hard-link", carrel.SeverityLow, "it has several names at the desk; each becomes a file of its own")
	}
	for _, name := range f.Attributes {
		switch {
		case name == "security.capability":
			out.add("privileged", carrel.SeverityHigh, "it asks for capabilities (removed when applied)")
		case strings.HasPrefix(name, "security."), strings.HasPrefix(name, "system.posix_acl"):
			out.add("extended-attributes", carrel.SeverityMedium, "it carries access rules in extended attributes (removed when applied)")
		}
	}
}

// byTarget labels links by where they lead, as text: nothing is followed.
func byTarget(f File, out *collector) {
	target := string(f.Target)
	joined := path.Join(path.Dir(string(f.Path)), target)
	switch {
	case path.IsAbs(target) && (target == carrel.DeskWorkspace || strings.HasPrefix(path.Clean(target), carrel.DeskWorkspace+"/")):
		out.add("link-out", carrel.SeverityMedium, "it is a link into /workspace, which exists only at the desk")
	case path.IsAbs(target):
		out.add("link-out", carrel.SeverityHigh, "it is a link to an absolute path outside the tree")
	case joined == ".." || strings.HasPrefix(joined, "../"):
		out.add("link-out", carrel.SeverityHigh, "it is a link that leaves the tree")
	case climbsLater(target):
		out.add("link-out", carrel.SeverityHigh, "it is a link that climbs after it went down: through another link it can leave the tree")
	}
	if slices.ContainsFunc(strings.Split(joined, "/"), MeansGit) {
		out.add("link-to-git", carrel.SeverityHigh, "it is a link into a git directory")
	}
}

// climbsLater reports a ".." behind a name. Where that leads is up to what the
// name stands for: through a link to "." it leads one directory further up
// than it reads.
func climbsLater(target string) bool {
	down := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if down {
				return true
			}
		default:
			down = true
		}
	}
	return false
}

const (
	setuid = 0o4000
	setgid = 0o2000
	exec   = 0o111
)

// byMode labels permission bits that the change adds.
func byMode(f File, out *collector) {
	if f.gone() || f.Kind == carrel.FileLink {
		return
	}
	added := f.Mode &^ f.Before.Mode
	switch {
	case added&setuid != 0:
		out.add("privileged", carrel.SeverityHigh, "it is set-user-id (removed when applied)")
	case added&setgid != 0 && f.Kind != carrel.FileDir:
		out.add("privileged", carrel.SeverityHigh, "it is set-group-id (removed when applied)")
	}
	if f.Mode&0o002 != 0 && f.Before.Mode&0o002 == 0 && f.Kind != carrel.FileSpecial {
		out.add("world-writable", carrel.SeverityLow, "every user of the machine may write it")
	}
	if f.Kind != carrel.FileRegular {
		return
	}
	if added&exec != 0 {
		out.add("executable", carrel.SeverityMedium, "it becomes executable")
	}
	if native := machineCode(f.Now.Bytes); native != "" {
		out.add("unreviewable", carrel.SeverityHigh, "it is "+native+": what it does cannot be read")
	}
}

// machineCode names programs in machine or byte code.
func machineCode(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("\x7fELF")):
		return "a Linux program or library"
	case bytes.HasPrefix(b, []byte("MZ")) && bytes.Contains(b[:min(len(b), 1024)], []byte("PE\x00\x00")):
		return "a Windows program or library"
	case bytes.HasPrefix(b, []byte("\xcf\xfa\xed\xfe")), bytes.HasPrefix(b, []byte("\xce\xfa\xed\xfe")):
		return "a macOS program or library"
	case bytes.HasPrefix(b, []byte("\xca\xfe\xba\xbe")):
		return "Java byte code or a macOS program"
	case bytes.HasPrefix(b, []byte("\x00asm")):
		return "a WebAssembly module"
	}
	return ""
}
