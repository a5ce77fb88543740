package engine

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/hook"
)

// HookOptions say which hook of a client is answered.
type HookOptions struct {
	Client  string // its name: hook.ClaudeCode, …
	Hook    string // as registered in the client's settings; "": as the client says
	Project string // the project's directory as the client knows it; "": found from its directory
}

// hookDeadline is well below what clients wait: a client that does not get an
// answer goes on without one.
const hookDeadline = 8 * time.Second

// Hook answers one call of a client's hook, read from in. It always returns a
// JSON object: whatever goes wrong, a panic and a deadline included, is a
// denial that says so.
func Hook(ctx context.Context, host Host, in io.Reader, opts HookOptions) []byte {
	ctx, cancel := context.WithTimeout(ctx, hookDeadline)
	defer cancel()
	client, _ := hook.Get(opts.Client)
	call := client.Event(opts.Hook) // what is answered if nothing can be read
	answered := make(chan []byte, 1)
	go func() { // ends with its answer, or with the process
		var reply []byte
		defer func() {
			if p := recover(); p != nil {
				reply = call.Reply(hook.Fault(fmt.Errorf("panic: %v", p)))
			}
			answered <- reply
		}()
		reply = answerHook(ctx, host, in, opts)
	}()
	select {
	case reply := <-answered:
		return reply
	case <-ctx.Done():
		return call.Reply(hook.Fault(fmt.Errorf("no answer within %v", hookDeadline)))
	}
}

func answerHook(ctx context.Context, host Host, in io.Reader, opts HookOptions) []byte {
	client, known := hook.Get(opts.Client)
	if !known {
		return client.Event("").Reply(hook.Fault(fmt.Errorf("the hooks of %q are not known; known are %s", opts.Client, clientNames())))
	}
	call := client.Event(opts.Hook)
	raw, err := io.ReadAll(io.LimitReader(in, 64<<20))
	if err == nil {
		call, err = client.Read(raw, opts.Hook)
	}
	if err != nil {
		return call.Reply(hook.Fault(err))
	}
	e := &Records{host}
	answer, err := e.hooked(ctx, call, opts)
	if err != nil {
		answer = hook.Fault(err)
	}
	return call.Reply(answer)
}

// hooked decides and records one call.
func (e *Records) hooked(ctx context.Context, call hook.Event, opts HookOptions) (answer hook.Answer, err error) {
	place, err := e.hookPlace(call, opts)
	if err != nil {
		return answer, err
	}
	var actions []carrel.Action
	if call.Judged() || call.Ran() {
		if actions, err = place.Actions(call.Call()); err != nil {
			return answer, err
		}
	}
	r, err := e.openRoadOf(ctx, call.Client().Agent)
	if err != nil {
		return answer, err
	}
	if r.unkept == nil { // a client does not wait: an answer counts for the next try
		r.answers.Live = &approval.Live{Hold: func(carrel.Action) time.Duration { return 0 }}
	}
	defer func() {
		if cerr := r.close(ctx); cerr != nil { // what is not recorded did not happen
			answer, err = hook.Answer{}, cerr
		}
	}()
	switch {
	case call.Judged():
		return hook.AnswerTo(hook.Ask(ctx, r.gate, actions, call.Facts()), r.answers != nil), nil
	case call.Ran():
		return r.afterTool(ctx, call, actions)
	case call.Begins():
		return hook.Answer{Verdict: carrel.Allow, Message: sessionBriefing}, r.observe(ctx, call, "a client's session began; its hooks are live")
	case call.Ends():
		r.sign = true
	}
	return hook.Answer{Verdict: carrel.Allow}, nil
}

// clientNames lists the clients for people.
func clientNames() string {
	var names []string
	for _, c := range hook.Clients() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

const sessionBriefing = "Carrel judges tools here by policy. A refusal says the rule, the reason and the next step; do not look for another way to do what was refused, tell the person instead."

func (r *road) observe(ctx context.Context, call hook.Event, note string) error {
	text := note
	for _, key := range []string{"client", "session", "tool", "tool_use"} {
		if v := call.Facts()[key]; v != "" {
			text += fmt.Sprintf("; %s %s", key, v)
		}
	}
	return r.log.Enqueue(ctx, carrel.Record{Kind: carrel.KindObservation, Note: carrel.Text(text)})
}

// afterTool holds what has happened against the policy: a tool that ran
// although policy denies it went past its hook.
func (r *road) afterTool(ctx context.Context, call hook.Event, actions []carrel.Action) (hook.Answer, error) {
	for _, a := range actions {
		d := r.policy.Decide(ctx, a)
		if d.Verdict != carrel.Deny {
			continue
		}
		message := fmt.Sprintf("carrel: %s ran although policy denies it (%s: %s); its hook was not asked or not heard", call.Tool, firstRule(d), d.Reason)
		return hook.Answer{Verdict: carrel.Deny, Message: message}, r.observe(ctx, call, findingNote+findPassedBy+": a tool ran that policy denies ("+firstRule(d)+" "+string(a.Operation)+" "+target(a)+")")
	}
	return hook.Answer{Verdict: carrel.Allow}, nil
}
