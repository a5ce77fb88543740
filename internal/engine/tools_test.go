//go:build linux

package engine

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/internal/hook"
	"github.com/carrel-dev/carrel/internal/profile"
)

// TestToolGateAnswersWhateverIsSaid: what a desk says there is answered in the
// client's words; what is not understood, and what nobody allows, is a denial.
func TestToolGateAnswersWhateverIsSaid(t *testing.T) {
	log := &gatetest.Log{}
	g := gate.New(gatetest.Decide(func(a carrel.Action) carrel.Decision {
		switch a.Subject {
		case "mcp__a__granted":
			return carrel.Decision{Verdict: carrel.Allow}
		case "mcp__a__asked":
			return carrel.Decision{Verdict: carrel.Ask, Reason: "people look"}
		}
		return carrel.Decision{Verdict: carrel.Deny, Rules: []string{"x/no"}, Reason: "no"}
	}), gatetest.Nobody{}, log)
	tools := newToolGate(&visit{id: "run_x", profile: profile.Profile{Name: "claude", Hooks: hook.ClaudeCode}}, g)
	for body, want := range map[string]string{
		`{"hook_event_name":"PreToolUse","tool_name":"mcp__a__granted","tool_input":{"x":1},"session_id":"s"}`: `{}`,
		`{"hook_event_name":"PreToolUse","tool_name":"mcp__a__asked"}`:                                         `"permissionDecision":"deny"`,
		`{"hook_event_name":"PreToolUse","tool_name":"mcp__a__other"}`:                                         `carrel: no (x/no)`,
		`{"hook_event_name":"PreToolUse"}`:                                                                     `names no tool`,
		`{"hook_event_name":"SessionStart","tool_name":"mcp__a__granted"}`:                                     `"permissionDecision":"deny"`,
		`{"hook_event_name":"PreToolUse","tool_name":"` + strings.Repeat("x", 300) + `"}`:                      `longer than`,
		`nonsense`: `"permissionDecision":"deny"`,
		`{"tool_name":"` + strings.Repeat("x", maxToolCall) + `"}`: `"permissionDecision":"deny"`,
	} {
		w := httptest.NewRecorder()
		tools.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://tools.desk/claude-code", strings.NewReader(body)))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%.80s: %d %s, want %s", body, w.Code, w.Body, want)
		}
	}
	recorded := 0
	for _, r := range log.Records() {
		if r.Kind == carrel.KindIntent && r.Action.Subject == "mcp__a__granted" && r.Action.Run == "run_x" {
			recorded++
		}
	}
	if recorded != 1 {
		t.Errorf("%d intents of the tool that was allowed", recorded)
	}
	w := httptest.NewRecorder()
	tools.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://tools.desk/", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("another request: %d", w.Code)
	}
}
