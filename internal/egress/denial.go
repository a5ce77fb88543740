package egress

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// denial is what an HTTP client is told of a refusal. Error says it all in one
// plain line, in the form that the clients of model endpoints show to people.
type denial struct {
	Rule      string          `json:"rule"`
	Reason    string          `json:"reason"`
	NextSteps []string        `json:"next_steps"`
	Action    carrel.ActionID `json:"action"`
	Type      string          `json:"type"`
	Error     denialError     `json:"error"`
	status    int
}

type denialError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

func newDenial(status int, a carrel.ActionID, rule, reason string, next []string) *denial {
	if next == nil {
		next = []string{}
	}
	kind := "permission_error"
	if status != http.StatusForbidden {
		kind = "api_error"
	}
	line := fmt.Sprintf("carrel: %s (%s)", reason, rule)
	if len(next) > 0 {
		line += "; " + next[0]
	}
	return &denial{Rule: rule, Reason: reason, NextSteps: next, Action: a, Type: "error", Error: denialError{kind, line}, status: status}
}

// denialOf says what the gate refused.
func denialOf(r *gate.Refusal) *denial {
	rule := "gate/denied"
	if len(r.Decision.Rules) > 0 {
		rule = r.Decision.Rules[0]
	}
	reason := r.Decision.Reason
	if reason == "" {
		reason = r.Unwrap().Error()
	}
	return newDenial(http.StatusForbidden, r.Action.ID, rule, reason, r.Decision.NextSteps)
}

// write answers with the denial and ends the connection.
func (d *denial) write(w http.ResponseWriter) {
	body, err := json.Marshal(d)
	if err != nil {
		body = []byte(`{"rule":"egress/denied","reason":"denied","next_steps":[]}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Connection", "close")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(d.status)
	_, _ = w.Write(append(body, '\n')) // the client may have gone
}
