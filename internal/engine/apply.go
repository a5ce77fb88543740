//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/review"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
	"github.com/carrel-dev/carrel/internal/workspace/fileaction"
)

// Apply publishes a change to the tree or to a new branch.
func (e *Engine) Apply(ctx context.Context, sel Selection, opts ApplyOptions) error {
	if opts.Message != "" && opts.Branch == "" {
		return misused("--message is of a commit, and without --branch there is none")
	}
	s, op, err := e.pending(ctx, sel)
	if err != nil {
		return err
	}
	if opts.Branch != "" && s.ws.Repository() == nil {
		return workspace.ErrNoBranch
	}
	if err := op.stillAllowed(ctx, s.change); err != nil {
		return err
	}
	if term.IsTerminal(int(e.host.Stdin.Fd())) && term.IsTerminal(int(e.host.Stderr.Fd())) {
		op.answers.Prompt = e.promptFor(s, opts)
	}
	out, err := e.publish(ctx, op.gate, s, opts, false)
	if errors.Is(err, gate.ErrPending) {
		return &hintError{err, "carrel approve --reason \"…\"" + selectionHint(sel) + ", then apply again"}
	}
	if err != nil {
		return errors.Join(err, out.release())
	}
	out.Attestation, err = e.attest(ctx, op.gate, s)
	if err != nil {
		err = &hintError{fmt.Errorf("the change was applied, and is not attested: %w", err), "carrel attest " + string(s.entry.ID)}
	}
	return errors.Join(e.applied(ctx, s, out, opts), err, out.end())
}

func selectionHint(sel Selection) string {
	if sel.ID == "" {
		return ""
	}
	return " " + sel.ID
}

// stillAllowed asks today's policy about every file again: what was decided
// when the change was taken may have been decided under another one.
func (op *operator) stillAllowed(ctx context.Context, c *carrel.Change) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0)) // deciding is computing
	for part := range slices.Chunk(c.Files, 256) {
		group.Go(func() error {
			for _, f := range part {
				d := op.policy.Decide(ctx, fileaction.Of(c.Run, f))
				if d.Verdict == carrel.Deny {
					return &hintError{fmt.Errorf("%s: policy denies it now: %s: %w", terminal.Escape(string(f.Path)), d.Reason, gate.ErrDenied),
						"run the agent again to take the change anew, without this file"}
				}
			}
			return ctx.Err()
		})
	}
	return group.Wait()
}

// published is what an apply did.
type published struct {
	Target string `json:"target"`
	Branch string `json:"branch,omitempty"`
	Commit string `json:"commit,omitempty"`
	Tree   string `json:"tree,omitempty"`
	Author string `json:"author,omitempty"`
	Signed bool   `json:"signed"`
	Files  int    `json:"files"`
	// Left are paths of the change that no commit holds, such as ignored ones.
	Left []workspace.LeftOut `json:"left_out,omitempty"`
	// Attestation is nil if the change could not be attested.
	Attestation *attested `json:"attestation"`

	journal journal // nil where nothing was altered
}

// journal is what an apply left on disk to be ended when all is done, or else
// by the next command.
type journal interface {
	Recorded()
	End() error
	Release() error
}

func (p published) end() error {
	if p.journal == nil {
		return nil
	}
	return p.journal.End()
}

func (p published) release() error {
	if p.journal == nil {
		return nil
	}
	return p.journal.Release()
}

// publish takes the change through the gate into the tree or onto a branch,
// and settles what is left at the desk. What it returns is to be ended, or
// released, also with an error.
func (e *Engine) publish(ctx context.Context, g *gate.Gate, s selected, opts ApplyOptions, auto bool) (published, error) {
	target := carrel.TargetTree
	if opts.Branch != "" {
		target = carrel.TargetBranch
	}
	a, err := workspace.PublishAction(s.change, target, auto && outright(s.change))
	if err != nil {
		return published{}, err
	}
	if err := e.witnessed(ctx, g); err != nil {
		return published{}, err
	}
	out := published{Target: target, Branch: opts.Branch, Files: len(s.change.Files)}
	apply := workspace.ApplyOptions{Change: s.change, Blobs: e.blobs, State: e.host.Paths.State, Repo: s.ws.Repository()}
	_, err = g.Do(ctx, a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		if target == carrel.TargetTree {
			done, err := workspace.Apply(ctx, grant, a, apply)
			if done.Journal != nil {
				out.journal = done.Journal
			}
			return carrel.Outcome{Counts: map[string]int64{"files": int64(done.Files), "already": int64(len(done.Already))}}, err
		}
		done, err := workspace.ApplyBranch(ctx, grant, a, workspace.BranchOptions{
			ApplyOptions: apply, Branch: opts.Branch, Message: opts.Message, Environ: e.host.Environ, Now: time.Now(),
		})
		out.Commit, out.Tree, out.Author, out.Signed, out.Files, out.Left = done.Name, done.Tree, done.Author, done.Signed, done.Files, done.Left
		if done.Journal != nil {
			out.journal = done.Journal
		}
		return carrel.Outcome{Facts: map[string]carrel.Text{"branch": carrel.Text(opts.Branch), "commit": carrel.Text(done.Name), "tree": carrel.Text(done.Tree)}, Counts: map[string]int64{"files": int64(done.Files), "left_out": int64(len(done.Left))}}, err
	})
	if err != nil && out.journal != nil { // made, and not recorded
		err = errors.Join(&hintError{fmt.Errorf("%s, and that could not be recorded: %w", madeOf(opts), err), "carrel review, or whatever is done with a change next, takes it back; then apply again"}, out.release())
	}
	if err != nil {
		return published{}, err
	}
	if out.journal != nil {
		out.journal.Recorded()
	}
	return out, e.settle(ctx, s, out)
}

