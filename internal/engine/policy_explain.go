package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// PolicyExplained is what `policy explain` prints.
type PolicyExplained struct {
	Action   carrel.Action    `json:"action"`
	Decided  bool             `json:"decided"` // false: it was recorded, and nobody was asked
	Run      carrel.RunID     `json:"run,omitempty"`
	Time     time.Time        `json:"time"`
	Recorded carrel.Decision  `json:"recorded"` // as the log has it
	Outcome  *carrel.Outcome  `json:"outcome,omitempty"`
	Approval *carrel.Approval `json:"approval,omitempty"`

	// Again is what the same policy says to the same action at the same time;
	// or today's, if the text of the one that decided is not kept. Floor is
	// false where only the built-in rules are today's and were others then.
	Again  carrel.Decision `json:"again"`
	Same   bool            `json:"same_policy"`
	Floor  bool            `json:"same_floor"`
	Proved bool            `json:"same_input"`       // Input has the digest that the record names
	Lacked []string        `json:"lacked,omitempty"` // fields of today that the input had not yet
	Input  json.RawMessage `json:"input,omitempty"`
	Voices []policy.Voice  `json:"voices"`
	Fired  []policy.Fired  `json:"fired"`
	// Narrowest is what would decide otherwise, one for each voice in the way.
	Narrowest []string `json:"narrowest,omitempty"`
	// Pages are the sections of the documentation about the rules that answered.
	Pages []string `json:"pages,omitempty"`
}

// PolicyExplain says why an action of the log was allowed or refused, from the
// log and the policy alone.
func (e *Records) PolicyExplain(ctx context.Context, action string, opts PolicyOptions, asJSON bool) error {
	if err := checkID(action, "act_"); err != nil {
		return err
	}
	x, err := e.recorded(ctx, carrel.ActionID(action))
	if err != nil {
		return err
	}
	if err := e.explainAgain(ctx, &x, opts); err != nil {
		return err
	}
	x.Pages = pagesOf(x.Recorded)
	if asJSON {
		return encodeJSON(e.host.Stdout, x)
	}
	return x.print(e.host.Stdout)
}

// recorded gathers what the log says of an action.
func (e *Records) recorded(ctx context.Context, id carrel.ActionID) (PolicyExplained, error) {
	var x PolicyExplained
	found := false
	for entry, err := range audit.OpenReader(e.state("log")).From(ctx, 0) {
		if err != nil {
			return x, err
		}
		r := entry.Record
		if r.Action == nil || r.Action.ID != id {
			continue
		}
		switch r.Kind {
		case carrel.KindIntent, carrel.KindRefused:
			found = true
			x.Action, x.Decided, x.Run, x.Time, x.Recorded, x.Approval = *r.Action, true, r.Run, r.Time, *r.Decision, r.Approval
		case carrel.KindObservation:
			found = true
			x.Action, x.Run, x.Time = *r.Action, r.Run, r.Time
		case carrel.KindResult:
			x.Outcome = r.Outcome
		}
	}
	if !found {
		return x, &hintError{fmt.Errorf("the log has no action %s", id), "carrel log show --all lists them"}
	}
	return x, nil
}

// decidedAt is the time that the policy was told, or else that of the record.
func decidedAt(d carrel.Decision, record time.Time) time.Time {
	if at, err := time.Parse(time.RFC3339, d.Time); err == nil {
		return at
	}
	return record.Local()
}

// explainAgain decides the action again, by the policy that decided it if its
// text is kept and no other is named.
func (e *Records) explainAgain(ctx context.Context, x *PolicyExplained, opts PolicyOptions) error {
	layers, sources, err := e.keptPolicy(x.Recorded.Policy)
	x.Same = x.Decided && err == nil && len(opts.Paths) == 0
	if !x.Same {
		if layers, err = e.host.policyLayers(opts); err != nil {
			return err
		}
	} else {
		granted := recordedGrants{x.Recorded}
		layers = append([]policy.Layer{granted.layer()}, layers...)
	}
	engine, err := policy.NewHere(ctx, layers...)
	if err != nil {
		return err
	}
	at := decidedAt(x.Recorded, x.Time)
	again := engine.ExplainRecorded(x.Action, at, x.Recorded.Input)
	x.Again, x.Voices, x.Input, x.Lacked = again.Decision, again.Voices, again.Input, again.Lacked
	x.Floor = x.Same && sameFloor(sources, again.Sources)
	if x.Same && x.Floor {
		x.Again.Policy = x.Recorded.Policy
	}
	x.Proved = again.Decision.Input == x.Recorded.Input && x.Recorded.Input != ""
	if x.Fired, err = policy.FiredBy(again, layers...); err != nil {
		return err
	}
	if !x.Again.Allows() {
		x.Narrowest = policy.Narrowest(x.Action, x.Voices, x.Fired)
	}
	return nil
}

