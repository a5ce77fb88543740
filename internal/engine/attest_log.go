//go:build linux

package engine

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/attest"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/verify"
)

// logged yields the records of a run that lie below size.
func (e *Records) logged(ctx context.Context, run carrel.RunID, size int64) iter.Seq2[attest.Logged, error] {
	return func(yield func(attest.Logged, error) bool) {
		for entry, err := range audit.OpenReader(e.state("log")).Run(ctx, run) {
			if err == nil && entry.Index >= size {
				return
			}
			if !yield(attest.Logged{Index: entry.Index, Record: entry.Record, Raw: slices.Clone(entry.Raw)}, err) || err != nil {
				return
			}
		}
	}
}

// sign signs, and proves that the log has the intent to sign exactly this.
// from is a size of the log before the intent.
func (e *Engine) sign(ctx context.Context, road *gate.Gate, g gate.Grant, a carrel.Action, signer attest.Signer, statements []attest.Unsigned, from int64) ([]verify.Attestation, error) {
	var bundles [][]byte
	var proof []byte
	sign := func() (err error) {
		bundles, err = attest.Sign(ctx, g, a, signer, statements)
		return err
	}
	prove := func() (err error) {
		proof, err = e.proveIntent(ctx, road, a.ID, from)
		return err
	}
	if err := both(signer, prove, sign); err != nil {
		return nil, err
	}
	var out []verify.Attestation
	for _, b := range bundles {
		out = append(out, verify.Attestation{Bundle: b, Proof: proof})
	}
	return out, nil
}

// both proves and signs at once, where nobody else sees what is signed. A
// program of the user's sees it after the proof: it may name a checkpoint that
// is kept nowhere (audit.Log.Stand).
func both(signer attest.Signer, prove, sign func() error) error {
	if _, elsewhere := signer.(attest.Command); elsewhere {
		if err := prove(); err != nil {
			return err
		}
		return sign()
	}
	var group errgroup.Group
	group.Go(prove)
	group.Go(sign)
	return group.Wait()
}

// proveIntent signs where the log stands, has that cosigned, and proves the
// intent of an action.
func (e *Engine) proveIntent(ctx context.Context, road *gate.Gate, id carrel.ActionID, from int64) ([]byte, error) {
	signed, lacking, err := e.checkpoint(ctx, road, e.log)
	if err == nil {
		err = e.mustBeWitnessed(lacking)
	}
	if err != nil {
		return nil, err
	}
	key, err := audit.PublicKey(e.state("keys"))
	if err != nil {
		return nil, err
	}
	reader := audit.OpenReader(e.state("log"))
	for entry, err := range reader.From(ctx, from) {
		if err != nil {
			return nil, err
		}
		if r := entry.Record; r.Kind != carrel.KindIntent || r.Action.ID != id {
			continue
		}
		proof, err := reader.Prove(entry.Index, signed, key)
		if err != nil {
			return nil, err
		}
		proof.Extra = slices.Clone(entry.Raw)
		return proof.Bytes(), nil
	}
	return nil, fmt.Errorf("the log has no intent of %s", id)
}
