package egress

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

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

const (
	// maxDrained and drainTime bound what is read of a refused request's body.
	maxDrained = 256 << 10
	drainTime  = 2 * time.Second
)

// write answers r with the denial and, in HTTP/1, ends the connection. In
// HTTP/2 a small body is let come to its end first: some clients throw the
// answer away if their stream is ended while they still send.
func (d *denial) write(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 2 {
		w.Header().Set("Connection", "close")
	} else if http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainTime)) == nil {
		_, _ = io.CopyN(io.Discard, r.Body, maxDrained) // what does not come is not waited for
	}
	body, err := json.Marshal(d)
	if err != nil {
		body = []byte(`{"rule":"egress/denied","reason":"denied","next_steps":[]}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(d.status)
	_, _ = w.Write(append(body, '\n')) // the client may have gone
}