func (x PolicyExplained) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", x.Action.ID, x.Action.Operation)
	if x.Run != "" {
		fmt.Fprintf(&b, " of %s", x.Run)
	}
	fmt.Fprintf(&b, ", %s\n\n", x.Time.Format(time.RFC3339))
	if x.Decided {
		fmt.Fprintf(&b, "decided: %s\n", x.Recorded.Verdict)
		writeDecision(&b, x.Recorded)
	} else {
		b.WriteString("recorded, not decided: this is the agent, whose start was decided, or commands were observed only\n")
	}
	if x.Approval != nil {
		fmt.Fprintf(&b, "  answered by %s, granted: %v\n", x.Approval.By, x.Approval.Granted)
	}
	if x.Outcome != nil {
		fmt.Fprintf(&b, "  outcome: %s\n", x.Outcome.Status)
	}
	fmt.Fprintf(&b, "\n%s\n", x.whose())
	for _, v := range x.Voices {
		fmt.Fprintf(&b, "  %s: %s (%s) %s\n", v.Layer, v.Verdict, strings.Join(v.Rules, ", "), v.Reason)
	}
	for _, f := range x.Fired {
		fmt.Fprintf(&b, "\n%s %s:%d  %s\n", f.Layer, f.File, f.Line, f.Text)
		for _, name := range slices.Sorted(maps.Keys(f.Reads)) {
			fmt.Fprintf(&b, "    input.%s = %s\n", name, f.Reads[name])
		}
	}
	if s := x.certainty(); s != "" {
		fmt.Fprintf(&b, "\n%s\n", s)
	}
	for _, n := range x.Narrowest {
		fmt.Fprintf(&b, "\nto decide otherwise: %s\n", n)
	}
	_, err := io.WriteString(w, terminal.EscapeText(b.String()))
	return err
}

// whose says whose answer follows.
func (x PolicyExplained) whose() string {
	switch {
	case !x.Decided:
		return fmt.Sprintf("today's policy would say %s", x.Again.Verdict)
	case !x.Same:
		return fmt.Sprintf("another policy than the one that decided (%s) would say %s", x.Recorded.Policy.Short(), x.Again.Verdict)
	case !x.Floor:
		return fmt.Sprintf("the policy that decided, with the built-in rules of today, which were others then, would say %s", x.Again.Verdict)
	case !x.Proved && x.Again.Verdict != x.Recorded.Verdict:
		return fmt.Sprintf("the policy that decided would say %s today", x.Again.Verdict)
	}
	return "the policy that decided said"
}

// certainty says what is known of the values that the rules saw.
func (x PolicyExplained) certainty() string {
	switch {
	case !x.Decided || x.Input == nil:
		return ""
	case x.Proved && len(x.Lacked) > 0:
		return "the values are those it was decided on: their digest is the record's; rules had not yet " + strings.Join(x.Lacked, ", ")
	case x.Proved:
		return "the values are those it was decided on: their digest is the record's"
	}
	return "what the rules saw then is not known for certain: the values above are worked out from the record by this version, and their digest is not the record's"
}

// pagesOf are the sections of the documentation about the built-in rules that
// a decision names.
func pagesOf(d carrel.Decision) []string {
	var out []string
	for _, rule := range d.Rules {
		if page := policy.Page(rule); page != "" {
			out = append(out, page)
		}
	}
	return out
}

func writeDecision(b *strings.Builder, d carrel.Decision) {
	fmt.Fprintf(b, "  rules: %s\n", strings.Join(d.Rules, ", "))
	if d.Reason != "" {
		fmt.Fprintf(b, "  reason: %s\n", d.Reason)
	}
	for _, n := range d.NextSteps {
		fmt.Fprintf(b, "  next: %s\n", n)
	}
	for _, page := range pagesOf(d) {
		fmt.Fprintf(b, "  see: %s\n", page)
	}
}

// errNewlyAllowed is what a simulation returns when a candidate lets through
// what was refused.
var errNewlyAllowed = errors.New("the candidate allows what was refused or asked; read the list, then repeat with --accept")
