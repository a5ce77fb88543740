package policy

import (
	"testing"

	"github.com/carrel-dev/carrel"
)

// The policy teams start from, with its holes: it says nothing about paths
// outside /home, about links, or about anything but ".ssh" spelt so.
const sampleV0 = `package cowork.access

default allow = false

allow {
	input.operation == "write"
	startswith(input.path, "/workspace/")
}

deny[msg] {
	startswith(input.path, "/home/")
	contains(input.path, "/.ssh")
	msg := "SSH keys are off limits"
}
`

const sampleV1 = `package cowork.access

default allow := false

allow if {
	input.operation == "write"
	startswith(input.path, "/workspace/")
}

deny contains msg if {
	startswith(input.path, "/home/")
	contains(input.path, "/.ssh")
	msg := "SSH keys are off limits"
}
`

// TestSamplePolicyIsSafeInSpiteOfItsHoles: the floor closes what a first
// policy leaves open, in both versions of the language.
func TestSamplePolicyIsSafeInSpiteOfItsHoles(t *testing.T) {
	for version, source := range map[string]string{"v0": sampleV0, "v1": sampleV1} {
		t.Run(version, func(t *testing.T) {
			e := engine(t, user(source))
			wantVersion(t, e, version)
			wantVerdict(t, e, write("/workspace/main.go"), carrel.Allow, "user/allow")
			wantVerdict(t, e, write("/home/u/.ssh/authorized_keys"), carrel.Deny, "user/deny")
			wantVerdict(t, e, write("/home/u/notes.txt"), carrel.Deny, "builtin/outside-workspace")
			wantVerdict(t, e, write("/workspace/.git/hooks/pre-commit"), carrel.Deny, "builtin/git-directory")
			wantVerdict(t, e, write("/workspace/.ssh/config"), carrel.Deny, "builtin/credential-store")
			wantVerdict(t, e, write("/workspace/.claude/settings.json"), carrel.Ask, "builtin/agent-settings")
			wantVerdict(t, e, carrel.Action{Operation: carrel.OpDelete, Path: "/workspace/main.go"}, carrel.Deny, "user/not-allowed")
		})
	}
}

// TestSamplePolicyGovernsFilesOnly: a policy that declares nothing must not
// stop the agent from being started or operators from approving.
func TestSamplePolicyGovernsFilesOnly(t *testing.T) {
	e := engine(t, user(sampleV0))
	wantVerdict(t, e, execAction, carrel.Allow, "builtin/allow")
	wantVerdict(t, e, approveAction, carrel.Allow, "")
	wantVerdict(t, e, publishAction(false, carrel.SeverityLow), carrel.Ask, "builtin/review")
}

// TestUncleanPathIsDenied: /workspace/../home/u/.ssh/authorized_keys starts
// with /workspace/ and would pass the sample policy.
func TestUncleanPathIsDenied(t *testing.T) {
	e := engine(t, user(sampleV0))
	for _, path := range []string{
		"/workspace/../home/u/.ssh/authorized_keys", "/workspace//x", "/workspace/./x", "/workspace/x/", "workspace/x",
		"", "/workspace/a\nb", "/workspace/\x1b[2J", "/workspace/\x00", "/workspace/\xff", "/workspace/e\u0301", "/workspace/\u0085",
	} {
		wantVerdict(t, e, write(path), carrel.Deny, "input/path")
	}
	wantVerdict(t, e, write("/workspace/\u00e9.txt"), carrel.Allow, "user/allow")
	wantVerdict(t, e, write("/workspace/a b.txt"), carrel.Allow, "user/allow")
	wantVerdict(t, e, write("/workspace/..x/...y"), carrel.Allow, "user/allow")
}

func wantVersion(t *testing.T, e *Engine, version string) {
	t.Helper()
	for _, s := range e.Sources() {
		if s.Layer == "user" && (len(s.Files) != 1 || s.Files[0].Version != version) {
			t.Errorf("sources of the user's layer: %+v, want %s", s.Files, version)
		}
	}
}

var (
	execAction    = carrel.Action{Operation: carrel.OpExec, Argv: []carrel.Text{"go", "test", "./..."}, Cwd: "/workspace"}
	someText      = []byte("some")
	someDigest    = carrel.DigestBytes(someText)
	approveAction = carrel.Action{Operation: carrel.OpApprove, Subject: "chg_x", SubjectDigest: someDigest}
)

func publishAction(auto bool, level carrel.Severity) carrel.Action {
	return carrel.Action{Operation: carrel.OpPublish, Publication: &carrel.Publication{
		Change: carrel.NewChangeID(), Digest: someDigest, Target: carrel.TargetTree, Auto: auto, Files: 1,
		Risk: carrel.Risk{Level: level, Counts: map[string]int{}},
	}}
}
