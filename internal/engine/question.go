package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/private"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// How long an answer to an action counts.
const (
	RememberAction = "action" // this one, while it waits or is tried again soon
	RememberRun    = "run"    // identical actions of the same run
	RememberRule   = "rule"   // as for the run, and a rule to put into the configuration is proposed
)

const (
	defaultHold = 2 * time.Minute
	// triedAgain is how long an answer counts for an action that could not
	// wait for it.
	triedAgain = 10 * time.Minute
)

// ActionAnswer is an answer to one action.
type ActionAnswer struct {
	Reason   string
	For      time.Duration // 0: as Remember says
	Remember string        // RememberAction, RememberRun or RememberRule
	JSON     bool
}

// AnswerAction records a person's yes or no to an action that waits.
func AnswerAction(ctx context.Context, host Host, id string, granted bool, opts ActionAnswer) error {
	if err := carrel.CheckID(id, "act_"); err != nil {
		return err
	}
	if !slices.Contains([]string{"", RememberAction, RememberRun, RememberRule}, opts.Remember) {
		return fmt.Errorf("--remember %q: use %s, %s or %s", opts.Remember, RememberAction, RememberRun, RememberRule)
	}
	e := &Records{host}
	r, err := e.openRoad(ctx)
	if err != nil {
		return err
	}
	err = r.answerAction(ctx, carrel.ActionID(id), granted, opts)
	if cerr := r.close(ctx); err == nil {
		err = cerr
	}
	return err
}

func (r *road) answerAction(ctx context.Context, id carrel.ActionID, granted bool, opts ActionAnswer) error {
	if r.answers == nil {
		return fmt.Errorf("answers cannot be kept on this system: answer in the client")
	}
	q, err := r.answers.Find(id)
	if err != nil {
		return &hintError{err, "carrel pending lists what does; what nobody answered in time was denied"}
	}
	proposal, err := r.answer(ctx, q, granted, opts)
	if err != nil {
		return err
	}
	out := r.host.Stdout
	if opts.JSON {
		return (&Records{r.host}).printJSON(map[string]any{"action": id, "digest": q.Digest, "approved": granted, "remember": opts.Remember, "proposal": proposal})
	}
	word := "denied"
	if granted {
		word = "approved"
	}
	fmt.Fprintf(out, "%s %s: %s (digest %s)\n", word, id, describeAction(q.Action), q.Digest.Short())
	if proposal != "" {
		fmt.Fprintf(out, "  proposed, for you to look at and put into your configuration:\n%s", indent(proposal))
	}
	return nil
}

// answer takes the person's own action to the gate; its effect keeps the
// answer. It returns the rule that is proposed, if one was asked for.
func (r *road) answer(ctx context.Context, q approval.OpenQuestion, granted bool, opts ActionAnswer) (proposal string, err error) {
	a := carrel.Action{Run: q.Action.Run, Operation: carrel.OpApprove, Subject: string(q.Action.ID), SubjectDigest: q.Digest, Reason: carrel.Text(opts.Reason)}
	if !granted {
		a.Operation = carrel.OpDeny
	}
	r.answers.Lifetime = opts.lifetime(q)
	_, err = r.gate.Do(ctx, a, func(ctx context.Context, g gate.Grant) (carrel.Outcome, error) {
		p, err := r.answers.Answer(ctx, g, a, q.Decision.Policy)
		return carrel.Outcome{Facts: map[string]carrel.Text{"operation": carrel.Text(q.Action.Operation), "expires": carrel.Text(p.Expires.Format(time.RFC3339))}}, err
	})
	if err != nil || !granted || opts.Remember != RememberRule {
		return "", err
	}
	return (&Records{r.host}).propose(q)
}

func (o ActionAnswer) lifetime(q approval.OpenQuestion) time.Duration {
	switch {
	case o.For > 0:
		return o.For
	case o.Remember == RememberRun || o.Remember == RememberRule:
		return approval.DefaultLifetime
	case q.Held:
		return max(time.Until(q.Until), 0) + 5*time.Second
	}
	return triedAgain
}

// propose writes down the narrowest rule that would allow an action without
// asking. It is never put in force by itself.
func (e *Records) propose(q approval.OpenQuestion) (string, error) {
	rule := proposedRule(q)
	path := e.state("proposals", string(q.Action.ID)+".txt")
	if err := private.Replace(path, []byte(rule)); err != nil {
		return "", fmt.Errorf("keeping the proposed rule: %w", err)
	}
	return rule + "# kept as " + path + "\n", nil
}

func proposedRule(q approval.OpenQuestion) string {
	a, rule := q.Action, firstRule(q.Decision)
	head := fmt.Sprintf("# asked by %s: %s\n# %s\n", rule, terminal.Escape(q.Decision.Reason), describeAction(a))
	layer, _, _ := strings.Cut(rule, "/")
	switch {
	case a.Operation == carrel.OpTool && layer == "hook":
		return head + "tools: [" + terminal.Escape(a.Subject) + "]\n"
	case layer == "builtin":
		return head + "# the built-in floor asks about this always; no rule can lift it\n"
	}
	return head + fmt.Sprintf("# in the rule %s of your policy, leave exactly this out:\n#   input.operation == %q\n%s", rule, a.Operation, exactly(a))
}

// exactly is the condition that holds for one action's target.
func exactly(a carrel.Action) string {
	switch a.Operation {
	case carrel.OpRead, carrel.OpWrite, carrel.OpDelete:
		return fmt.Sprintf("#   input.path == %q\n", a.Path)
	case carrel.OpExec:
		words := make([]string, len(a.Argv))
		for i, w := range a.Argv {
			words[i] = fmt.Sprintf("%q", string(w))
		}
		return "#   input.argv == [" + strings.Join(words, ", ") + "]\n"
	case carrel.OpResolve, carrel.OpConnect:
		return fmt.Sprintf("#   input.host == %q\n", a.Host)
	case carrel.OpRequest:
		return fmt.Sprintf("#   input.host == %q\n#   input.method == %q\n#   input.url == %q\n", a.Host, a.Method, string(a.URL))
	}
	return fmt.Sprintf("#   input.subject == %q\n", a.Subject)
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n    ") + "\n"
}

