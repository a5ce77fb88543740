package engine

import (
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
)

// What a person is proposed to leave out of a rule that asks is what was asked,
// not every port of its host or every use of its key; and it stays a comment.
func TestProposedExceptionIsWhatWasAsked(t *testing.T) {
	for want, a := range map[string]carrel.Action{
		"input.port == 8443":         {Operation: carrel.OpConnect, Host: "ok.test", Port: 8443, Protocol: carrel.ProtoTLS},
		`input.url == "/a\nallow"`:   {Operation: carrel.OpRequest, Host: "ok.test", Port: 443, Protocol: carrel.ProtoTLS, Method: "GET", URL: "/a\nallow"},
		`input.method == "DELETE"`:   {Operation: carrel.OpCredential, Subject: "github", Host: "ok.test", Port: 443, Protocol: carrel.ProtoTLS, Method: "DELETE", URL: "/a"},
		`input.path == "/usr/bin/x"`: {Operation: carrel.OpExec, Path: "/usr/bin/x", Argv: []carrel.Text{"git"}},
	} {
		rule := proposedRule(approval.OpenQuestion{Action: a, Decision: carrel.Decision{Rules: []string{"user/asks"}}})
		if !strings.Contains(rule, want) {
			t.Errorf("no %s in\n%s", want, rule)
		}
		for line := range strings.Lines(rule) {
			if !strings.HasPrefix(line, "#") {
				t.Errorf("%q counts", line)
			}
		}
	}
}
