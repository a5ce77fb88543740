package engine

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// PolicySimulateOptions are the flags of `policy simulate`.
type PolicySimulateOptions struct {
	Candidate string
	Runs      int // the last so many
	Accept    bool
	JSON      bool
}

// pastAction is an action of the log, or a file of a change, with its answer.
type pastAction struct {
	run      carrel.RunID
	action   carrel.Action
	decision carrel.Decision
	time     time.Time
}

// Changed is a recorded action that a candidate answers otherwise.
type Changed struct {
	Run       carrel.RunID     `json:"run"`
	Action    carrel.ActionID  `json:"action,omitempty"`
	Operation carrel.Operation `json:"operation"`
	Target    string           `json:"target"`
	Was       carrel.Verdict   `json:"was"`
	Becomes   carrel.Verdict   `json:"becomes"`
	Rules     []string         `json:"rules"`
	Reason    string           `json:"reason,omitempty"`
	Times     int              `json:"times"`
}

// Simulation is what `policy simulate` prints.
type Simulation struct {
	Runs    int            `json:"runs"`
	Actions int            `json:"actions"`
	Becomes map[string]int `json:"becomes"` // "deny -> allow": how many
	Changed []Changed      `json:"changed"`
}

// PolicySimulate replays what was decided in the last runs against a
// candidate, with the floor and what those runs were granted.
func (e *Records) PolicySimulate(ctx context.Context, opts PolicySimulateOptions) error {
	if opts.Runs < 0 {
		return &UsageError{Err: fmt.Errorf("--runs %d: say how many of the last runs are replayed, or 0 for all", opts.Runs)}
	}
	layer, err := policy.FromPath("user", policy.User, opts.Candidate)
	if err != nil {
		return err
	}
	if _, err := policy.NewHere(ctx, layer); err != nil { // found out before the log is read
		return fmt.Errorf("the candidate: %w", err)
	}
	past, runs, err := e.past(ctx, opts.Runs)
	if err != nil {
		return err
	}
	s, err := simulate(ctx, layer, past)
	if err != nil {
		return err
	}
	s.Runs = runs
	if opts.JSON {
		err = encodeJSON(e.host.Stdout, s)
	} else {
		err = s.print(e.host.Stdout)
	}
	if err == nil && !opts.Accept && s.opens() {
		return errNewlyAllowed
	}
	return err
}

// past reads the actions of the last runs from the log, oldest first.
func (e *Records) past(ctx context.Context, runs int) ([]pastAction, int, error) {
	var all []pastAction
	var order []carrel.RunID
	for entry, err := range audit.OpenReader(e.state("log")).From(ctx, 0) {
		if err != nil {
			return nil, 0, err
		}
		r := entry.Record
		if r.Run == "" {
			continue
		}
		if !slices.Contains(order, r.Run) {
			order = append(order, r.Run)
		}
		if (r.Kind == carrel.KindIntent || r.Kind == carrel.KindRefused) && r.Action != nil && r.Decision != nil {
			all = append(all, pastAction{r.Run, *r.Action, *r.Decision, r.Time})
		}
		if r.Kind == carrel.KindChange && r.Change != nil {
			all = append(all, e.pastFiles(r)...)
		}
	}
	if runs > 0 && len(order) > runs {
		order = order[len(order)-runs:]
	}
	all = slices.DeleteFunc(all, func(p pastAction) bool { return !slices.Contains(order, p.run) })
	if len(all) == 0 {
		return nil, 0, &hintError{fmt.Errorf("the log has no decision to replay"), "carrel run leaves some; what hooks decided outside a desk belongs to no run and is not replayed"}
	}
	return all, len(order), nil
}

func simulate(ctx context.Context, candidate policy.Layer, past []pastAction) (Simulation, error) {
	s := Simulation{Becomes: map[string]int{}, Changed: []Changed{}}
	granted := &recordedGrants{}
	e, err := policy.NewHere(ctx, granted.layer(), candidate)
	if err != nil {
		return s, err
	}
	for _, p := range past {
		granted.now = p.decision
		d := e.DecideAt(p.action, decidedAt(p.decision, p.time))
		was := cmp.Or(p.decision.Verdict, carrel.Deny)
		s.Actions++
		s.Becomes[fmt.Sprintf("%s -> %s", was, d.Verdict)]++
		if d.Verdict != was {
			s.add(Changed{p.run, p.action.ID, p.action.Operation, target(p.action), was, d.Verdict, d.Rules, d.Reason, 1})
		}
	}
	return s, nil
}

// recordedGrants answers for what a run was granted by configuration, profile
// and flags, which the log has only as answers: what was refused for want of a
// grant stays so.
type recordedGrants struct{ now carrel.Decision }

func (g *recordedGrants) layer() policy.Layer {
	return policy.Layer{
		Name: "recorded", Kind: policy.User, Text: []byte("recorded"),
		Governs: []carrel.Operation{carrel.OpResolve, carrel.OpConnect, carrel.OpRequest, carrel.OpExpose, carrel.OpCredential, carrel.OpTool},
		Func: func(carrel.Action) policy.Answer {
			refused := func(rule string) bool {
				return strings.HasPrefix(rule, "egress/") || strings.HasPrefix(rule, "hook/") || strings.HasPrefix(rule, "policy/")
			}
			if g.now.Verdict != carrel.Allow && slices.ContainsFunc(g.now.Rules, refused) {
				return policy.Answer{Verdict: g.now.Verdict, Rules: []string{"not-granted"}, Reason: "the run was not granted it", NextSteps: g.now.NextSteps}
			}
			return policy.Answer{Verdict: carrel.Allow, Rules: []string{"granted"}}
		},
	}
}

// add counts what differs only in when it happened as one.
func (s *Simulation) add(c Changed) {
	for i, old := range s.Changed {
		if old.Operation == c.Operation && old.Target == c.Target && old.Was == c.Was && old.Becomes == c.Becomes && slices.Equal(old.Rules, c.Rules) {
			s.Changed[i].Times++
			return
		}
	}
	s.Changed = append(s.Changed, c)
}

// opens reports whether anything becomes more open than it was.
func (s Simulation) opens() bool {
	return slices.ContainsFunc(s.Changed, func(c Changed) bool {
		return c.Becomes == carrel.Allow || c.Was == carrel.Deny
	})
}

func (s Simulation) print(w io.Writer) error {
	var b strings.Builder
	for _, c := range s.Changed {
		fmt.Fprintf(&b, "%-5s -> %-5s  %s %s (%s)", c.Was, c.Becomes, c.Operation, c.Target, strings.Join(c.Rules, ", "))
		if c.Times > 1 {
			fmt.Fprintf(&b, ", %d times", c.Times)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%s of %s, %d of them answered otherwise\n", plural(s.Actions, "action"), plural(s.Runs, "run"), s.changed())
	_, err := io.WriteString(w, terminal.EscapeText(b.String()))
	return err
}

func (s Simulation) changed() int {
	n := 0
	for _, c := range s.Changed {
		n += c.Times
	}
	return n
}