// describeAction says what an action would do in one line that shows all of
// it: what a person cannot see they cannot approve.
func describeAction(a carrel.Action) string {
	s := string(a.Operation) + " " + target(a)
	if a.Path != "" && a.Operation == carrel.OpExec {
		s += " [" + a.Path + "]"
	}
	return terminal.Escape(s)
}

// questions opens the store of answers for reading; nil if nobody ever asked.
func (e *Records) answers() (*approval.Store, error) {
	if _, err := os.Stat(e.state("approvals")); err != nil {
		return nil, nil
	}
	s, err := approval.Open(e.state("approvals"))
	if err != nil {
		return nil, err
	}
	s.By = e.host.User
	return s, nil
}

// questionLine is an open question for people.
func questionLine(q approval.OpenQuestion) string {
	s := fmt.Sprintf("%s  %s: %s", q.Action.ID, describeAction(q.Action), terminal.Escape(q.Decision.Reason))
	if rule := firstRule(q.Decision); rule != "" {
		s += " (" + terminal.Escape(rule) + ")"
	}
	if q.Count > 1 {
		s += fmt.Sprintf("  %d times", q.Count)
	}
	waits := "waits until"
	if !q.Held {
		waits = "can be answered until"
	}
	return fmt.Sprintf("%s  digest %s  %s %s  %s", s, q.Digest.Short(), waits, q.Until.Local().Format(time.TimeOnly), q.Action.Run)
}

// PendingActions lists the actions that wait for an answer.
func (e *Records) PendingActions(asJSON bool) error {
	s, err := e.answers()
	if s == nil || err != nil {
		return err
	}
	all, err := s.Questions()
	if err != nil {
		return err
	}
	for _, q := range all {
		if err := e.printQuestion(q, asJSON); err != nil {
			return err
		}
	}
	return nil
}

func (e *Records) printQuestion(q approval.OpenQuestion, asJSON bool) error {
	if asJSON {
		return e.printLine(q)
	}
	_, err := fmt.Fprintln(e.host.Stdout, questionLine(q))
	return err
}

const watchEvery = 200 * time.Millisecond

// WatchPending shows actions as they begin to wait, until ctx ends. At a
// terminal it asks about each.
func WatchPending(ctx context.Context, host Host, asJSON bool) error {
	e := &Records{host}
	ask := !asJSON && term.IsTerminal(int(host.Stdin.Fd()))
	seen := map[carrel.Digest]time.Time{}
	for {
		s, err := e.answers()
		if err != nil {
			return err
		}
		var all []approval.OpenQuestion
		if s != nil {
			if all, err = s.Questions(); err != nil {
				return err
			}
		}
		for _, q := range all {
			if seen[q.Digest].Equal(q.Since) {
				continue
			}
			seen[q.Digest] = q.Since
			if err := e.printQuestion(q, asJSON); err != nil {
				return err
			}
			if ask {
				if err := e.askWatcher(ctx, q); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

func (e *Records) askWatcher(ctx context.Context, q approval.OpenQuestion) error {
	wait, cancel := context.WithDeadline(ctx, q.Until)
	defer cancel()
	reply, err := askOn(wait, e.host.Stdin, e.host.Stderr, q)
	if err != nil || reply.word == "" { // no answer is none; the next one is asked
		fmt.Fprintln(e.host.Stderr)
		return nil
	}
	opts := ActionAnswer{Remember: reply.remember(), Reason: "at the terminal"}
	if err := AnswerAction(ctx, e.host, string(q.Action.ID), reply.granted(), opts); err != nil {
		fmt.Fprintf(e.host.Stderr, "carrel: %s\n", terminal.EscapeText(err.Error()))
	}
	return nil
}

// typed is what a person answered: a whole word, so that nobody says yes with
// a key that was meant for the agent.
type typed struct{ word string }

func (t typed) granted() bool { return t.word == "yes" || t.word == "run" || t.word == "rule" }

func (t typed) remember() string {
	switch t.word {
	case "run":
		return RememberRun
	case "rule":
		return RememberRule
	}
	return RememberAction
}

const askWords = "Type yes (once), run (for this run), rule (and propose one) or no; anything else leaves it: "

// askOn asks about q and reads one line from in. Another word than an answer
// is no answer.
func askOn(ctx context.Context, in *os.File, out io.Writer, q approval.OpenQuestion) (typed, error) {
	fmt.Fprint(out, askWords)
	line, err := readWord(ctx, in)
	if err != nil {
		return typed{}, err
	}
	if t := (typed{strings.ToLower(strings.TrimSpace(line))}); t.granted() || t.word == "no" {
		return t, nil
	}
	return typed{}, nil
}

// readWord reads a line, or returns when ctx ends. It reads no further than
// the line, so that what follows is still there for who asks next.
func readWord(ctx context.Context, in *os.File) (string, error) {
	type read struct {
		line string
		err  error
	}
	got := make(chan read, 1)
	go func() { // ends with the line, with the file, or with the process
		var b [1]byte
		var line []byte
		for len(line) < 100 {
			if _, err := in.Read(b[:]); err != nil {
				got <- read{"", err}
				return
			}
			if b[0] == '\n' {
				break
			}
			line = append(line, b[0])
		}
		got <- read{string(line), nil}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case r := <-got:
		return r.line, r.err
	}
}