// madeOf says what an apply did that is not recorded.
func madeOf(opts ApplyOptions) string {
	if opts.Branch != "" {
		return fmt.Sprintf("branch %s was made", opts.Branch)
	}
	return "the change was put into the tree"
}

// witnessed refuses to publish, where the configuration says so, while
// witnesses do not cosign the log up to here.
func (e *Engine) witnessed(ctx context.Context, g *gate.Gate) error {
	set, err := e.configured()
	if err != nil {
		return err
	}
	if set.Witnesses.Value.Missing != refuseUnwitnessed {
		return nil
	}
	log, err := e.openLog()
	if err != nil {
		return err
	}
	_, lacking, err := e.checkpoint(ctx, g, log)
	if err != nil {
		return err
	}
	return lacking.refused()
}

// outright reports whether policy allows every file of a change without asking.
// A change of which it asks about one file is for a person, whatever its risk.
func outright(c *carrel.Change) bool {
	return !slices.ContainsFunc(c.Files, func(f carrel.FileChange) bool { return f.Decision.Verdict != carrel.Allow })
}

// settle notes what became of the change and frees the desk of it. The files
// are where they belong already: what fails here is said and harmless.
func (e *Engine) settle(ctx context.Context, s selected, out published) error {
	note := "to the tree"
	if out.Branch != "" {
		note = "to branch " + out.Branch
	}
	if err := s.ws.SetChangeState(s.entry.ID, workspace.ChangeApplied, note); err != nil {
		return fmt.Errorf("the change was applied, but noting it failed: %w", err)
	}
	seat, err := s.ws.Desk(s.entry.Desk)
	if err != nil {
		return fmt.Errorf("the change was applied, but its desk cannot be opened: %w", err)
	}
	defer seat.Close()
	return seat.Settle(ctx, s.change.Files) // does nothing where a run goes on
}

func (e *Engine) applied(ctx context.Context, s selected, out published, opts ApplyOptions) error {
	if opts.JSON {
		return e.printJSON(struct {
			Change carrel.ChangeID `json:"change"`
			Digest carrel.Digest   `json:"digest"`
			State  string          `json:"state"`
			published
		}{s.entry.ID, s.entry.Digest, string(workspace.ChangeApplied), out})
	}
	if out.Branch == "" {
		fmt.Fprintf(e.host.Stdout, "applied %s to %s: %s\n", s.entry.ID, terminal.Escape(s.ws.Root()), countFiles(out.Files))
		return nil
	}
	for _, l := range out.Left {
		fmt.Fprintf(e.host.Stdout, "left out of the commit: %s: %s\n", terminal.Escape(string(l.Path)), l.Reason)
	}
	if who := e.otherIdentity(ctx, s.ws.Repository()); who != "" {
		fmt.Fprintf(e.host.Stderr, "carrel: %s\n", terminal.Escape(who))
	}
	signed := ""
	if out.Signed {
		signed = ", signed"
	}
	fmt.Fprintf(e.host.Stdout, "applied %s to branch %s: commit %s%s, %s\n  next: git diff HEAD...%s\n",
		s.entry.ID, terminal.Escape(out.Branch), out.Commit[:min(12, len(out.Commit))], signed, countFiles(out.Files), terminal.Escape(out.Branch))
	return nil
}

// promptDigits is how much of the digest a person types: enough that it was
// read and not guessed.
const promptDigits = 4

// promptFor asks at the terminal for the first characters of the digest.
func (e *Engine) promptFor(s selected, opts ApplyOptions) func(context.Context, approval.Question) (bool, string, error) {
	return func(ctx context.Context, q approval.Question) (bool, string, error) {
		err := review.Render(e.host.Stderr, s.change, e.blobs, review.Options{
			Color: terminal.Colors(e.host.Stderr, opts.NoColor), Stat: true, State: string(s.entry.State),
		})
		if err != nil {
			return false, "", err
		}
		digits := s.entry.Digest.Hex()
		where := "into " + s.ws.Root()
		if opts.Branch != "" {
			where = "to the new branch " + opts.Branch
		}
		fmt.Fprintf(e.host.Stderr, "\n%s\nThe digest is %s. To apply it %s type its first %d characters, anything else to leave it: ",
			terminal.Escape(q.Decision.Reason), digits, terminal.Escape(where), promptDigits)
		answer, err := e.readLine(ctx)
		if err != nil {
			return false, "", err
		}
		answer = strings.TrimPrefix(strings.ToLower(answer), "sha256:")
		if len(answer) < promptDigits || !strings.HasPrefix(digits, answer) {
			return false, "", gate.ErrPending // no answer is not a no
		}
		return true, "at the terminal", nil
	}
}
