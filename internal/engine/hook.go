package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/hook"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/private"
	"github.com/carrel-dev/carrel/internal/workspace/risk"
)

// HookOptions say which hook of a client is answered.
type HookOptions struct {
	Client  string // hook.ClaudeCode
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
	call := hook.Claude{Name: opts.Hook} // what is answered if nothing can be read
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
	if opts.Client != hook.ClaudeCode {
		return hook.Claude{Name: opts.Hook}.Reply(hook.Fault(fmt.Errorf("the hooks of %q are not known; known is %s", opts.Client, hook.ClaudeCode)))
	}
	raw, err := io.ReadAll(io.LimitReader(in, 64<<20))
	var call hook.Claude
	if err == nil {
		call, err = hook.ReadClaude(raw, opts.Hook)
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
func (e *Records) hooked(ctx context.Context, call hook.Claude, opts HookOptions) (answer hook.Answer, err error) {
	place, err := e.hookPlace(call, opts)
	if err != nil {
		return answer, err
	}
	var actions []carrel.Action
	if call.Judged() || call.Name == hook.PostToolUse {
		if actions, err = place.Actions(call.Call()); err != nil {
			return answer, err
		}
	}
	r, err := e.openRoad(ctx)
	if err != nil {
		return answer, err
	}
	if r.answers != nil { // a client does not wait: an answer counts for the next try
		r.answers.Live = &approval.Live{Hold: func(carrel.Action) time.Duration { return 0 }}
	}
	defer func() {
		if cerr := r.close(ctx); cerr != nil { // what is not recorded did not happen
			answer, err = hook.Answer{}, cerr
		}
	}()
	switch {
	case call.Judged():
		return hook.AnswerTo(hook.Ask(ctx, r.gate, actions, call.Facts())), nil
	case call.Name == hook.PostToolUse:
		return r.afterTool(ctx, call, actions)
	case call.Name == hook.SessionStart:
		return hook.Answer{Verdict: carrel.Allow, Message: sessionBriefing}, r.observe(ctx, call, "a client's session began; its hooks are live")
	case call.Name == hook.SessionEnd || call.Name == hook.Stop:
		r.sign = true
	}
	return hook.Answer{Verdict: carrel.Allow}, nil
}

const sessionBriefing = "Carrel judges tools here by policy. A refusal says the rule, the reason and the next step; do not look for another way to do what was refused, tell the person instead."

// hookPlace says what the client's paths mean. A project that is the home or
// the whole machine is no workspace: nothing in it counts as the project's.
func (e *Records) hookPlace(call hook.Claude, opts HookOptions) (hook.Place, error) {
	if !filepath.IsAbs(call.Cwd) && call.Name != hook.SessionEnd {
		return hook.Place{}, errors.New("the client does not say in which directory it works")
	}
	root := opts.Project
	if root == "" {
		root = projectAround(call.Cwd)
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	home, _ := filepath.EvalSymlinks(e.host.Home)
	if rel, err := filepath.Rel(root, home); err == nil && home != "" && filepath.IsLocal(rel) || filepath.Dir(root) == root {
		root = ""
	}
	return hook.Place{
		Workspace: root, Home: e.host.Home, Agent: "claude",
		Program: e.host.program,
		Labels: func(path string, content []byte) []carrel.Label {
			f := risk.File{Now: risk.Head{Bytes: content, Whole: content != nil}}
			f.Path, f.Change, f.Kind = carrel.Text(path), carrel.Modified, carrel.FileRegular
			return risk.Assess(f)
		},
	}, nil
}

// projectAround is the nearest directory that is a repository's, else dir.
func projectAround(dir string) string {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Lstat(filepath.Join(d, ".git")); err == nil {
			return d
		}
		if filepath.Dir(d) == d {
			return dir
		}
	}
}

// program is where the shell would find a program on the user's PATH, links
// resolved; "" if that cannot be told.
func (h Host) program(name string) string {
	if strings.ContainsAny(name, `/\`) {
		return "" // relative to where the shell is by then
	}
	found := h.onPath(name)
	if found == "" {
		return ""
	}
	real, err := filepath.EvalSymlinks(found)
	if err != nil {
		return ""
	}
	return filepath.ToSlash(real)
}

func (h Host) onPath(name string) string {
	path, _ := h.lookup("PATH")
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			return ""
		}
		found := filepath.Join(dir, name)
		if info, err := os.Stat(found); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return found
		}
	}
	return ""
}

// road is the gate with everything behind it, for one short command that
// needs no desk.
type road struct {
	host    Host
	gate    *gate.Gate
	policy  *policy.Engine
	answers *approval.Store // nil where answers cannot be kept safely
	log     *audit.Log
	sign    bool // sign where the log stands when done
}

// openRoad opens the log and compiles the policy, side by side.
func (e *Records) openRoad(ctx context.Context) (*road, error) {
	for _, dir := range []string{e.host.Paths.State, filepath.Dir(e.host.Paths.Second)} {
		if err := private.MakeDir(dir); err != nil {
			return nil, fmt.Errorf("making the state directory: %w", err)
		}
	}
	redact := audit.NewRedactor(e.state("keys"))
	options := e.host.logOptions()
	options.Redact = redact
	type opened struct {
		log *audit.Log
		err error
	}
	logs := make(chan opened, 1)
	go func() {
		log, err := audit.Open(ctx, options)
		logs <- opened{log, err}
	}()
	engine, err := e.hookPolicy(ctx)
	l := <-logs
	if err = errors.Join(err, l.err); err != nil {
		if l.log != nil {
			_ = l.log.Close() // nothing was handed to it
		}
		if engine != nil {
			engine.Close()
		}
		return nil, err
	}
	r := &road{host: e.host, policy: engine, log: l.log}
	var approver gate.Approver = nobody{}
	if answers, err := approval.Open(e.state("approvals")); err == nil {
		answers.By, answers.Confirm = e.host.User, e.confirm
		r.answers, approver = answers, answers
	}
	r.gate = gate.New(engine, approver, l.log)
	r.gate.Redact = redact.Action
	return r, nil
}

// nobody answers where answers cannot be kept safely.
type nobody struct{}

// Await implements gate.Approver.
func (nobody) Await(context.Context, carrel.Action, carrel.Digest, carrel.Decision) (carrel.Approval, error) {
	return carrel.Approval{}, gate.ErrPending
}

// hookPolicy is the user's and the organisation's policy with the rules for
// tools.
func (e *Records) hookPolicy(ctx context.Context) (*policy.Engine, error) {
	s, err := e.userSettings()
	if err != nil {
		return nil, err
	}
	rules := hook.Rules{Tools: values(s.Tools), Hide: values(s.Hide)}
	text, err := carrel.Canonical(rules)
	if err != nil {
		return nil, err
	}
	layers := append([]policy.Layer{{
		Name: "hook", Kind: policy.User, Governs: hook.Operations, Text: text,
		Func: func(a carrel.Action) policy.Answer {
			d := rules.Decide(a)
			return policy.Answer{Verdict: d.Verdict, Rules: d.Rules, Reason: d.Reason, NextSteps: d.NextSteps}
		},
	}}, s.policyLayers...)
	network, err := networkLayers(s, "claude")
	if err != nil {
		return nil, err
	}
	return e.policyInForce(ctx, append(layers, network...)...)
}

// close makes what was recorded durable.
func (r *road) close(ctx context.Context) error {
	r.policy.Close()
	err := r.gate.Flush(ctx)
	if r.sign && err == nil {
		_, err = r.log.Checkpoint(ctx)
	}
	return errors.Join(err, r.log.Close())
}

func (r *road) observe(ctx context.Context, call hook.Claude, note string) error {
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
func (r *road) afterTool(ctx context.Context, call hook.Claude, actions []carrel.Action) (hook.Answer, error) {
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
