package archtest

import (
	"slices"
	"strings"
	"testing"
)

// Why something may write files, listen or dial on the host.
const (
	state   = "Carrel's own state, which no other program reads"
	granted = "under a grant of gate.Do, which it checks or its caller does"
	asked   = "what the user named for an output, as a shell would redirect it"
	looks   = "opens what is there, to read it or to hold its lock"
	passing = "gone before the verb ends"
	stage   = "a stage of its own, for tests and demonstrations"
)

// mayAct lists the files and folders that act on the host, and why that is no
// way around the gate. A new row is a decision.
var mayAct = map[string]string{
	"internal/approval": state, "internal/audit": state, "internal/blob": state, "internal/private": state,
	"internal/git":               granted + "; apart from that a pristine directory, " + passing,
	"internal/egress":            granted,
	"internal/ingress":           granted,
	"internal/witness":           granted,
	"internal/credential":        "ends the helper of the user, which runs " + granted,
	"internal/workspace":         granted + "; apart from that " + state,
	"internal/sandbox":           granted + "; apart from that " + state,
	"internal/demo":              stage,
	"internal/selftest":          stage,
	"internal/needs":             stage,
	"verify/open":                looks,
	"internal/engine/why_source": looks,
	"internal/engine/choose":     granted,
	"internal/engine/init_files": granted, "internal/engine/signing": granted, "internal/engine/evidence_seal": granted, "internal/engine/log_serve": granted + "; a copy, where the user named its directory",
	"internal/engine/log_prove": asked, "internal/engine/policy_check": asked, "internal/engine/policy_learn": asked, "internal/engine/putfile": "for those that are listed here",
	"internal/engine/gather": state, "internal/engine/prune": state, "internal/engine/prune_policies": state, "internal/engine/policy_load": state + "; of a bundle " + asked,
	"internal/engine/remember": state, "internal/engine/result": state, "internal/engine/rundir": state, "internal/engine/visit": state,
	"internal/engine/end": asked, "internal/engine/posed_linux": "the user's terminal", "internal/engine/question_linux": "the user's terminal",
	"internal/attest": state, "internal/config": state + ", and what accepting a profile writes " + granted,
	"internal/engine/attest": state, "internal/engine/log_verify": state, "internal/engine/proposal": state,
	"internal/engine/lock_linux": looks,
}

// acting are the calls that write files, listen or dial.
var acting = map[string][]string{
	"os": {"WriteFile", "Rename", "Remove", "RemoveAll", "Mkdir", "MkdirAll", "MkdirTemp", "Create", "CreateTemp", "OpenFile",
		"Symlink", "Link", "Chmod", "Chown", "Chtimes", "Truncate"},
	"net":                        {"Listen", "ListenPacket", "ListenConfig", "Dial", "DialTimeout", "Dialer"},
	"net/http":                   {"Get", "Post", "Client", "ListenAndServe"},
	"syscall":                    {"Kill"},
	"golang.org/x/sys/unix":      {"Renameat", "Renameat2", "Unlinkat", "Mkdirat", "Symlinkat", "Linkat"},
	module + "/internal/config":  {"RememberProfile"},
	module + "/internal/private": {"Replace", "ReplaceSoon"},
}

func TestEffectsOnTheHostAreListed(t *testing.T) {
	used := map[string]bool{}
	for _, f := range sources(t) {
		if f.test || withinAny(f.dir, "bench", "e2e", "internal/archtest") {
			continue
		}
		var found []string
		for importPath, names := range acting {
			for _, name := range f.calls(importPath) {
				if slices.Contains(names, name) {
					found = append(found, importPath+"."+name)
				}
			}
		}
		if len(found) == 0 {
			continue
		}
		row := strings.TrimSuffix(f.path, ".go")
		for row != "." && mayAct[row] == "" {
			if i := strings.LastIndexByte(row, '/'); i < 0 {
				row = "."
			} else {
				row = row[:i]
			}
		}
		if used[row] = true; mayAct[row] == "" {
			t.Errorf("%s uses %v: what acts on the host goes through gate.Do; say in mayAct how, or why not", f.path, found)
		}
	}
	for row := range mayAct {
		if !used[row] {
			t.Errorf("mayAct lists %s, which does nothing of the kind", row)
		}
	}
}
