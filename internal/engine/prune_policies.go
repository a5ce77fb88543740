//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/verify"
)

// prunePolicies removes kept texts of policies that no kept run and no record
// that may still be read refers to, and that nobody kept or used for a time.
// What a reference could not be told from stays, and so does all if something
// cannot be read. The contents are locked.
func (e *Engine) prunePolicies(ctx context.Context, older time.Duration) (removed int, err error) {
	old, young, err := e.keptTexts(older)
	if err != nil || len(old) == 0 {
		return 0, err
	}
	needed, err := e.runPolicies()
	if err != nil {
		return 0, err
	}
	if err := e.needTexts(needed, young); err != nil {
		return 0, err
	}
	if idle := old.without(needed); len(idle) > 0 {
		logged, err := e.loggedPolicies(ctx, idle)
		if err != nil {
			return 0, err
		}
		if err := e.needTexts(needed, logged); err != nil {
			return 0, err
		}
	}
	now := time.Now()
	for d := range old {
		path := e.policyText(d)
		if needed[d] { // it is not asked about again for as long
			err = errors.Join(err, os.Chtimes(path, time.Time{}, now))
			continue
		}
		if rerr := os.Remove(path); rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		removed++
	}
	return removed, err
}

// digests is a set of digests.
type digests map[carrel.Digest]bool

func (s digests) without(other digests) digests {
	out := digests{}
	for d := range s {
		if !other[d] {
			out[d] = true
		}
	}
	return out
}

// keptTexts lists the kept texts by whether they were kept or used lately, and
// removes what a killed process left half written.
func (e *Engine) keptTexts(older time.Duration) (old, young digests, err error) {
	entries, err := os.ReadDir(e.state("policies"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("pruning policies: %w", err)
	}
	old, young = digests{}, digests{}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return nil, nil, fmt.Errorf("pruning policies: %w", err)
		}
		d, perr := carrel.ParseDigest("sha256:" + entry.Name())
		switch {
		case time.Since(info.ModTime()) <= older && perr == nil:
			young[d] = true
		case perr == nil:
			old[d] = true
		case time.Since(info.ModTime()) > older:
			if err := os.Remove(e.state("policies", entry.Name())); err != nil {
				return nil, nil, fmt.Errorf("pruning policies: %w", err)
			}
		}
	}
	return old, young, nil
}

// runPolicies are the policies of kept runs, with the texts they name.
func (e *Engine) runPolicies() (digests, error) {
	ids, err := e.listRuns()
	if err != nil {
		return nil, err
	}
	policies := digests{}
	for _, id := range ids {
		r, err := e.loadRun(id)
		if err != nil {
			return nil, fmt.Errorf("%w: which policy it needs cannot be told, and no policies are removed; if you do not need the run any more, delete %s", err, e.runFile(id))
		}
		policies[r.Policy] = true
	}
	needed := digests{}
	return needed, e.needTexts(needed, policies)
}

// needTexts adds policies and the texts they name. One that is not kept, or
// is no list of texts, names none.
func (e *Engine) needTexts(needed, policies digests) error {
	for d := range policies {
		if needed[d] {
			continue
		}
		needed[d] = true
		manifest, err := e.readPolicy(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: which texts it names cannot be told, and no policies are removed; what is wrong with it is in %s", err, e.policyText(d))
		}
		named, err := verify.PolicySources(manifest)
		if err != nil {
			continue
		}
		for _, text := range named {
			needed[text] = true
		}
	}
	return nil
}

// loggedPolicies are those of the policies that records refer to which may
// still be read.
func (e *Engine) loggedPolicies(ctx context.Context, policies digests) (digests, error) {
	out := digests{}
	for entry, err := range audit.OpenReader(e.state("log")).From(ctx, 0) {
		if err != nil {
			return nil, fmt.Errorf("pruning policies: %w", err)
		}
		for _, d := range policiesOf(&entry.Record) {
			if policies[d] {
				out[d] = true
			}
		}
		if len(out) == len(policies) {
			break
		}
	}
	return out, nil
}

// policiesOf are the policies that a record refers to.
func policiesOf(r *carrel.Record) (out []carrel.Digest) {
	if r.RunInfo != nil {
		out = append(out, r.RunInfo.Policy)
	}
	if r.Decision != nil {
		out = append(out, r.Decision.Policy)
	}
	if r.Approval != nil {
		out = append(out, r.Approval.Policy)
	}
	if a := r.Action; a != nil && a.Operation == carrel.OpPolicy { // one that is put in force
		out = append(out, carrel.Digest(a.Subject))
	}
	return out
}
