package policy

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

func TestMalformedActionsNeverReachAPolicy(t *testing.T) { // E71, 155
	e := engine(t, user(openHead+"governs := {\"write\", \"exec\", \"connect\", \"request\", \"publish\", \"resolve\"}\n"), egress("ok.test"))
	request := carrel.Action{Operation: carrel.OpRequest, Host: "ok.test", Port: 443, Protocol: carrel.ProtoTLS, Method: "GET", URL: "/x?y"}
	wantVerdict(t, e, request, carrel.Allow, "")
	bad := map[string]func(a *carrel.Action){
		"input/operation":      func(a *carrel.Action) { a.Operation = "WRITE" },
		"input/host":           func(a *carrel.Action) { a.Host = "OK.test" },
		"input/port":           func(a *carrel.Action) { a.Port = 0 },
		"input/protocol":       func(a *carrel.Action) { a.Protocol = "TLS" },
		"input/method":         func(a *carrel.Action) { a.Method = "get" },
		"input/url":            func(a *carrel.Action) { a.URL = "http://evil.test/" },
		"input/path":           func(a *carrel.Action) { a.Operation, a.Path = carrel.OpWrite, "" },
		"input/argv":           func(a *carrel.Action) { a.Operation, a.Argv = carrel.OpExec, nil },
		"input/publication":    func(a *carrel.Action) { a.Operation, a.Publication = carrel.OpPublish, nil },
		"input/subject":        func(a *carrel.Action) { a.Operation, a.SubjectDigest = carrel.OpApprove, someDigest },
		"input/subject_digest": func(a *carrel.Action) { a.Operation, a.Subject = carrel.OpApprove, "x" },
	}
	for rule, spoil := range bad {
		a := request.Clone()
		spoil(&a)
		wantVerdict(t, e, a, carrel.Deny, rule)
	}
	for _, host := range []string{"", "ok.test.", ".ok.test", "a..b", "ok.test ", "ok\x00.test", "127.1", "0x7f.1", "127.0x1", "x.0x", "2130706433", "::ffff:10.0.0.1", "010.0.0.1",
		"fe80::1%eth0", "FD00::1", "[::1]", "ök.test", strings.Repeat("a", 300), "ok.test:443", "u@ok.test", "ok.test/x"} {
		a := request.Clone()
		a.Host = host
		wantVerdict(t, e, a, carrel.Deny, "input/host")
	}
	program := execAction.Clone()
	program.Path = "/usr/bin/go"
	wantVerdict(t, e, program, carrel.Allow, "")
	program.Path = "/usr/bin/../go"
	wantVerdict(t, e, program, carrel.Deny, "input/path")
	huge := execAction.Clone()
	huge.Argv = append(huge.Argv, carrel.Text(strings.Repeat("x", maxTexts)))
	wantVerdict(t, e, huge, carrel.Deny, "input/argv")
}

func TestInputDigestCoversEveryField(t *testing.T) { // E80
	e := engine(t)
	digest := func(change func(a *carrel.Action)) carrel.Digest {
		a := write("/workspace/a")
		a.File = &carrel.FileChange{Path: "a", Change: carrel.Modified, Labels: []carrel.Label{{Name: "x", Severity: carrel.SeverityLow}}}
		change(&a)
		return e.Decide(context.Background(), a).Input
	}
	seen := map[carrel.Digest]int{}
	for i, change := range []func(a *carrel.Action){
		func(a *carrel.Action) {}, func(a *carrel.Action) { a.Path = "/workspace/b" }, func(a *carrel.Action) { a.RawPath = "b" },
		func(a *carrel.Action) { a.Agent = "x" }, func(a *carrel.Action) { a.Run = "x" }, func(a *carrel.Action) { a.File.Mode = 1 },
		func(a *carrel.Action) { a.File.Size = 1 }, func(a *carrel.Action) { a.File.Before.Size = 1 }, func(a *carrel.Action) { a.File.Labels = nil },
		func(a *carrel.Action) { a.File.Labels[0].Severity = carrel.SeverityHigh }, func(a *carrel.Action) { a.Operation = carrel.OpDelete },
		func(a *carrel.Action) { a.File.Target = "x" }, func(a *carrel.Action) { a.File = nil }, func(a *carrel.Action) { a.File.Digest = someDigest },
	} {
		d := digest(change)
		if j, ok := seen[d]; ok || d == "" {
			t.Errorf("changes %d and %d have one input digest", i, j)
		}
		seen[d] = i
	}
}

// TestRememberedAnswersAreNeverStale: what a rule looks at is in the key,
// whatever it is, and failures are asked again.
func TestRememberedAnswersAreNeverStale(t *testing.T) { // E80
	e := engine(t, user(openHead+"deny if input.file.labels[_].severity == \"medium\"\ndeny if input.run == \"run_2\"\n"))
	a := write("/workspace/a")
	a.File = &carrel.FileChange{Path: "a", Labels: []carrel.Label{{Name: "x", Severity: carrel.SeverityLow}}}
	for range 3 {
		wantVerdict(t, e, a, carrel.Allow, "user/allow")
		b := a.Clone()
		b.File.Labels[0].Severity = carrel.SeverityMedium
		wantVerdict(t, e, b, carrel.Deny, "user/deny")
		c := a.Clone()
		c.Run = "run_2"
		wantVerdict(t, e, c, carrel.Deny, "user/deny")
	}
	voice := e.entries[len(e.entries)-1]
	for i := range maxRemembered + 10 {
		voice.memory.put(carrel.Digest(strconv.Itoa(i)), Answer{})
	}
	if n := len(voice.memory.answers); n > maxRemembered {
		t.Errorf("%d answers are kept", n)
	}
	failing := engine(t, user(openHead+"deny if to_number(input.path) == 1\n"))
	wantVerdict(t, failing, a, carrel.Deny, "user/error")
	if n := len(failing.entries[len(failing.entries)-1].memory.answers); n != 0 {
		t.Errorf("%d failures are kept", n)
	}
}
