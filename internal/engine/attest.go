//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/attest"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/private"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
	"github.com/carrel-dev/carrel/verify"
)

// AttestOptions are the flags of attest.
type AttestOptions struct{ JSON bool }

// Attest signs what is known of a change, again or for the first time.
func (e *Engine) Attest(ctx context.Context, sel Selection, opts AttestOptions) error {
	collectLater()
	op, err := e.operator(ctx, "")
	if err != nil {
		return err
	}
	go op.policy.Warm(carrel.OpAttest) // while the change is read
	s, err := e.find(ctx, sel, toAttest)
	if err != nil {
		return err
	}
	done, err := e.attest(ctx, op.gate, s)
	if err != nil {
		return err
	}
	if opts.JSON {
		return e.printJSON(done)
	}
	_, err = fmt.Fprintf(e.host.Stdout, "attested %s, %s, with key %s\n  next: carrel evidence %s -o DIR\n", s.entry.ID, whatBecame(s.entry), done.Key.Short(), s.entry.Run)
	return err
}

// toAttest is the change that is meant where none is named: the one that was
// applied last, or where none was the newest one that waits.
func toAttest(ws *workspace.Workspace) (workspace.ChangeEntry, error) {
	c, err := ws.LatestApplied()
	if errors.Is(err, workspace.ErrNoChange) {
		return ws.LatestChange()
	}
	return c, err
}

// whatBecame says what state a change is in, and since when if that was
// somebody's doing.
func whatBecame(c workspace.ChangeEntry) string {
	if c.State == workspace.ChangePending {
		return string(c.State)
	}
	return fmt.Sprintf("%s %s at %s", c.State, terminal.Escape(string(c.Note)), c.Changed.Local().Format(time.DateTime))
}

// attested is what an act of attesting left.
type attested struct {
	Change carrel.ChangeID `json:"change"`
	Key    carrel.Digest   `json:"key"`
	Path   string          `json:"-"`
	Names  []string        `json:"attestations"`
	Commit string          `json:"commit,omitempty"`
}

// attest signs what the log says of a change, keeps the attestations with
// their proofs, and notes them at the commit if there is one.
func (e *Engine) attest(ctx context.Context, g *gate.Gate, s selected) (*attested, error) {
	signer, err := e.signer(s.ws.Root())
	if err != nil {
		return nil, err
	}
	facts, err := e.facts(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("attesting %s: %w", s.entry.ID, err)
	}
	statements, err := facts.Statements()
	if err != nil {
		return nil, fmt.Errorf("attesting %s: %w", s.entry.ID, err)
	}
	a := attest.Action(s.entry.Run, string(s.entry.ID), signer.Public(), statements)
	done := &attested{Change: s.entry.ID, Key: signer.Public().ID, Path: e.attestations(s.entry.ID, a.ID), Names: verify.ChangeAttestations}
	if facts.Observed.Target == carrel.TargetBranch {
		done.Commit = string(facts.Observed.Publication.Record.Outcome.Facts["commit"])
	}
	_, err = g.Do(ctx, a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		signed, err := e.sign(ctx, g, grant, a, signer, statements, facts.Size)
		if err != nil {
			return carrel.Outcome{}, err
		}
		if err := keepAttestations(done.Path, signed); err != nil {
			return carrel.Outcome{}, err
		}
		if done.Commit != "" {
			err = noteAttestations(ctx, s.ws.Repository(), done.Commit, signed)
		}
		return attestOutcome(signed), err
	})
	if err != nil {
		return nil, fmt.Errorf("attesting %s: %w", s.entry.ID, err)
	}
	return done, nil
}

func attestOutcome(signed []verify.Attestation) carrel.Outcome {
	facts := map[string]carrel.Text{}
	for i, s := range signed {
		facts[verify.ChangeAttestations[i]] = carrel.Text(carrel.DigestBytes(s.Bundle))
	}
	return carrel.Outcome{Facts: facts}
}

// attestations is the file of one act of attesting a change.
func (e *Engine) attestations(change carrel.ChangeID, act carrel.ActionID) string {
	return e.state("attestations", string(change), string(act)+".jsonl")
}

