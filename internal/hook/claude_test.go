package hook

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
)

func TestRepliesInTheClientsWords(t *testing.T) {
	for _, c := range []struct {
		name, mode string
		verdict    carrel.Verdict
		want       string
	}{
		{preToolUse, "default", carrel.Allow, `{}`},
		{preToolUse, "default", carrel.Ask, `{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"ask","permissionDecisionReason":"m"}}`},
		{preToolUse, "bypassPermissions", carrel.Ask, `{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"m"}}`},
		{preToolUse, "default", carrel.Deny, `{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"m"}}`},
		{preToolUse, "default", "", `{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"m"}}`},
		{permissionRequest, "", carrel.Allow, `{}`},
		{permissionRequest, "", carrel.Ask, `{}`},
		{permissionRequest, "", carrel.Deny, `{"hookSpecificOutput":{"decision":{"behavior":"deny","message":"m"},"hookEventName":"PermissionRequest"}}`},
		{userPromptSubmit, "", carrel.Deny, `{"decision":"block","reason":"m"}`},
		{userPromptSubmit, "", carrel.Allow, `{}`},
		{postToolUse, "", carrel.Deny, `{"decision":"block","reason":"m"}`},
		{"Elicitation", "", carrel.Deny, `{"hookSpecificOutput":{"action":"decline","hookEventName":"Elicitation"}}`},
		{"Notification", "", carrel.Deny, `{"systemMessage":"m"}`},
		{"SomethingNew", "", carrel.Allow, `{}`},
	} {
		got := Event{Name: c.name, Mode: c.mode, client: claudeCode}.Reply(Answer{c.verdict, "m"})
		if string(got) != c.want {
			t.Errorf("%s %s %q: %s, want %s", c.name, c.mode, c.verdict, got, c.want)
		}
	}
}

// The client takes what it cannot read for a yes: a fault is answered as the
// hook that was registered, or, where even that is not known, in every way
// that stops.
func TestFaultsAreDenials(t *testing.T) {
	for _, raw := range []string{"", "garbage", "[]", "{}", "null", `{"hook_event_name":"PostToolUse"}`, `{"hook_event_name":7}`, `{"hook_event_name":"PreToolUse","tool_name":"Bash","Tool_Name":"TodoWrite"}`, strings.Repeat("[", 1<<16)} {
		call, err := claudeCode.Read([]byte(raw), preToolUse)
		if err == nil {
			t.Errorf("%.20q is accepted", raw)
		}
		if got := string(call.Reply(Fault(err))); !strings.Contains(got, `"permissionDecision":"deny"`) {
			t.Errorf("%.20q: %s", raw, got)
		}
	}
	got := string(claudeCode.Event("").Reply(Fault(errors.New("x"))))
	if !strings.Contains(got, `"continue":false`) || !strings.Contains(got, `"permissionDecision":"deny"`) {
		t.Error(got)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ls"}}`), "\x1b]0;x\a\xff")
	f.Add([]byte(`{"hook_event_name":"BeforeTool","cwd":"/","tool_name":"web_fetch","tool_input":{"prompt":"https://x"}}`), "m")
	f.Add([]byte(`{"hook_event_name":"PreToolUse","cwd":"/","tool_name":"apply_patch","tool_input":{"command":"*** Add File: x"}}`), "m")
	f.Add([]byte(`{`), "")
	f.Fuzz(func(t *testing.T, raw []byte, message string) {
		for _, c := range Clients() {
			call, err := c.Read(raw, "")
			answer := Answer{carrel.Deny, message}
			if err != nil {
				answer = Fault(err)
			}
			if out := call.Reply(answer); (call.Judged() || call.Name == "") && !denies(t, out) {
				t.Fatalf("%s: %s", c.Name, out)
			}
			if err == nil && len(call.Cwd) > 0 && call.Cwd[0] == '/' {
				_, _ = Place{Workspace: "/nowhere", Client: c}.Actions(call.Call()) // must not panic
			}
		}
	})
}

func TestActionsStandOrFallTogether(t *testing.T) {
	log := &gatetest.Log{}
	g := gate.New(gatetest.Decide(func(a carrel.Action) carrel.Decision {
		if string(a.Argv[0]) == "curl" {
			return carrel.Decision{Verdict: carrel.Deny, Rules: []string{"user/no-curl"}, Reason: "no", NextSteps: []string{"go without"}}
		}
		return carrel.Decision{Verdict: carrel.Allow}
	}), gatetest.Nobody{}, log)
	actions := []carrel.Action{
		{Operation: carrel.OpExec, Argv: []carrel.Text{"ls"}},
		{Operation: carrel.OpExec, Argv: []carrel.Text{"curl", "x"}},
		{Operation: carrel.OpExec, Argv: []carrel.Text{"wc"}},
	}
	err := Ask(context.Background(), g, actions, map[string]carrel.Text{"client": "c"})
	a := AnswerTo(err, true)
	if a.Verdict != carrel.Deny || !strings.HasPrefix(a.Message, "carrel: no (user/no-curl); next: go without; act_") {
		t.Errorf("%+v", a)
	}
	for _, r := range log.Records() {
		switch {
		case r.Kind == carrel.KindResult && r.Outcome.Status != carrel.OutcomeFailed:
			t.Error("a program is recorded as done though its line was refused")
		case r.Action != nil && len(r.Action.Argv) > 0 && r.Action.Argv[0] == "wc":
			t.Error("what follows a refusal was decided")
		}
	}
	if err := Ask(context.Background(), g, actions[:1], nil); err != nil {
		t.Error(err)
	}
	if a := AnswerTo(nil, true); a.Verdict != carrel.Allow {
		t.Error(a)
	}
	asks := gate.New(gatetest.Decide(func(carrel.Action) carrel.Decision {
		return carrel.Decision{Verdict: carrel.Ask, Reason: "people look"}
	}), gatetest.Nobody{}, log)
	pending := Ask(context.Background(), asks, actions[:1], nil)
	for _, later := range []bool{true, false} {
		if a := AnswerTo(pending, later); a.Verdict != carrel.Ask || strings.Contains(a.Message, "carrel approve act_") != later {
			t.Errorf("answers can be kept: %v; %+v", later, a)
		}
	}
	log.Fail = func(carrel.Record) error { return errors.New("disk full") }
	if a := AnswerTo(Ask(context.Background(), g, actions[:1], nil), true); a.Verdict != carrel.Deny || !strings.Contains(a.Message, "disk full") {
		t.Errorf("unrecorded: %+v", a)
	}
}
