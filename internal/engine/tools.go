//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/hook"
)

// toolGate answers the hook of the agent's own client inside the desk, at
// http://tools.desk: each use of a tool of a server (MCP) is an action of the
// run, decided, asked about and recorded as every other. The desk can say
// there what it likes, or nothing: what it gets is a word, never an effect.
type toolGate struct {
	gate    *gate.Gate
	client  *hook.Client // whose words are spoken
	run     carrel.RunID
	agent   string
	reading chan struct{} // bounds the calls that are being read
}

// Bounds of what a desk can have the supervisor hold.
const (
	maxToolCall = 8 << 20
	maxToolName = 200
	toolReaders = 4
)

func newToolGate(v *visit, g *gate.Gate) *toolGate {
	client, _ := hook.Get(v.profile.Hooks)
	return &toolGate{g, client, v.id, v.profile.Name, make(chan struct{}, toolReaders)}
}

// ServeHTTP implements http.Handler.
func (t *toolGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/"+t.client.Name {
		http.Error(w, "POST /"+t.client.Name, http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(t.answer(w, r)) // who does not read it has gone
}

// answer is always one in the client's words: clients take none for a yes.
func (t *toolGate) answer(w http.ResponseWriter, r *http.Request) (reply []byte) {
	defer func() {
		if p := recover(); p != nil {
			reply = t.client.Event(t.client.BeforeTool()).Reply(hook.Fault(fmt.Errorf("panic: %v", p)))
		}
	}()
	call, err := t.read(w, r)
	if err != nil {
		return call.Reply(hook.Fault(err))
	}
	return call.Reply(t.ask(r.Context(), call))
}

// read takes in one call, a few at a time, and keeps nothing of what the tool
// would be given.
func (t *toolGate) read(w http.ResponseWriter, r *http.Request) (hook.Event, error) {
	select {
	case t.reading <- struct{}{}:
		defer func() { <-t.reading }()
	case <-r.Context().Done():
		return t.client.Event(t.client.BeforeTool()), r.Context().Err()
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxToolCall))
	if err != nil {
		return t.client.Event(t.client.BeforeTool()), fmt.Errorf("reading the call: %w", err)
	}
	call, err := t.client.Read(raw, t.client.BeforeTool())
	call.Input = nil
	switch {
	case err != nil:
	case call.Tool == "":
		err = errors.New("the call names no tool")
	case len(call.Tool) > maxToolName:
		err = fmt.Errorf("the tool's name is longer than %d bytes", maxToolName)
	}
	return call, err
}

// ask takes the call through the run's gate. Whoever could say yes was asked
// there: what they did not answer is refused, and not asked inside again.
func (t *toolGate) ask(ctx context.Context, call hook.Event) hook.Answer {
	a := carrel.Action{Run: t.run, Agent: t.agent, Operation: carrel.OpTool, Subject: call.Tool}
	answer := hook.AnswerTo(hook.Ask(ctx, t.gate, []carrel.Action{a}, call.Facts()), false)
	if answer.Verdict != carrel.Allow {
		answer.Verdict = carrel.Deny
	}
	return answer
}

// gated are the operations that this run decides one by one.
func (v *visit) gated() []carrel.Operation {
	if v.profile.Hooks == "" {
		return gatedOperations
	}
	return append(gatedOperations[:len(gatedOperations):len(gatedOperations)], carrel.OpTool)
}