// lastAttested is the file of the newest act of attesting a change that was
// finished; "" if there is none.
func (e *Engine) lastAttested(change carrel.ChangeID) (string, error) {
	dir := e.state("attestations", string(change))
	acts, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("looking for attestations: %w", err)
	}
	for _, act := range slices.Backward(acts) {
		if strings.HasSuffix(act.Name(), ".jsonl") { // else a file on its way when a process was killed
			return filepath.Join(dir, act.Name()), nil
		}
	}
	return "", nil
}

// signer is the key of this installation, or the user's own signing command.
func (e *Engine) signer(workspaces ...string) (attest.Signer, error) {
	cfg, err := e.userSettings()
	if err != nil {
		return nil, err
	}
	if set := cfg.Signing; set.IsSet() {
		key, err := readPublicKey(set.Value.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("%s: signing: %w", set.Origin, err)
		}
		return attest.Command{Argv: set.Value.Command, Key: key, Env: e.host.Environ}, nil
	}
	signer, err := e.keys().Signer(workspaces...)
	if errors.Is(err, fs.ErrPermission) || err != nil && strings.Contains(err.Error(), "chmod") {
		err = &hintError{err, "make the key yours alone, or rotate it: carrel identity rotate"}
	}
	return signer, err
}

func (e *Engine) keys() attest.Keys { return attest.OpenKeys(e.state("keys")) }

// facts gathers everything the statements about a change are derived from,
// under a checkpoint that covers it.
func (e *Engine) facts(ctx context.Context, s selected) (*attest.Facts, error) {
	log, err := e.openLog()
	if err != nil {
		return nil, err
	}
	f := &attest.Facts{Change: s.change, Digest: s.entry.Digest, Manifest: s.entry.Manifest, Version: e.host.Version, Now: time.Now().UTC()}
	if f.LogKey, err = audit.PublicKey(e.state("keys")); err != nil {
		return nil, err
	}
	// It leaves this process in statements alone, whose proof is signed later.
	if f.Checkpoint, err = log.Stand(ctx); err != nil {
		return nil, err
	}
	c, err := audit.OpenCheckpoint(f.Checkpoint, f.LogKey)
	if err != nil {
		return nil, err
	}
	f.Size, f.Root = c.Size, c.Root
	if err := e.wholeRun(ctx, s.entry.Run); err != nil {
		return nil, err
	}
	if f.Observed, err = attest.Observe(s.entry.Run, s.entry.ID, e.logged(ctx, s.entry.Run, c.Size)); err != nil {
		return nil, err
	}
	if f.Patch, err = attest.Patch(s.change, e.blobs); err != nil {
		return nil, err
	}
	f.Repository, err = e.repositoryName(ctx, s.ws.Repository())
	return f, err
}

const rootURN = "urn:carrel:repository:"

// repositoryName is what a policy at the merge compares: where the repository
// was cloned from, or its first commit where it was not.
func (e *Engine) repositoryName(ctx context.Context, repo *git.Repo) (string, error) {
	if repo == nil {
		return "", nil
	}
	if origin := repo.Origin(); origin != "" {
		return origin, nil
	}
	if repo.Head == "" {
		return "", nil
	}
	// A commit's name covers its history: what began it is asked of git once.
	remembered := e.state("first-commits", repo.Head)
	if known, ok := recall(remembered); ok && len(known) == len(repo.Head) {
		return rootURN + string(known), nil
	}
	root, err := repo.RootCommit(ctx)
	if err != nil || root == "" {
		return "", err
	}
	remember(remembered, []byte(root))
	return rootURN + root, nil
}

// keepAttestations makes the attestations of one act durable, in one file and so
// whole or not at all.
func keepAttestations(path string, signed []verify.Attestation) error {
	lines, err := verify.NoteLines(signed)
	if err == nil {
		err = private.Replace(path, lines)
	}
	if err != nil {
		return fmt.Errorf("keeping the attestations: %w", err)
	}
	return nil
}

// noteAttestations puts the attestations beside the commit.
func noteAttestations(ctx context.Context, repo *git.Repo, commit string, signed []verify.Attestation) error {
	lines, err := verify.NoteLines(signed)
	if err != nil {
		return err
	}
	return repo.AddNote(ctx, verify.NotesRef, commit, lines, time.Now())
}
