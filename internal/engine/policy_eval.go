package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// PolicyAnswer is what `policy eval` prints, and what other verbs that ask
// about one action say.
type PolicyAnswer struct {
	Verdict   carrel.Verdict `json:"verdict"`
	Rules     []string       `json:"rules"`
	Reason    string         `json:"reason"`
	NextSteps []string       `json:"next_steps,omitempty"`
	Time      string         `json:"time,omitempty"`
	Policy    carrel.Digest  `json:"policy,omitempty"`
	Input     carrel.Digest  `json:"input,omitempty"`
	Voices    []policy.Voice `json:"voices,omitempty"`  // what each layer said
	Ignored   []string       `json:"ignored,omitempty"` // fields of the input that no policy sees
}

func answerOf(d carrel.Decision) PolicyAnswer {
	a := PolicyAnswer{
		Verdict: d.Verdict, Rules: d.Rules, Reason: d.Reason, NextSteps: d.NextSteps,
		Time: d.Time, Policy: d.Policy, Input: d.Input,
	}
	if a.Verdict == "" {
		a.Verdict = carrel.Deny
	}
	if a.Rules == nil {
		a.Rules = []string{}
	}
	return a
}

// PolicyEvalOptions are the flags of `policy eval`.
type PolicyEvalOptions struct {
	PolicyOptions
	Input string // a file, or - for standard input
	JSON  bool
}

// PolicyEval decides one action that is given as JSON, and prints the answer.
// A policy or an input that cannot be read is a denial, too; the error says
// which.
func PolicyEval(ctx context.Context, host Host, opts PolicyEvalOptions) (PolicyAnswer, error) {
	e, err := OpenPolicy(ctx, host, opts.PolicyOptions)
	if err != nil {
		answer := answerOf(carrel.Decision{Verdict: carrel.Deny, Rules: []string{"policy/unreadable"}, Reason: err.Error()})
		if opts.JSON {
			err = errorsJoinPrint(host.Stdout, answer, err)
		}
		return answer, err
	}
	defer e.Close()
	raw, err := readInput(ctx, host.Stdin, opts.Input)
	if err != nil {
		answer := answerOf(carrel.Decision{Verdict: carrel.Deny, Rules: []string{"input/missing"}, Reason: err.Error()})
		return answer, answer.print(host.Stdout, opts.JSON)
	}
	x, ignored := e.ExplainDocument(raw)
	answer := answerOf(x.Decision)
	answer.Voices, answer.Ignored = x.Voices, ignored
	return answer, answer.print(host.Stdout, opts.JSON)
}

func errorsJoinPrint(w io.Writer, answer PolicyAnswer, err error) error {
	if perr := answer.print(w, true); perr != nil {
		return perr
	}
	return err
}

// readInput reads a file or standard input, a little more than an input may
// have, so that what is too long is refused as such.
func readInput(ctx context.Context, stdin io.Reader, path string) ([]byte, error) {
	type input struct {
		raw []byte
		err error
	}
	read := make(chan input, 1)
	go func() { // ends with what it reads, which may be a pipe that nobody writes to, or with the process
		raw, err := readAllOf(stdin, path)
		if err == nil && len(raw) == 0 {
			err = errors.New("reading the input: it is empty; give one action as JSON")
		}
		read <- input{raw, err}
	}()
	select {
	case in := <-read:
		return in.raw, in.err
	case <-ctx.Done():
		return nil, fmt.Errorf("reading the input: %w", context.Cause(ctx))
	}
}

func readAllOf(stdin io.Reader, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(stdin, policy.MaxDocument+1))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the input: %w", err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, policy.MaxDocument+1))
}

func (a PolicyAnswer) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return encodeJSON(w, a)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s", a.Verdict)
	if a.Reason != "" {
		fmt.Fprintf(&b, ": %s", a.Reason)
	}
	fmt.Fprintf(&b, "\n  rules: %s\n", strings.Join(a.Rules, ", "))
	for _, v := range a.Voices {
		if v.Reason != "" && v.Reason != a.Reason {
			fmt.Fprintf(&b, "  %s too: %s: %s\n", v.Layer, v.Verdict, v.Reason)
		}
	}
	for _, step := range a.NextSteps {
		fmt.Fprintf(&b, "  next: %s\n", step)
	}
	if len(a.Ignored) > 0 {
		fmt.Fprintf(&b, "  ignored, since no policy sees it: %s\n", strings.Join(a.Ignored, ", "))
	}
	_, err := io.WriteString(w, terminal.EscapeText(b.String()))
	return err
}
