package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/origin"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/verify"
)

// maxRange bounds the commits that are checked at once: more are no change
// that anybody reviews.
const maxRange = 1000

// CommitVerdict is what is known of one commit of a range.
type CommitVerdict struct {
	Commit   string         `json:"commit"`
	OK       bool           `json:"ok"`
	Attested bool           `json:"attested"`
	Runs     []string       `json:"runs"`            // that it came of, as was proved
	Claim    *origin.Claim  `json:"claim,omitempty"` // of its message, where nothing is attested
	Policy   *PolicyVerdict `json:"policy,omitempty"`
	Error    string         `json:"error,omitempty"`

	says string // in words
}

// rangeOf takes A..B apart.
func rangeOf(target string) (from, to string, ok bool) {
	from, to, ok = strings.Cut(target, "..")
	return from, to, ok && from != "" && to != "" && !strings.Contains(to, "..") && !strings.HasPrefix(to, ".")
}

// commits checks every commit that to has and from has not, as a merge would
// bring them. A commit that is attested, or says of itself that an agent made
// it, must be right; at least one must be attested, and with opts.Every all.
func (v *verifying) commits(ctx context.Context, from, to string) error {
	v.out.Kind = "commits"
	repo, err := git.Open(ctx, v.host.Cwd)
	if err != nil {
		return fmt.Errorf("%q is no file here, and commits cannot be looked for: %w", v.out.Target, err)
	}
	if v.opts.Policy != "" { // one that cannot be read is said once
		if _, err := v.merge(); err != nil {
			return err
		}
	}
	names, err := between(ctx, repo, from, to)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		one := CommitVerdict{Commit: name, Runs: []string{}}
		err := v.oneOf(ctx, repo, &one)
		if one.OK = err == nil; err != nil {
			one.Error = err.Error()
			failed = append(failed, fmt.Errorf("commit %s: %w", name, err))
		}
		v.out.Commits = append(v.out.Commits, one)
	}
	return v.conclude(failed)
}

// between lists the commits of a range, oldest first.
func between(ctx context.Context, repo *git.Repo, from, to string) ([]string, error) {
	base, err := repo.Resolve(ctx, from)
	if err != nil {
		return nil, err
	}
	tip, err := repo.Resolve(ctx, to)
	if err != nil {
		return nil, err
	}
	names, err := repo.Range(ctx, base, tip, maxRange)
	if errors.Is(err, git.ErrCut) {
		return nil, &hintError{err, "fetch the whole history: git fetch --unshallow (in CI: fetch depth 0)"}
	}
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s..%s has no commits: nothing is proved by that", from, to)
	}
	return names, err
}

// oneOf checks one commit of a range.
func (v *verifying) oneOf(ctx context.Context, repo *git.Repo, one *CommitVerdict) error {
	c, err := repo.Commit(ctx, one.Commit)
	if err != nil {
		return err
	}
	sets, err := v.noted(ctx, repo, c)
	if errors.Is(err, git.ErrNoNote) {
		return v.unattested(one, c)
	}
	one.Attested = true
	if err != nil {
		return err
	}
	v.out.Trusted = true
	for i := range sets {
		one.Runs = append(one.Runs, sets[i].Provenance.Run.Metadata.Invocation)
	}
	one.says = inShort(sets)
	v.out.Key = sets[0].Attested[0].Key
	documents, err := v.documents(sets, commitDocument(c))
	if err != nil || v.opts.Policy == "" {
		return err
	}
	one.Policy, err = v.ask("commit "+c.Name, documents)
	return err
}

// unattested decides about a commit of which nothing is attested.
func (v *verifying) unattested(one *CommitVerdict, c git.CommitInfo) error {
	one.Claim = origin.ClaimOf(c.Message)
	switch {
	case one.Claim != nil:
		return &hintError{fmt.Errorf("its message names run %q, and it is not attested", one.Claim.Run), fetchNotes + "; a commit that was amended or rebased is another one, and has to be made and attested again"}
	case v.opts.Every:
		return errors.New("it is not attested")
	}
	one.says = "not attested: nothing says that an agent made it, and nothing is proved of it"
	return nil
}

// inShort says what was proved of a commit in a line.
func inShort(sets []verify.Set) string {
	var out []string
	for i := range sets {
		p := &sets[i].Provenance
		in := p.Build.Internal
		words := fmt.Sprintf("%s of %q, tier %s", p.Run.Metadata.Invocation, in.Agent.Name, in.Sandbox.Tier)
		for _, a := range in.Approvals {
			words += fmt.Sprintf(", approved by %q", a.By)
		}
		if !in.Sandbox.Complete {
			words += ", trace not complete"
		}
		out = append(out, words)
	}
	return strings.Join(out, "; ")
}

// conclude says what became of a range. That policy denied is said as such
// only where nothing else was wrong.
func (v *verifying) conclude(failed []error) error {
	attested := 0
	for _, c := range v.out.Commits {
		if c.OK && c.Attested {
			attested++
		}
	}
	if v.opts.Policy != "" {
		v.out.Policy = &PolicyVerdict{Allowed: len(failed) == 0 && attested > 0, Rules: []string{}}
	}
	if len(failed) > 0 {
		err := fmt.Errorf("%d of %d commits failed; the first: %w", len(failed), len(v.out.Commits), failed[0])
		for _, other := range failed {
			if !errors.Is(other, gate.ErrDenied) {
				return fmt.Errorf("%d of %d commits failed: %w", len(failed), len(v.out.Commits), other)
			}
		}
		return err
	}
	if attested == 0 {
		return &hintError{fmt.Errorf("none of the %d commits is attested", len(v.out.Commits)), fetchNotes}
	}
	v.out.Proved = append(v.out.Proved, fmt.Sprintf("%d of %d commits came of the runs named with them, as the log announced before it was signed", attested, len(v.out.Commits)))
	if rest := len(v.out.Commits) - attested; rest > 0 {
		v.out.Missing = append(v.out.Missing, fmt.Sprintf("anything about the other %d: that no agent made them, either (--every refuses them)", rest))
	}
	v.tellCommitLimits()
	return nil
}

// tellCommits prints a line for each commit of a range.
func (v *verifying) tellCommits() {
	for _, c := range v.out.Commits {
		verdict, says := "ok    ", c.says
		switch {
		case !c.OK:
			verdict, says = "FAILED", c.Error
		case !c.Attested:
			verdict = "-     "
		}
		fmt.Fprintf(v.host.Stdout, "%s %.12s  %s\n", verdict, c.Commit, terminal.Escape(says))
	}
}
