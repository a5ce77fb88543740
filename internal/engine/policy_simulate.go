package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/hook"
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
	Run       carrel.RunID     `json:"run,omitempty"` // of the first; none: a hook asked
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
	Hooks   int            `json:"hooks"`   // of the actions, those that hooks asked about
	Becomes map[string]int `json:"becomes"` // "deny -> allow": how many
	Changed []Changed      `json:"changed"`
}

// checkLast refuses a count of the last runs that is none.
func checkLast(runs int) error {
	if runs < 0 {
		return misused("--runs %d: say how many of the last runs, or 0 for all", runs)
	}
	return nil
}

// PolicySimulate replays what was decided in the last runs, and by hooks since,
// against a candidate, with the floor and what those runs were granted.
func (e *Records) PolicySimulate(ctx context.Context, opts PolicySimulateOptions) error {
	if err := checkLast(opts.Runs); err != nil {
		return err
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

// past reads what was answered in the last runs, oldest first, and what hooks
// were answered since the first of them began.
func (e *Records) past(ctx context.Context, last int) (all []pastAction, replayed int, err error) {
	reader := audit.OpenReader(e.state("log"))
	runs, since, err := lastRuns(ctx, reader, last)
	if err != nil {
		return nil, 0, err
	}
	for entry, err := range reader.From(ctx, since) {
		if err != nil {
			return nil, 0, err
		}
		switch r := entry.Record; {
		case !slices.Contains(runs, r.Run) && !askedByHook(r):
		case (r.Kind == carrel.KindIntent || r.Kind == carrel.KindRefused) && r.Action != nil && r.Decision != nil:
			all = append(all, pastAction{r.Run, *r.Action, *r.Decision, r.Time})
		case r.Kind == carrel.KindChange && r.Change != nil:
			all = append(all, e.pastFiles(r)...)
		}
	}
	if len(all) == 0 {
		return nil, 0, &hintError{errors.New("the log has no decision to replay"), "carrel run leaves some, and so do the hooks of clients (carrel init)"}
	}
	return all, len(runs), nil
}

// lastRuns are the last so many runs, or all, and where in the log they begin.
func lastRuns(ctx context.Context, reader *audit.Reader, last int) (runs []carrel.RunID, since int64, err error) {
	var began []int64
	for entry, err := range reader.From(ctx, 0) {
		if err != nil {
			return nil, 0, err
		}
		if run := entry.Record.Run; run != "" && !slices.Contains(runs, run) {
			runs, began = append(runs, run), append(began, entry.Index)
		}
	}
	if over := len(runs) - last; last > 0 && over > 0 {
		return runs[over:], began[over], nil
	}
	return runs, 0, nil
}

// askedByHook reports a record of what a client's hook asked outside a desk:
// an agent's work that belongs to no run.
func askedByHook(r carrel.Record) bool {
	return r.Run == "" && r.Action != nil && r.Action.Agent != "" && isWork(r.Action.Operation)
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
		if p.run == "" {
			s.Hooks++
		}
		s.Becomes[fmt.Sprintf("%s -> %s", was, d.Verdict)]++
		if d.Verdict != was {
			d.Rules = slices.DeleteFunc(d.Rules, func(rule string) bool { return rule == "recorded/granted" }) // not of the candidate
			s.add(Changed{p.run, p.action.ID, p.action.Operation, target(p.action), was, d.Verdict, d.Rules, d.Reason, 1})
		}
	}
	return s, nil
}

// recordedGrants answers for what was granted by configuration, profile and
// flags, and for what hooks ask by themselves, which the log has only as answers: what was refused for want of a
// grant stays so.
type recordedGrants struct{ now carrel.Decision }

func (g *recordedGrants) layer() policy.Layer {
	return policy.Layer{
		Name: "recorded", Kind: policy.User, Text: []byte("recorded"),
		Governs: slices.Concat(hook.Operations, []carrel.Operation{carrel.OpResolve, carrel.OpConnect, carrel.OpRequest, carrel.OpExpose, carrel.OpCredential}),
		Func: func(carrel.Action) policy.Answer {
			refused := func(rule string) bool {
				return strings.HasPrefix(rule, "egress/") || strings.HasPrefix(rule, "hook/") || strings.HasPrefix(rule, "policy/")
			}
			if g.now.Verdict != carrel.Allow && slices.ContainsFunc(g.now.Rules, refused) {
				return policy.Answer{Verdict: g.now.Verdict, Rules: []string{"not-granted"}, Reason: cmp.Or(g.now.Reason, "it was not granted"), NextSteps: g.now.NextSteps}
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
	fmt.Fprintf(&b, "%s of %s", plural(s.Actions-s.Hooks, "action"), plural(s.Runs, "run"))
	if s.Hooks > 0 {
		fmt.Fprintf(&b, " and %d that hooks asked about", s.Hooks)
	}
	fmt.Fprintf(&b, ", %d of them answered otherwise\n", s.changed())
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
